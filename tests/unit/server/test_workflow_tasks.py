"""Running workflows' code: who gets the task, what is told, what is refused, what it costs."""

from __future__ import annotations

import asyncio

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import messages as msg
from perdure.protocol.failures import Failure
from perdure.protocol.messages import StepResult
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload
from perdure.protocol.verbs import (
    CancelRequest,
    DescribeRequest,
    ResumeRequest,
    RunStatus,
    SignalRequest,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.server.workflow_tasks import FIRST_BACKOFF
from support.hosts import World, settle
from support.runs import schedule

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}


async def test_a_started_run_goes_to_a_waiting_worker() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        assert task.run.run_id == run_id
        assert task.complete
        assert [each.id for each in task.events] == [1]


async def test_a_started_run_waits_for_a_worker_to_come() -> None:
    async with World() as world:
        await world.start()
        worker = await world.worker()
        assert await worker.has(msg.WorkflowTask)


async def test_a_worker_of_another_namespace_gets_nothing() -> None:
    async with World() as world:
        stranger = await world.worker(namespace="other")
        await world.start()
        assert not await stranger.has(msg.WorkflowTask)


async def test_a_step_costs_one_commit_and_one_round_trip() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        through, commits = 1, world.store.commits
        for seq in range(1, 11):
            await worker.progress(
                task, through=through, steps=(StepResult(seq=seq, name="s"),), done=False
            )
            told = await worker.take(msg.TaskEvents)
            assert told.number == seq
            through = told.events[-1].id
        assert world.store.commits == commits + 10
        assert (await world.names(run_id)) == ["WorkflowStarted"] + ["StepCompleted"] * 10


async def test_nothing_is_told_before_it_is_on_disk() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        world.store.failing = True
        await worker.progress(task, steps=(StepResult(seq=1, name="s"),), done=False)
        assert not await worker.has(msg.TaskEvents)
        assert (await worker.take(msg.TaskRefused)).reason == "nothing could be recorded"


async def test_a_run_goes_on_when_the_store_is_well_again() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        world.store.failing = True
        await worker.progress(task, cmd.CompleteWorkflow())
        world.store.failing = False
        await asyncio.sleep(2)
        again = await worker.take(msg.WorkflowTask)
        assert again.complete
        await worker.progress(again, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_runs_that_are_ready_together_share_a_commit() -> None:
    async with World() as world:
        worker = await world.worker()
        before = world.store.commits
        await asyncio.gather(*(world.start(f"order-{n}") for n in range(50)))
        tasks = [await worker.take(msg.WorkflowTask) for _ in range(50)]
        assert world.store.commits - before <= 2
        before = world.store.commits
        await asyncio.gather(*(worker.progress(task, cmd.CompleteWorkflow()) for task in tasks))
        assert world.store.commits - before <= 2


async def test_a_worker_that_has_the_run_is_told_only_what_is_new() -> None:
    async with World() as world:
        worker, other = await world.worker("w1"), await world.worker("w2")
        await world.start()
        first = worker if await worker.has(msg.WorkflowTask) else other
        await first.progress(await first.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=1000))
        await asyncio.sleep(1.1)
        task = await first.take(msg.WorkflowTask)
        assert not task.complete
        assert [each.id for each in task.events] == [2, 3, 4]


async def test_a_worker_that_dropped_the_run_is_told_everything() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=5))
        await worker.say(msg.RunEvicted(run_id=run_id))
        await asyncio.sleep(0.01)
        task = await worker.take(msg.WorkflowTask)
        assert task.complete
        assert task.events[0].id == 1


async def test_a_signal_reaches_a_worker_that_is_busy_with_a_step() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        await world.verbs.signal(SignalRequest(**TARGET, name="approve"))
        told = await worker.take(msg.TaskEvents)
        assert told.task == task.task
        assert [each.id for each in told.events] == [2]


async def test_an_end_that_crosses_a_signal_is_refused_and_tried_again() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        await world.verbs.signal(SignalRequest(**TARGET, name="approve"))
        await worker.progress(task, cmd.CompleteWorkflow(), through=1)
        assert "must be told first" in (await worker.take(msg.TaskRefused)).reason
        again = await worker.take(msg.WorkflowTask)
        assert again.complete
        await worker.progress(again, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_a_task_goes_to_another_worker_when_its_own_is_gone() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        other = await world.worker("w2")
        worker.disconnect()
        again = await other.take(msg.WorkflowTask)
        assert again.run == task.run
        assert again.task != task.task


async def test_a_report_of_a_lost_task_is_refused() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        worker.disconnect()
        back = await world.worker("w1")
        await back.progress(task, cmd.CompleteWorkflow())
        assert (await back.take(msg.TaskRefused)).reason == "the task is no longer yours"
        assert await world.names(run_id) == ["WorkflowStarted"]


async def test_a_silent_worker_loses_its_task() -> None:
    async with World(lease=8_000) as world:
        worker = await world.worker("w1")
        await world.start()
        await worker.take(msg.WorkflowTask)
        await asyncio.sleep(6)
        other = await world.worker("w2")
        assert not await other.has(msg.WorkflowTask)
        await asyncio.sleep(5)
        assert await other.has(msg.WorkflowTask)


async def test_a_worker_that_pings_keeps_its_task() -> None:
    async with World(lease=8_000) as world:
        worker = await world.worker("w1")
        await world.start()
        for _ in range(20):
            await worker.say(msg.Ping())
            await asyncio.sleep(1)
        other = await world.worker("w2")
        assert not await other.has(msg.WorkflowTask)


async def test_code_that_fails_is_tried_again_with_backoff_and_says_so() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        for attempt in (1, 2, 3):
            task = await worker.take(msg.WorkflowTask)
            assert task.attempt == attempt
            await worker.say(
                msg.TaskFailed(
                    task=task.task, cause="WorkflowError", failure=Failure(message="bug")
                )
            )
            assert not await worker.has(msg.WorkflowTask)
            for _ in range(2 ** (attempt - 1)):
                await worker.say(msg.Ping())
                await asyncio.sleep(FIRST_BACKOFF / 1000 + 0.001)
        assert (await world.names(run_id)) == ["WorkflowStarted", "WorkflowTaskFailed"]
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.task_attempt == 4
        assert described.task_failure.message == "bug"
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert (described.status, described.task_attempt) == (RunStatus.COMPLETED, 1)


async def test_a_terminated_run_is_taken_from_its_worker() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        await world.verbs.terminate(TerminateRequest(**TARGET, reason="enough"))
        assert (await worker.take(msg.TaskRefused)).task == task.task
        await worker.progress(task, cmd.CompleteWorkflow())
        assert await worker.has(msg.TaskRefused)


async def test_a_terminated_run_no_longer_waits_for_a_worker() -> None:
    async with World() as world:
        await world.start()
        await settle()
        assert world.host.dispatcher.backlog == 1
        await world.verbs.terminate(TerminateRequest(**TARGET))
        await settle()
        assert world.host.dispatcher.backlog == 0


async def test_asking_a_run_to_end_tells_its_code() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        await world.verbs.cancel(CancelRequest(**TARGET))
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CancelWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCanceled"


async def test_a_restarted_server_takes_up_what_was_under_way() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start("a")
        await world.start("b")
        done = await worker.take(msg.WorkflowTask)
        await worker.progress(done, cmd.StartTimer(seq=1, delay=30_000))
        worker.disconnect()
        await asyncio.sleep(10)
        await world.restart()
        worker = await world.worker()
        assert (await worker.take(msg.WorkflowTask)).run.workflow_id == "b"
        for _ in range(20):
            await worker.say(msg.Ping())
            await asyncio.sleep(1)
        assert (await worker.take(msg.WorkflowTask)).run.workflow_id == "a"


async def test_a_restarted_server_fires_what_was_due_meanwhile() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=1_000)
        )
        worker.disconnect()
        await world.host.stop()
        await asyncio.sleep(3600)
        await world.restart()
        await asyncio.sleep(0.1)
        assert (await world.names(run_id))[-1] == "TimerFired"


async def test_a_timer_far_ahead_fires_when_it_is_due() -> None:
    async with World() as world:
        worker = await world.worker(workflow_slots=1)
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.StartTimer(seq=1, delay=48 * 3600 * 1000))
        worker.disconnect()
        await asyncio.sleep(48 * 3600 - 1)
        assert (await world.names(run_id))[-1] == "TimerStarted"
        await asyncio.sleep(1.1)
        assert (await world.names(run_id))[-1] == "TimerFired"


async def test_a_run_timeout_ends_the_run() -> None:
    async with World() as world:
        run_id = await world.start(run_timeout=5_000)
        await asyncio.sleep(5.01)
        assert (await world.names(run_id))[-1] == "WorkflowTimedOut"


async def test_a_result_over_the_limit_fails_the_task_and_nothing_else() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        other_run = await world.start("other")
        task = await worker.take(msg.WorkflowTask)
        large = Payload(data=b"x" * (MAX_PAYLOAD_BYTES + 1))
        await worker.progress(task, cmd.CompleteWorkflow(result=large))
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.task_failure_cause == "PayloadTooLarge"
        assert "the limit is 2,097,152" in described.task_failure.message
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())
        assert (await world.names(other_run))[-1] == "WorkflowCompleted"


async def test_slots_bound_what_a_worker_is_given() -> None:
    async with World() as world:
        worker = await world.worker(workflow_slots=2)
        for n in range(3):
            await world.start(f"order-{n}")
        tasks = [await worker.take(msg.WorkflowTask) for _ in range(2)]
        assert not await worker.has(msg.WorkflowTask)
        await worker.progress(tasks[0], schedule(1, task_queue="elsewhere"))
        assert (await worker.take(msg.WorkflowTask)).run.workflow_id == "order-2"


async def test_a_draining_worker_is_given_nothing_new() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await worker.say(msg.Drain())
        await world.start()
        assert not await worker.has(msg.WorkflowTask)
        other = await world.worker("w2")
        assert await other.has(msg.WorkflowTask)


# --- suspended runs ----------------------------------------------------------------------------


async def test_a_suspended_run_finishes_its_step_and_begins_nothing() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        await world.verbs.suspend(SuspendRequest(**TARGET, reason="the bank is closed"))
        assert not await worker.has(msg.TaskEvents)
        await worker.progress(task, through=1, steps=(StepResult(seq=1, name="s"),), done=False)
        assert (await worker.take(msg.TaskRefused)).reason == "the run is suspended"
        assert await world.names(run_id) == ["WorkflowStarted", "Suspended", "StepCompleted"]
        await world.verbs.signal(SignalRequest(**TARGET, name="approve"))
        assert not await worker.has(msg.WorkflowTask)
        await world.verbs.resume(ResumeRequest(**TARGET))
        again = await worker.take(msg.WorkflowTask)
        assert again.complete
        await worker.progress(again, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_a_suspended_run_stays_so_over_a_restart_and_waits_for_no_worker() -> None:
    async with World() as world:
        await world.start()
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await world.restart()
        worker = await world.worker()
        assert not await worker.has(msg.WorkflowTask)
        assert world.host.dispatcher.backlog == 0
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.status is RunStatus.SUSPENDED
        assert described.events == 2
        await world.verbs.resume(ResumeRequest(**TARGET))
        await world.verbs.resume(ResumeRequest(**TARGET))
        assert await worker.has(msg.WorkflowTask)


async def test_a_suspended_runs_timers_fire_and_are_told_when_it_is_resumed() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=500))
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await asyncio.sleep(1)
        assert (await world.names(run_id))[-1] == "TimerFired"
        assert not await worker.has(msg.WorkflowTask)
        await world.verbs.resume(ResumeRequest(**TARGET))
        assert await worker.has(msg.WorkflowTask)


async def test_a_suspended_run_begins_no_attempt() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1), schedule(2))
        first = await worker.take(msg.ActivityTask)
        await worker.take(msg.ActivityTask)
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await worker.say(msg.ActivityReport(attempt=first.attempt, failure=Failure(message="no")))
        for _ in range(3):
            await worker.say(msg.Ping())
            await asyncio.sleep(1)
        assert not await worker.has(msg.ActivityTask)
        await world.verbs.resume(ResumeRequest(**TARGET))
        again = await worker.take(msg.ActivityTask)
        assert (again.attempt.seq, again.attempt.attempt) == (1, 2)


async def test_a_suspended_run_can_be_terminated() -> None:
    async with World() as world:
        run_id = await world.start()
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await world.verbs.terminate(TerminateRequest(**TARGET))
        assert (await world.names(run_id))[-1] == "WorkflowTerminated"
