"""That each metric of the server is moved by what it counts, and by nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import messages as msg
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import RetryPolicy
from perdure.protocol.verbs import (
    ResumeRequest,
    SignalRequest,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.server.measuring import measure
from perdure_operator.server.metrics import Metrics
from perdure_operator.server.sessions import Session
from support.hosts import World, settle
from support.runs import schedule

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}
ONCE = RetryPolicy(maximum_attempts=1)
HELLO = msg.Hello(worker_id="w", identity="w@host", namespace="default", task_queue="q")


async def discard(_frame: bytes) -> None:
    """Be a connection that leads nowhere."""


def seen(world: World, name: str, **labels: str) -> float:
    """Return what a scrape shows; 0 for a series that is not there."""
    measure(world.host)
    return world.host.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_run_is_counted_as_open_until_it_has_ended() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        assert seen(world, "perdure_runs", status="Running") == 1
        assert seen(world, "perdure_runs_started_total", kind="workflow") == 1

        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())

        assert seen(world, "perdure_runs", status="Running") == 0
        ended = {"kind": "workflow", "status": "Completed"}
        assert seen(world, "perdure_runs_closed_total", **ended) == 1


async def test_a_suspended_run_is_open_under_another_status() -> None:
    async with World() as world:
        await world.start()
        await world.verbs.suspend(SuspendRequest(**TARGET))
        assert seen(world, "perdure_runs", status="Running") == 0
        assert seen(world, "perdure_runs", status="Suspended") == 1

        await world.verbs.resume(ResumeRequest(**TARGET))
        assert seen(world, "perdure_runs", status="Running") == 1
        assert seen(world, "perdure_runs", status="Suspended") == 0

        await world.verbs.suspend(SuspendRequest(**TARGET))
        await world.verbs.terminate(TerminateRequest(**TARGET))
        assert seen(world, "perdure_runs", status="Suspended") == 0


async def test_open_runs_are_known_after_a_restart() -> None:
    async with World() as world:
        await world.start("one")
        await world.start("two")
        await world.verbs.suspend(SuspendRequest(namespace="default", workflow_id="two"))

        await world.restart()

        assert seen(world, "perdure_runs", status="Running") == 1
        assert seen(world, "perdure_runs", status="Suspended") == 1
        for each in ("one", "two"):
            await world.verbs.terminate(TerminateRequest(namespace="default", workflow_id=each))
        assert seen(world, "perdure_runs", status="Running") == 0
        assert seen(world, "perdure_runs", status="Suspended") == 0
        assert seen(world, "perdure_runs_started_total", kind="workflow") == 0


async def test_what_was_not_recorded_is_not_counted() -> None:
    async with World() as world:
        world.store.failing = True
        with pytest.raises(Exception, match="disk is full"):
            await world.start()
        assert seen(world, "perdure_runs", status="Running") == 0
        assert seen(world, "perdure_runs_started_total", kind="workflow") == 0
        assert seen(world, "perdure_store_append_seconds_count") == 0


async def test_the_backlog_has_a_number_and_an_age() -> None:
    async with World() as world:
        await world.start("one")
        await asyncio.sleep(5)
        await world.start("two")
        await asyncio.sleep(5)
        assert seen(world, "perdure_tasks_backlog", kind="workflow") == 2
        assert seen(world, "perdure_tasks_backlog", kind="activity") == 0
        assert seen(world, "perdure_tasks_oldest_seconds", kind="workflow") == 10
        assert seen(world, "perdure_tasks_unattended", kind="workflow") == 2

        await world.worker()

        assert seen(world, "perdure_tasks_backlog", kind="workflow") == 0
        assert seen(world, "perdure_tasks_oldest_seconds", kind="workflow") == 0
        waited = "perdure_task_schedule_to_start_seconds"
        assert seen(world, f"{waited}_sum", kind="workflow") == 15
        assert seen(world, f"{waited}_count", kind="workflow") == 2


async def test_tasks_of_a_queue_that_somebody_serves_are_attended_to() -> None:
    async with World() as world:
        await world.worker(workflow_slots=1)
        for name in ("one", "two"):
            await world.start(name)
        assert seen(world, "perdure_tasks_backlog", kind="workflow") == 1
        assert seen(world, "perdure_tasks_unattended", kind="workflow") == 0


async def test_what_is_offered_in_vain_has_waited_all_the_same() -> None:
    async with World() as world:
        await world.start()
        await asyncio.sleep(5)
        dispatcher = world.host.dispatcher

        async def offer(run_id: str, since: int) -> None:
            session.is_draining = True  # the slot is gone before the run is read
            dispatcher.add_run(("default", "q"), run_id)

        dispatcher.offer_run = offer
        session = Session(HELLO, discard, lambda: None, world.now())
        dispatcher.join(session)
        await settle()

        assert seen(world, "perdure_tasks_oldest_seconds", kind="workflow") == 5


async def test_a_task_that_is_handed_out_at_once_has_not_waited() -> None:
    async with World() as world:
        await world.worker()
        await world.start()
        waited = "perdure_task_schedule_to_start_seconds"
        assert seen(world, f"{waited}_count", kind="workflow") == 1
        assert seen(world, f"{waited}_sum", kind="workflow") == 0


async def test_an_activity_is_timed_from_when_it_may_begin_and_while_it_runs() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=0)
        await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1))
        assert seen(world, "perdure_tasks_backlog", kind="activity") == 1
        await asyncio.sleep(3)
        hands = await world.worker("w2")
        task = await hands.take(msg.ActivityTask)
        waited = "perdure_task_schedule_to_start_seconds_sum"
        assert seen(world, waited, kind="activity") == 3

        await asyncio.sleep(2)
        await hands.say(msg.ActivityReport(attempt=task.attempt))

        ran = "perdure_activity_attempt_seconds"
        assert seen(world, f"{ran}_sum", outcome="completed") == 2
        assert seen(world, f"{ran}_count", outcome="completed") == 1
        assert seen(world, f"{ran}_count", outcome="failed") == 0


async def test_attempts_that_fail_time_out_or_are_lost_are_told_apart() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        late = schedule(2, start_to_close_timeout=3_000, retry_policy=ONCE)
        commands = (schedule(1, retry_policy=ONCE), late, schedule(3, retry_policy=ONCE))
        await worker.progress(task, *commands)
        first = await worker.take(msg.ActivityTask)
        await worker.say(msg.ActivityReport(attempt=first.attempt, failure=Failure(message="no")))
        await asyncio.sleep(3.5)
        await settle()
        worker.disconnect()
        await asyncio.sleep(2.5)

        ran = "perdure_activity_attempt_seconds_count"
        counted = {each: seen(world, ran, outcome=each) for each in ("failed", "timed_out", "lost")}
        assert counted == {"failed": 1, "timed_out": 1, "lost": 1}
        assert seen(world, "perdure_workers_lost_total", reason="closed") == 1


async def test_workflow_tasks_are_timed_by_how_they_ended() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        await asyncio.sleep(2)
        failure = Failure(message="boom")
        failed = msg.TaskFailed(task=task.task, cause="Nondeterminism", failure=failure)
        await worker.say(failed)
        assert seen(world, "perdure_workflow_task_seconds_sum", outcome="failed") == 2
        assert seen(world, "perdure_workflow_task_failures_total", cause="Nondeterminism") == 1
        assert seen(world, "perdure_runs_failing") == 1

        await asyncio.sleep(1.5)
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())
        assert seen(world, "perdure_workflow_task_seconds_count", outcome="done") == 1
        assert seen(world, "perdure_runs_failing") == 0


async def test_a_cause_that_a_worker_makes_up_gets_no_series_of_its_own() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        cause, failure = "order-42 has failed", Failure(message="boom")
        await worker.say(msg.TaskFailed(task=task.task, cause=cause, failure=failure))
        assert seen(world, "perdure_workflow_task_failures_total", cause="other") == 1
        assert cause not in world.host.metrics.render().decode()


async def test_slots_are_used_or_free_until_their_worker_drains() -> None:
    async with World() as world:
        worker = await world.worker(workflow_slots=4, activity_slots=3)
        await world.start()
        await worker.take(msg.WorkflowTask)

        def slots() -> list[float]:
            pairs = [(k, s) for k in ("workflow", "activity") for s in ("used", "free")]
            return [seen(world, "perdure_worker_slots", kind=k, state=s) for k, s in pairs]

        assert slots() == [1, 3, 0, 3]
        await worker.say(msg.Drain())
        assert slots() == [1, 0, 0, 0]
        assert seen(world, "perdure_workers_connected") == 1

        worker.disconnect()
        assert slots() == [0, 0, 0, 0]
        assert seen(world, "perdure_workers_connected") == 0


async def test_a_worker_that_falls_silent_is_lost_for_that_reason() -> None:
    async with World() as world:
        await world.worker()
        await asyncio.sleep(12)
        assert seen(world, "perdure_workers_lost_total", reason="silent") == 1
        assert seen(world, "perdure_workers_lost_total", reason="closed") == 0


async def test_transitions_that_share_a_commit_are_seen_in_its_size() -> None:
    async with World() as world:
        await world.start()
        signals = [SignalRequest(**TARGET, name="s", signal_id=str(n)) for n in range(4)]
        await asyncio.gather(*(world.verbs.signal(each) for each in signals))
        size = "perdure_store_commit_transitions"
        assert seen(world, f"{size}_count") == 2
        assert seen(world, f"{size}_sum") == 5
        assert seen(world, "perdure_store_append_seconds_count") == 5


async def test_runs_in_memory_and_damaged_ones_are_shown() -> None:
    async with World() as world:
        await world.start()
        world.host.keeper.damaged["run-9"] = "unreadable"
        assert seen(world, "perdure_runs_in_memory") == 1
        assert seen(world, "perdure_runs_damaged") == 1


async def test_the_disk_is_shown_where_the_store_is_on_one(tmp_path: Path) -> None:
    async with World(data_folder=tmp_path) as world:
        assert seen(world, "perdure_store_disk_bytes", state="free") > 0
        assert seen(world, "perdure_store_disk_bytes", state="used") > 0
    async with World() as world:
        assert seen(world, "perdure_store_disk_bytes", state="free") == 0


@pytest.mark.parametrize(
    "series",
    [
        'perdure_workers_lost_total{reason="silent"}',
        'perdure_reports_refused_total{kind="late_attempt"}',
        'perdure_runs_closed_total{kind="activity",status="TimedOut"}',
        'perdure_workflow_task_failures_total{cause="other"}',
    ],
)
def test_what_has_never_happened_is_counted_as_none(series: str) -> None:
    """Prometheus knows no increase of a series that was not there before."""
    assert f"{series} 0.0" in Metrics().render().decode()
