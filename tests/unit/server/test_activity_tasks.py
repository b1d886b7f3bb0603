"""Activities' attempts: what they cost, who has them, when they are tried again."""

from __future__ import annotations

import asyncio

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import messages as msg
from perdure.protocol.events import ActivityCompleted, ActivityStarted
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure, TimeoutInfo
from perdure.protocol.messages import AttemptRef
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, RetryPolicy
from perdure.protocol.verbs import (
    ActivityOptions,
    CancelRequest,
    DescribeRequest,
    ResultRequest,
    RunStatus,
    TerminateRequest,
)
from support.hosts import ByHand, World, settle
from support.runs import schedule

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}
ONCE = RetryPolicy(maximum_attempts=1)
RESULT = Payload(metadata={"encoding": b"json/plain"}, data=b'"ok"')


async def waits_for_activity(world: World, worker: ByHand, **options: object) -> str:
    """Start a run that has asked for one activity."""
    run_id = await world.start()
    await worker.progress(await worker.take(msg.WorkflowTask), schedule(1, **options))
    return run_id


async def alive(worker: ByHand, seconds: float) -> None:
    """Let time pass, with the worker's pings."""
    for _ in range(int(seconds)):
        await worker.say(msg.Ping())
        await asyncio.sleep(1)
    await asyncio.sleep(seconds % 1)


async def test_an_activity_costs_two_commits_and_its_end_a_third_event() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        before = world.store.commits
        await worker.progress(task, schedule(1))
        attempt = await worker.take(msg.ActivityTask)
        assert world.store.commits == before + 1
        await worker.say(msg.ActivityReport(attempt=attempt.attempt, result=RESULT))
        assert (await worker.take(msg.ReportAccepted)).accepted
        assert world.store.commits == before + 2
        told = await worker.take(msg.WorkflowTask)
        assert [type(each.event) for each in told.events[-2:]] == [
            ActivityStarted,
            ActivityCompleted,
        ]


async def test_an_activity_that_waited_for_a_slot_costs_three_commits() -> None:
    async with World() as world:
        worker = await world.worker("w1", activity_slots=0)
        await waits_for_activity(world, worker)
        before = world.store.commits
        other = await world.worker("w2")
        attempt = await other.take(msg.ActivityTask)
        await other.say(msg.ActivityReport(attempt=attempt.attempt, result=RESULT))
        assert world.store.commits == before + 2


async def test_the_fencing_token_names_the_attempt() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker)
        first = await worker.take(msg.ActivityTask)
        assert first.attempt == AttemptRef(run_id, 1, 1)
        await worker.say(msg.ActivityReport(attempt=first.attempt, failure=Failure(message="no")))
        await alive(worker, 1.01)
        second = await worker.take(msg.ActivityTask)
        assert second.attempt == AttemptRef(run_id, 1, 2)
        await worker.say(msg.ActivityReport(attempt=first.attempt, result=RESULT))
        accepted = [(await worker.take(msg.ReportAccepted)).accepted for _ in range(2)]
        assert accepted == [True, False]
        assert "ActivityCompleted" not in await world.names(run_id)


async def test_the_same_report_twice_is_recorded_once() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker)
        report = msg.ActivityReport(
            attempt=(await worker.take(msg.ActivityTask)).attempt, result=RESULT
        )
        await worker.say(report)
        await worker.say(report)
        assert (await world.names(run_id)).count("ActivityCompleted") == 1


async def test_a_worker_that_lost_its_lease_can_record_nothing() -> None:
    async with World(lease=8_000) as world:
        worker = await world.worker("w1")
        run_id = await waits_for_activity(world, worker)
        lost = await worker.take(msg.ActivityTask)
        await asyncio.sleep(11)  # as by SIGSTOP
        other = await world.worker("w2")
        again = await other.take(msg.ActivityTask)
        assert again.attempt.attempt == 2
        back = await world.worker("w1", held=(lost.attempt,))
        assert (await back.take(msg.CancelActivity)).attempt == lost.attempt
        await back.say(msg.ActivityReport(attempt=lost.attempt, result=RESULT))
        assert not (await back.take(msg.ReportAccepted)).accepted
        assert "ActivityCompleted" not in await world.names(run_id)


async def test_a_worker_that_breaks_off_twice_has_its_whole_time_to_come_back_again() -> None:
    async with World(grace=2_000) as world:
        worker = await world.worker("w1")
        await waits_for_activity(world, worker)
        attempt = (await worker.take(msg.ActivityTask)).attempt
        worker.disconnect()
        await asyncio.sleep(1)
        worker = await world.worker("w1", held=(attempt,))
        await asyncio.sleep(0.5)
        worker.disconnect()
        await asyncio.sleep(1)
        back = await world.worker("w1", held=(attempt,))
        await back.say(msg.ActivityReport(attempt=attempt, result=RESULT))
        assert (await back.take(msg.ReportAccepted)).accepted


async def test_nobody_reports_for_another_worker() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        other = await world.worker("w2")
        await other.say(msg.ActivityReport(attempt=attempt.attempt, result=RESULT))
        assert not (await other.take(msg.ReportAccepted)).accepted
        assert "ActivityCompleted" not in await world.names(run_id)


async def test_a_worker_that_comes_back_in_time_goes_on() -> None:
    async with World(grace=2_000) as world:
        worker = await world.worker("w1")
        run_id = await waits_for_activity(world, worker)
        held = (await worker.take(msg.ActivityTask)).attempt
        worker.disconnect()
        await asyncio.sleep(1.5)
        back = await world.worker("w1", held=(held,))
        await alive(back, 5)
        await back.say(msg.ActivityReport(attempt=held, result=RESULT))
        assert (await back.take(msg.ReportAccepted)).accepted
        assert "ActivityCompleted" in await world.names(run_id)


async def test_an_attempt_that_never_reached_its_worker_is_tried_again_at_once() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await waits_for_activity(world, worker)
        worker.disconnect()
        back = await world.worker("w1", held=())
        assert (await back.take(msg.ActivityTask)).attempt.attempt == 2


async def test_the_attempts_of_a_gone_worker_are_tried_elsewhere_after_the_grace() -> None:
    async with World(grace=2_000) as world:
        worker = await world.worker("w1")
        await waits_for_activity(world, worker)
        await worker.take(msg.ActivityTask)
        worker.disconnect()
        other = await world.worker("w2")
        await alive(other, 1.9)
        assert not await other.has(msg.ActivityTask)
        await alive(other, 0.2)
        assert (await other.take(msg.ActivityTask)).attempt.attempt == 2


async def test_an_activity_that_may_be_tried_once_fails_with_its_worker() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await waits_for_activity(world, worker, retry_policy=ONCE)
        worker.disconnect()
        await asyncio.sleep(2.1)
        history = await world.history(run_id)
        assert "worker lost" in history[-1].event.failure.message


async def test_attempts_survive_a_restart_of_the_server() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await waits_for_activity(world, worker)
        held = (await worker.take(msg.ActivityTask)).attempt
        worker.disconnect()
        await world.restart()
        back = await world.worker("w1", held=(held,))
        await back.say(msg.ActivityReport(attempt=held, result=RESULT))
        assert (await back.take(msg.ReportAccepted)).accepted
        assert "ActivityCompleted" in await world.names(run_id)


async def test_attempts_whose_worker_does_not_come_back_are_tried_again() -> None:
    async with World(lease=8_000) as world:
        worker = await world.worker("w1")
        await waits_for_activity(world, worker)
        worker.disconnect()
        await world.restart()
        other = await world.worker("w2")
        assert not await other.has(msg.ActivityTask)
        await alive(other, 8.1)
        assert (await other.take(msg.ActivityTask)).attempt.attempt == 2


async def test_released_leases_are_tried_again_at_once() -> None:
    async with World(release_leases=True) as world:
        worker = await world.worker("w1")
        await waits_for_activity(world, worker)
        worker.disconnect()
        await world.restart()
        other = await world.worker("w2")
        await asyncio.sleep(0.01)
        assert (await other.take(msg.ActivityTask)).attempt.attempt == 2


async def test_retries_wait_as_the_policy_says() -> None:
    async with World() as world:
        worker = await world.worker()
        policy = RetryPolicy(initial_interval=2_000, backoff_coefficient=3)
        await waits_for_activity(world, worker, retry_policy=policy)
        for wait in (2, 6):
            attempt = await worker.take(msg.ActivityTask)
            await worker.say(msg.ActivityReport(attempt=attempt.attempt, failure=Failure()))
            await alive(worker, wait - 0.1)
            assert not await worker.has(msg.ActivityTask)
            await alive(worker, 0.11)
        assert (await worker.take(msg.ActivityTask)).attempt.attempt == 3


async def test_a_retry_that_was_due_while_the_server_was_away_is_made_up_for() -> None:
    async with World() as world:
        worker = await world.worker()
        await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        await worker.say(msg.ActivityReport(attempt=attempt.attempt, failure=Failure()))
        worker.disconnect()
        await world.restart()
        await asyncio.sleep(5)
        worker = await world.worker()
        assert (await worker.take(msg.ActivityTask)).attempt.attempt == 2


@pytest.mark.parametrize(
    ("options", "after", "kind"),
    [
        ({"start_to_close_timeout": 3_000, "retry_policy": ONCE}, 3, "START_TO_CLOSE"),
        ({"heartbeat_timeout": 1_000, "retry_policy": ONCE}, 1, "HEARTBEAT"),
        ({"schedule_to_close_timeout": 4_000}, 4, "SCHEDULE_TO_CLOSE"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
async def test_a_timeout_ends_an_attempt_and_stops_its_worker(
    options: dict[str, object], after: int, kind: str
) -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker, **options)
        await worker.take(msg.ActivityTask)
        await alive(worker, after - 0.01)
        assert not await worker.has(msg.CancelActivity)
        await alive(worker, 0.02)
        assert (await worker.take(msg.CancelActivity)).reason == "timed_out"
        info = (await world.history(run_id))[-1].event.failure.info
        assert isinstance(info, TimeoutInfo)
        assert info.timeout.name == kind


async def test_schedule_to_start_passes_when_no_worker_comes() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=0)
        run_id = await waits_for_activity(world, worker, schedule_to_start_timeout=2_000)
        await alive(worker, 2.01)
        info = (await world.history(run_id))[-1].event.failure.info
        assert info.timeout.name == "SCHEDULE_TO_START"
        assert world.host.dispatcher.backlog == 0


async def test_heartbeats_keep_an_attempt_and_give_their_details_to_the_next() -> None:
    async with World() as world:
        worker = await world.worker()
        await waits_for_activity(world, worker, heartbeat_timeout=2_000)
        attempt = await worker.take(msg.ActivityTask)
        for beat in range(5):
            await worker.say(
                msg.ActivityHeartbeat(
                    attempt=attempt.attempt, details=(Payload(data=b"%d" % beat),)
                )
            )
            await asyncio.sleep(1.5)
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.pending_activities[0].attempt == 1
        await alive(worker, 2)
        await alive(worker, 1)
        again = await worker.take(msg.ActivityTask)
        assert again.attempt.attempt == 2
        assert again.heartbeat_details == (Payload(data=b"4"),)


async def test_heartbeats_without_news_write_nothing() -> None:
    async with World() as world:
        worker = await world.worker()
        await waits_for_activity(world, worker, heartbeat_timeout=2_000)
        attempt = await worker.take(msg.ActivityTask)
        before = world.store.commits
        for _ in range(5):
            await worker.say(msg.ActivityHeartbeat(attempt=attempt.attempt))
            await asyncio.sleep(1.5)
        assert world.store.commits == before


async def test_a_heartbeat_of_an_attempt_that_is_over_is_told_so() -> None:
    async with World() as world:
        worker = await world.worker()
        await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        await world.verbs.terminate(TerminateRequest(**TARGET))
        assert (await worker.take(msg.CancelActivity)).reason == "not_found"
        await worker.say(msg.ActivityHeartbeat(attempt=attempt.attempt))
        assert (await worker.take(msg.CancelActivity)).reason == "not_found"


async def test_cancelling_reaches_the_worker_without_a_heartbeat() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        await world.verbs.cancel(CancelRequest(**TARGET))
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.RequestCancelActivity(seq=1))
        assert (await worker.take(msg.CancelActivity)).reason == "cancel_requested"
        await worker.say(
            msg.ActivityReport(attempt=attempt.attempt, failure=Failure(info=CanceledInfo()))
        )
        assert (await world.names(run_id))[-1] == "ActivityCanceled"


async def test_a_result_over_the_limit_fails_the_activity() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        large = Payload(data=b"x" * (MAX_PAYLOAD_BYTES + 1))
        await worker.say(msg.ActivityReport(attempt=attempt.attempt, result=large))
        failure = (await world.history(run_id))[-1].event.failure
        assert failure.info.type == "PayloadTooLarge"
        assert "pass a reference" in failure.message


async def test_an_unacknowledged_report_makes_the_worker_connect_again() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await waits_for_activity(world, worker)
        attempt = await worker.take(msg.ActivityTask)
        world.store.failing = True
        report = msg.ActivityReport(attempt=attempt.attempt, result=RESULT)
        await worker.say(report)
        assert not await worker.has(msg.ReportAccepted)
        assert not worker.session.is_open
        world.store.failing = False
        back = await world.worker("w1", held=(attempt.attempt,))
        await back.say(report)
        assert (await back.take(msg.ReportAccepted)).accepted
        assert (await world.names(run_id))[-1] == "ActivityCompleted"


async def test_slots_bound_the_attempts_of_a_worker() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, *(schedule(seq) for seq in range(1, 6)))
        held = [await worker.take(msg.ActivityTask) for _ in range(2)]
        assert not await worker.has(msg.ActivityTask)
        assert world.host.dispatcher.backlog == 3
        await worker.say(msg.ActivityReport(attempt=held[0].attempt, result=RESULT))
        assert (await worker.take(msg.ActivityTask)).attempt.seq == 3


async def test_activities_go_to_the_worker_that_knows_them() -> None:
    async with World() as world:
        knows = await world.worker("w1")
        ignorant = await world.worker("w2", activity_types=(), workflow_types=())
        await world.start()
        task = await knows.take(msg.WorkflowTask)
        await knows.progress(task, *(schedule(seq) for seq in range(1, 5)))
        await settle()
        assert not await ignorant.has(msg.ActivityTask)
        assert sum(isinstance(each, msg.ActivityTask) for each in knows.inbox) == 4


async def test_a_standalone_activity_runs_with_retries_and_ends_its_run() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start(
            kind="activity",
            workflow_type="charge",
            activity=ActivityOptions(start_to_close_timeout=10_000),
        )
        first = await worker.take(msg.ActivityTask)
        assert first.standalone
        await worker.say(msg.ActivityReport(attempt=first.attempt, failure=Failure()))
        await alive(worker, 1.01)
        second = await worker.take(msg.ActivityTask)
        await worker.say(msg.ActivityReport(attempt=second.attempt, result=RESULT))
        answer = await world.verbs.result(ResultRequest(**TARGET))
        assert (answer.status, answer.result) == (RunStatus.COMPLETED, RESULT)


async def test_a_failed_standalone_activity_fails_its_run() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start(
            kind="activity",
            workflow_type="charge",
            activity=ActivityOptions(start_to_close_timeout=10_000),
        )
        attempt = await worker.take(msg.ActivityTask)
        failure = Failure(message="declined", info=ApplicationInfo(non_retryable=True))
        await worker.say(msg.ActivityReport(attempt=attempt.attempt, failure=failure))
        answer = await world.verbs.result(ResultRequest(**TARGET))
        assert (answer.status, answer.failure) == (RunStatus.FAILED, failure)
