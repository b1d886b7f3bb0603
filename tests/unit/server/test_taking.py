"""Attempts that are taken with a token: by whom, how often, until when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure, TimeoutInfo
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, RetryPolicy
from perdure.protocol.placements import MAX_CONTAINER_INPUT_BYTES, Placement
from perdure.protocol.verbs import ActivityOptions, RunStatus
from perdure_operator.server.errors import VerbError
from support.hosts import ByHand, World, settle
from support.runs import schedule

pytestmark = pytest.mark.looptime

TARGET = {"namespace": "default", "workflow_id": "order-42"}
CONTAINER = Placement(container=True, template={"image": "busybox"})
OWN_POD = Placement(template={"resources": {"limits": {"cpu": "2"}}})
INPUT = (Payload(metadata={"encoding": b"json/plain"}, data=b'"a.png"'),)


async def waits(world: World, **options: Any) -> ByHand:
    """Start a run that waits for a container; return the worker that runs its code."""
    worker = await world.worker()
    await world.start()
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, schedule(1, **{"placement": CONTAINER, **options}))
    return worker


async def take(world: World, seq: int = 1, **options: Any) -> vb.TakeActivityResponse:
    request = vb.TakeActivityRequest(**TARGET, seq=seq, **{"identity": "pod/x", **options})
    return await world.verbs.take_activity(request)


async def report(world: World, token: str, **outcome: Any) -> object:
    request = vb.ReportActivityRequest(token=token, **outcome)
    return await world.verbs.table[vb.ReportActivityRequest](request)


async def beat(world: World, token: str, *details: Any) -> vb.BeatActivityResponse:
    request = vb.BeatActivityRequest(token=token, details=details)
    answer = await world.verbs.table[vb.BeatActivityRequest](request)
    assert isinstance(answer, vb.BeatActivityResponse)
    return answer


async def refused(work: Any) -> VerbError:
    with pytest.raises(VerbError) as error:
        await work
    return error.value


async def pending(world: World) -> vb.PendingActivity:
    described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
    [activity] = described.pending_activities
    return activity


async def test_no_worker_is_handed_a_container() -> None:
    async with World() as world:
        worker = await waits(world)
        assert not await worker.has(msg.ActivityTask)
        assert world.host.dispatcher.backlog == 0
        described = await pending(world)
        assert (described.state, described.placement) == ("Scheduled", CONTAINER)
        assert described.waits_for == "the operator, which runs its container as a Job"


async def test_a_taken_attempt_is_on_disk_before_it_is_answered() -> None:
    async with World() as world:
        await waits(world, input=INPUT, heartbeat_timeout=5000)
        before = world.store.commits
        taken = await take(world)
        assert world.store.commits == before + 1
        assert (taken.attempt, taken.activity_type, taken.input) == (1, "charge", INPUT)
        assert (taken.heartbeat_timeout, taken.placement) == (5000, CONTAINER)
        assert taken.idempotency_key == "run-1:1"
        described = await pending(world)
        assert (described.state, described.identity) == ("Started", "pod/x")
        assert described.waits_for == ""


async def test_taking_again_gives_the_running_attempt_and_writes_nothing() -> None:
    async with World() as world:
        await waits(world)
        first, second = await asyncio.gather(take(world), take(world))
        before = world.store.commits
        assert first == second == await take(world)
        assert world.store.commits == before


async def test_a_result_is_what_workflow_code_reads() -> None:
    async with World() as world:
        worker = await waits(world)
        taken = await take(world)
        await report(world, taken.token, result={"size": 12, "name": "ü"})
        told = await worker.take(msg.WorkflowTask)
        completed = told.events[-1].event
        assert isinstance(completed, ev.ActivityCompleted)
        assert completed.result is not None
        assert completed.result.data == '{"size":12,"name":"ü"}'.encode()
        assert completed.result.metadata == {"encoding": b"json/plain"}


async def test_a_result_of_nothing_is_none() -> None:
    async with World() as world:
        await waits(world)
        await report(world, (await take(world)).token)
        completed = (await world.history("run-1"))[-1].event
        assert completed == ev.ActivityCompleted(seq=1)


async def test_what_fails_is_tried_again_when_its_time_has_come() -> None:
    async with World() as world:
        await waits(world, retry_policy=RetryPolicy(initial_interval=5000))
        first = await take(world)
        await beat(world, first.token, 7)
        await report(world, first.token, failure=Failure(message="exit code 3"))
        early = await take(world)
        assert (early.attempt, early.token) == (0, "")
        assert early.next_attempt == world.now() + 5000
        assert (await pending(world)).state == "BackingOff"
        await asyncio.sleep(5)
        second = await take(world)
        assert second.attempt == 2
        assert second.token != first.token
        assert [each.data for each in second.heartbeat_details] == [b"7"]


async def test_a_failure_that_is_final_fails_the_activity() -> None:
    async with World() as world:
        await waits(world)
        taken = await take(world)
        final = ApplicationInfo(type="ContainerFailed", non_retryable=True)
        await report(world, taken.token, failure=Failure(message="exit code 3", info=final))
        failed = (await world.history("run-1"))[-1].event
        assert isinstance(failed, ev.ActivityFailed)
        assert failed.failure.message == "exit code 3"


async def test_a_lost_pod_is_replaced_at_once_while_attempts_are_left() -> None:
    async with World() as world:
        await waits(world, retry_policy=RetryPolicy(maximum_attempts=2))
        await report(world, (await take(world)).token, lost="its node is gone")
        second = await take(world)
        assert second.attempt == 2
        await report(world, second.token, lost="its node is gone")
        timed_out = (await world.history("run-1"))[-1].event
        assert isinstance(timed_out, ev.ActivityTimedOut)
        assert isinstance(timed_out.failure.info, TimeoutInfo)


async def test_a_late_report_is_refused() -> None:
    async with World() as world:
        await waits(world)
        first = await take(world)
        await report(world, first.token, failure=Failure(message="no"))
        await asyncio.sleep(1)
        second = await take(world)
        assert (await refused(report(world, first.token, result=1))).code == "AlreadyClosed"
        await report(world, second.token, result=2)
        error = await refused(report(world, second.token, result=3))
        assert error.code == "AlreadyClosed"
        assert "attempt 2 is over" in str(error)
        assert (await refused(beat(world, second.token))).code == "AlreadyClosed"
        assert (await refused(take(world))).code == "AlreadyClosed"


async def test_a_wrong_token_is_refused() -> None:
    async with World() as world:
        await waits(world)
        token = (await take(world)).token
        for wrong in (token + "x", "run-9.1.1.secret", "nonsense", ""):
            assert (await refused(report(world, wrong, result=1))).code == "Forbidden"
            assert (await refused(beat(world, wrong))).code == "Forbidden"
        await report(world, token, result=1)


async def test_a_made_up_token_costs_no_reading_of_a_history() -> None:
    async with World() as world:
        await waits(world)
        taken = await take(world)
        await world.start("other")
        await world.verbs.terminate(vb.TerminateRequest(namespace="default", workflow_id="other"))
        await world.restart()
        for wrong, code in (
            (taken.token + "x", "Forbidden"),
            (taken.token.replace(".1.1.", ".1.2."), "AlreadyClosed"),
            ("run-2.1.1.secret", "AlreadyClosed"),
            ("run-9.1.1.secret", "Forbidden"),
        ):
            assert (await refused(report(world, wrong, result=1))).code == code
            assert world.host.keeper.peek("run-1") is None
            assert world.host.keeper.peek("run-2") is None
        await report(world, taken.token, result=1)


async def test_a_beat_says_whether_to_stop_and_a_canceled_report_ends_it() -> None:
    async with World() as world:
        worker = await waits(world)
        token = (await take(world)).token
        assert not (await beat(world, token)).cancel_requested
        await world.verbs.signal(vb.SignalRequest(**TARGET, name="stop"))
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.RequestCancelActivity(seq=1))
        assert (await beat(world, token)).cancel_requested
        assert (await take(world)).cancel_requested
        await report(world, token, failure=Failure(message="stopped", info=CanceledInfo()))
        assert isinstance((await world.history("run-1"))[-1].event, ev.ActivityCanceled)


async def test_nothing_is_taken_of_a_suspended_run_until_it_goes_on() -> None:
    async with World() as world:
        await waits(world)
        await world.verbs.suspend(vb.SuspendRequest(**TARGET))
        held = await take(world)
        assert (held.attempt, held.next_attempt) == (0, None)
        assert (await pending(world)).waits_for == ""
        await world.verbs.resume(vb.ResumeRequest(**TARGET))
        assert (await take(world)).attempt == 1


async def test_a_restart_of_the_server_loses_no_taken_attempt() -> None:
    async with World(lease=2000, grace=1000) as world:
        await waits(world, heartbeat_timeout=30_000, start_to_close_timeout=600_000)
        taken = await take(world)
        await world.restart()
        await asyncio.sleep(20)
        assert (await take(world)).token == taken.token
        await report(world, taken.token, result=1)
        assert await world.names("run-1") == [
            "WorkflowStarted",
            "WorkflowTaskCompleted",
            "ActivityScheduled",
            "ActivityStarted",
            "ActivityCompleted",
        ]


async def test_a_worker_that_goes_away_loses_no_taken_attempt() -> None:
    async with World(lease=2000, grace=1000) as world:
        worker = await waits(world)
        taken = await take(world)
        worker.disconnect()
        await asyncio.sleep(5)
        assert (await take(world)).token == taken.token


@pytest.mark.parametrize("timeout", [10_000, 150_000], ids=["near", "beyond-the-horizon"])
async def test_an_attempt_that_no_longer_beats_times_out(timeout: int) -> None:
    async with World() as world:
        await waits(world, heartbeat_timeout=timeout, start_to_close_timeout=3_600_000)
        taken = await take(world)
        for _ in range(5):
            await asyncio.sleep(timeout * 0.8 / 1000)
            await beat(world, taken.token)
        await asyncio.sleep(timeout * 0.9 / 1000)
        assert (await pending(world)).state == "Started"
        await asyncio.sleep(timeout * 0.2 / 1000)
        after = await pending(world)
        assert after.state in ("BackingOff", "Scheduled")
        assert after.last_failure is not None
        assert after.last_failure.message == "heartbeat timeout passed"


async def test_a_silent_attempt_times_out_after_a_restart_too() -> None:
    async with World() as world:
        await waits(world, heartbeat_timeout=90_000, start_to_close_timeout=3_600_000)
        await take(world)
        await asyncio.sleep(80)
        await world.restart()
        await asyncio.sleep(80)
        assert (await pending(world)).state == "Started"
        await asyncio.sleep(20)
        assert (await pending(world)).state != "Started"


async def test_beats_without_news_cost_no_commit() -> None:
    async with World() as world:
        await waits(world, heartbeat_timeout=10_000)
        token = (await take(world)).token
        await beat(world, token, {"done": 1})
        before = world.store.commits
        for _ in range(5):
            await beat(world, token, {"done": 1})
        assert world.store.commits == before
        await beat(world, token, {"done": 2})
        assert world.store.commits == before + 1


async def test_a_terminated_run_refuses_the_reports_of_what_it_left() -> None:
    async with World() as world:
        await waits(world)
        token = (await take(world)).token
        await world.verbs.terminate(vb.TerminateRequest(**TARGET))
        assert (await refused(report(world, token, result=1))).code == "AlreadyClosed"
        assert (await refused(take(world))).code == "AlreadyClosed"


async def test_a_result_that_is_too_large_fails_for_good() -> None:
    async with World() as world:
        await waits(world)
        token = (await take(world)).token
        await report(world, token, result="x" * MAX_PAYLOAD_BYTES)
        failed = (await world.history("run-1"))[-1].event
        assert isinstance(failed, ev.ActivityFailed)
        assert isinstance(failed.failure.info, ApplicationInfo)
        assert failed.failure.info.type == "PayloadTooLarge"


async def test_only_what_has_its_own_pod_and_is_there_is_taken() -> None:
    async with World() as world:
        await waits(world, placement=None)
        error = await refused(take(world))
        assert error.code == "Invalid"
        assert "has no pod of its own" in str(error)
        assert (await refused(take(world, seq=9))).code == "NotFound"
        other = vb.TakeActivityRequest(namespace="default", workflow_id="nothing", seq=1)
        assert (await refused(world.verbs.take_activity(other))).code == "NotFound"


async def test_what_was_not_recorded_was_not_taken() -> None:
    async with World() as world:
        await waits(world)
        world.store.failing = True
        assert (await refused(take(world))).code == "Unavailable"
        world.store.failing = False
        await asyncio.sleep(2)
        assert (await take(world)).attempt == 1


async def test_a_report_that_comes_twice_and_is_not_recorded_is_not_told_that_it_was() -> None:
    async with World() as world:
        await waits(world)
        token = (await take(world)).token
        world.store.failing = True
        answers = await asyncio.gather(
            report(world, token, result=1), report(world, token, result=1), return_exceptions=True
        )
        assert [each.code for each in answers if isinstance(each, VerbError)] == ["Unavailable"] * 2


async def test_a_standalone_container_is_a_run_that_ends_with_it() -> None:
    async with World() as world:
        options = ActivityOptions(start_to_close_timeout=10_000, placement=CONTAINER)
        await world.start(kind="activity", workflow_type="resize", activity=options)
        await report(world, (await take(world)).token, result="done")
        result = await world.verbs.result(vb.ResultRequest(**TARGET))
        assert result.status is RunStatus.COMPLETED
        assert result.result is not None
        assert result.result.data == b'"done"'


async def test_a_container_that_failed_is_retried_under_its_old_key() -> None:
    async with World() as world:
        worker = await waits(world, retry_policy=RetryPolicy(maximum_attempts=1))
        await report(world, (await take(world)).token, failure=Failure(message="exit code 3"))
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.FailWorkflow(failure=Failure(message="no")))
        await world.verbs.table[vb.RetryRequest](vb.RetryRequest(**TARGET))
        again = await take(world)
        assert (again.attempt, again.idempotency_key) == (1, "run-1:1")
        assert not again.token.startswith("run-1.")
        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert described.watched


@pytest.mark.parametrize(
    ("placement", "input_", "words"),
    [
        pytest.param(Placement(container=True), (), "give template.image", id="no-image"),
        pytest.param(
            Placement(template={"env": [{"name": "A", "value": "x" * 70_000}]}),
            (),
            "takes 70,",
            id="large-template",
        ),
        pytest.param(
            CONTAINER,
            (Payload(data=b"x" * (MAX_CONTAINER_INPUT_BYTES + 1)),),
            "Keep large data in object storage",
            id="large-input",
        ),
    ],
)
async def test_a_container_that_cannot_be_run_is_refused_at_its_start(
    placement: Placement, input_: tuple[Payload, ...], words: str
) -> None:
    async with World() as world:
        options = ActivityOptions(start_to_close_timeout=10_000, placement=placement)
        start = world.start(kind="activity", activity=options, input=input_)
        error = await refused(start)
        assert error.code == "Invalid"
        assert words in str(error)


async def test_input_that_no_container_can_have_fails_the_workflow_task() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        large = (Payload(data=b"x" * (MAX_CONTAINER_INPUT_BYTES + 1)),)
        await worker.progress(task, schedule(1, placement=CONTAINER, input=large))
        refusal = await worker.take(msg.TaskRefused)
        assert "a container gets" in refusal.reason


# --- registered activities with their own pod --------------------------------------------------


async def test_only_a_worker_of_the_own_queue_takes_what_has_its_own_pod() -> None:
    async with World() as world:
        pool_worker = await waits(world, placement=OWN_POD)
        assert not await pool_worker.has(msg.ActivityTask)
        described = await pending(world)
        assert (described.task_queue, described.own_queue) == ("q", "pod/run-1/1")
        assert described.waits_for == "a worker in a pod of its own, which the operator makes"
        own = await world.worker("own", task_queue=described.own_queue, workflow_slots=0)
        attempt = await own.take(msg.ActivityTask)
        assert attempt.task_queue == "q"
        await own.say(msg.ActivityReport(attempt=attempt.attempt, result=INPUT[0]))
        await pool_worker.take(msg.WorkflowTask)
        assert "pod/run-1/1" not in [
            each.task_queue for each in world.host.dispatcher.describe("") if each.backlog
        ]


async def test_who_makes_the_pod_may_say_that_it_does_not_come_up() -> None:
    async with World() as world:
        await waits(world, placement=OWN_POD)
        taken = await take(world)
        own = await world.worker("own", task_queue="pod/run-1/1", workflow_slots=0)
        assert not await own.has(msg.ActivityTask)
        await report(world, taken.token, failure=Failure(message="cannot be scheduled"))
        await asyncio.sleep(1)
        attempt = await own.take(msg.ActivityTask)
        assert attempt.attempt.attempt == 2
        # Now a worker has it: nothing is there to be taken, and its report counts.
        assert await take(world) == vb.TakeActivityResponse()
        await own.say(msg.ActivityReport(attempt=attempt.attempt, result=INPUT[0]))
        assert (await own.take(msg.ReportAccepted)).accepted


async def test_a_standalone_container_needs_no_task_queue() -> None:
    async with World() as world:
        options = ActivityOptions(start_to_close_timeout=10_000, placement=CONTAINER)
        await world.start(kind="activity", activity=options, task_queue="")
        assert (await take(world)).attempt == 1
        error = await refused(world.start("other", task_queue=""))
        assert "task_queue is empty" in str(error)


async def test_without_an_operator_the_workers_of_the_queue_run_it() -> None:
    async with World(has_operator=False) as world:
        worker = await waits(world, placement=OWN_POD)
        await worker.take(msg.ActivityTask)
        described = await pending(world)
        assert (described.own_queue, described.waits_for) == ("", "")
        assert described.placement == OWN_POD


async def test_without_an_operator_a_container_says_what_it_lacks() -> None:
    async with World(has_operator=False) as world:
        worker = await waits(world)
        assert not await worker.has(msg.ActivityTask)
        assert "this server has none" in (await pending(world)).waits_for


async def test_watch_tells_of_a_run_from_its_first_placed_activity_on() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        before = await world.verbs.watch(vb.WatchRequest(wait=0))
        assert before.changes == ()
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1, placement=CONTAINER))
        await settle()
        told = await world.verbs.watch(vb.WatchRequest(cursor=before.cursor, wait=0))
        assert [each.workflow_id for each in told.changes] == ["order-42"]
        await world.restart()
        await report(world, (await take(world)).token, result=1)
        again = await world.verbs.watch(vb.WatchRequest(cursor=told.cursor, wait=0))
        assert [each.workflow_id for each in again.changes] == ["order-42"]
