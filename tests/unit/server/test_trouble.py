"""One run's trouble stays that run's, and is said where people look."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.events import HistoryEvent
from perdure.protocol.verbs import DescribeRequest, SignalRequest, TerminateRequest
from perdure_operator.engine import decisions
from perdure_operator.server import committing, keeping
from perdure_operator.server.errors import VerbError
from perdure_operator.store.port import StoreUnavailableError
from support.hosts import World
from support.runs import schedule

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}


async def damage(world: World, run_id: str) -> None:
    """Replace what happened to a run with something else, behind the server's back."""
    first = (await world.store.read_history(run_id))[0]
    started = ev.WorkflowStarted(workflow_type="Other", task_queue="q", run_id=run_id)
    other = HistoryEvent(1, first.time, started)
    world.store._runs[run_id].events[0] = other


async def test_a_damaged_run_is_left_alone_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World() as world:
        bad, good = await world.start(), await world.start("good")
        await damage(world, bad)
        await world.restart()
        with caplog.at_level(logging.CRITICAL):
            worker = await world.worker()
        task = await worker.take(msg.WorkflowTask)
        assert task.run.run_id == good
        assert not await worker.has(msg.WorkflowTask)
        assert "history is damaged" in caplog.text
        with pytest.raises(VerbError, match="Restore the database") as caught:
            await world.verbs.signal(SignalRequest(**TARGET, name="s"))
        assert caught.value.code == "Damaged"
        await worker.progress(task, cmd.CompleteWorkflow())
        assert (await world.names(good))[-1] == "WorkflowCompleted"


async def test_a_failing_listener_keeps_nobody_else_from_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World() as world:
        world.host.keeper.listeners.append(lambda hot, _: 1 // (hot.run.ref.workflow_id == "good"))
        with caplog.at_level(logging.CRITICAL):
            await asyncio.gather(world.start(), world.start("good"))
        assert "ZeroDivisionError" in caplog.text


async def test_a_server_that_stood_still_takes_nobodys_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World(lease=8_000) as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        loop = asyncio.get_running_loop()
        start, stalled = loop.time(), loop.time
        await asyncio.sleep(1)
        monkeypatch.setattr(loop, "time", lambda: stalled() + 60)
        await asyncio.sleep(1.5)
        monkeypatch.undo()
        assert loop.time() - start < 8
        await worker.progress(task, cmd.CompleteWorkflow())
        assert not await worker.has(msg.TaskRefused)


async def test_idle_runs_are_dropped_from_memory_and_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "CAPACITY", 20)
    async with World() as world:
        worker = await world.worker()
        runs = [await world.start(f"order-{n}") for n in range(60)]
        for _ in runs:
            task = await worker.take(msg.WorkflowTask)
            await worker.progress(task, cmd.StartTimer(seq=1, delay=10**6))
        for n in range(60):
            await world.start(f"later-{n}", task_queue="elsewhere")
        assert sum(world.host.keeper.peek(run_id) is not None for run_id in runs) <= 25
        request = DescribeRequest(namespace="default", workflow_id="order-0")
        assert (await world.verbs.describe(request)).events == 3
        await world.verbs.signal(
            SignalRequest(namespace="default", workflow_id="order-0", name="s")
        )
        task = await worker.take(msg.WorkflowTask)
        assert task.complete
        assert task.run.run_id == runs[0]


async def test_what_cannot_be_written_fails_alone() -> None:
    async with World() as world:
        worker = await world.worker()
        bad, good = await world.start(), await world.start("good")
        tasks = [await worker.take(msg.WorkflowTask) for _ in range(2)]
        world.store.unwritable = bad
        await asyncio.gather(*(worker.progress(task, cmd.CompleteWorkflow()) for task in tasks))
        assert (await world.names(good))[-1] == "WorkflowCompleted"
        assert await world.names(bad) == ["WorkflowStarted"]


async def test_waiting_for_ever_is_no_trouble() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start(run_timeout=2**63)
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.StartTimer(seq=1, delay=2**63 - 1))
        assert (await world.names(run_id))[-1] == "TimerStarted"
        assert all(t.timer.fires < 2**63 for t in await world.store.due_timers(
            after=0, before=2**63 - 1, limit=10))  # fmt: skip


async def test_what_was_decided_on_something_unwritten_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "MAX_BATCH", 1)
    async with World() as world:
        run_id = await world.start()
        world.store.taken = run_id
        signals = [SignalRequest(**TARGET, name=name) for name in ("one", "two")]
        results = await asyncio.gather(
            *(world.verbs.signal(each) for each in signals), return_exceptions=True
        )
        assert [type(each) for each in results] == [VerbError, VerbError]
        assert await world.names(run_id) == ["WorkflowStarted"]
        await asyncio.sleep(2)
        await world.verbs.signal(signals[0])
        assert await world.names(run_id) == ["WorkflowStarted", "SignalReceived"]


async def test_a_commit_that_failed_is_counted_as_a_failure_only() -> None:
    async with World() as world:
        await world.start()
        world.store.failing = True
        with pytest.raises(VerbError):
            await world.verbs.signal(SignalRequest(**TARGET, name="s"))
        counted = world.host.metrics.render().decode().splitlines()
        assert "perdure_store_commits_total 1.0" in counted
        assert "perdure_store_transitions_total 1.0" in counted
        assert "perdure_store_commit_failures_total 1.0" in counted


async def test_a_report_of_thousands_of_steps_is_told_back_whole() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        steps = tuple(msg.StepResult(seq=n, name="s") for n in range(1, 3 * keeping.TAIL + 1))
        await worker.progress(task, steps=steps, done=False)
        told = await worker.take(msg.TaskEvents)
        assert [each.id for each in told.events] == list(range(2, 3 * keeping.TAIL + 2))


async def test_thousands_of_signals_that_waited_for_a_slot_are_told_from_the_store() -> None:
    async with World() as world:
        worker = await world.worker(workflow_slots=1)
        await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        await world.start("other")
        other = await worker.take(msg.WorkflowTask)
        count = 3 * keeping.TAIL
        for number in range(count):
            await world.verbs.signal(SignalRequest(**TARGET, name=f"s{number}"))
        signalling = asyncio.gather(
            worker.progress(other, cmd.CompleteWorkflow()),
            world.verbs.signal(SignalRequest(**TARGET, name="while it is handed out")),
        )
        await signalling
        task = await worker.take(msg.WorkflowTask)
        events = list(task.events)
        while events[-1].id < 3 + count + 1:
            events += (await worker.take(msg.TaskEvents)).events
        assert [each.id for each in events] == list(range(2, 3 + count + 2))


async def test_what_is_known_but_could_not_be_recorded_is_not_acknowledged() -> None:
    async with World() as world:
        run_id = await world.start()
        world.store.failing = True
        signal = SignalRequest(**TARGET, name="paid", signal_id="s1")
        answers = await asyncio.gather(
            world.verbs.signal(signal), world.verbs.signal(signal), return_exceptions=True
        )
        assert await world.names(run_id) == ["WorkflowStarted"]
        assert [type(each) for each in answers] == [VerbError, VerbError]


async def test_nothing_is_shown_that_could_not_be_recorded() -> None:
    async with World() as world:
        await world.start()
        world.store.failing = True
        _, described = await asyncio.gather(
            world.verbs.signal(SignalRequest(**TARGET, name="paid")),
            world.verbs.describe(DescribeRequest(**TARGET)),
            return_exceptions=True,
        )
        assert isinstance(described, VerbError)
        assert described.code == "Unavailable"


async def test_nobody_is_told_of_an_end_that_could_not_be_recorded() -> None:
    async with World() as world:
        await world.start()
        world.store.failing = True
        terminate = TerminateRequest(**TARGET)
        answers = await asyncio.gather(
            world.verbs.terminate(terminate),
            world.verbs.terminate(terminate),
            return_exceptions=True,
        )
        assert [each.code for each in answers if isinstance(each, VerbError)] == ["Unavailable"] * 2


async def test_a_worker_lost_while_nothing_could_be_recorded_is_lost_all_the_same() -> None:
    async with World(lease=8_000, grace=2_000) as world:
        worker = await world.worker()
        run_id = await world.start()
        options = {"start_to_close_timeout": None, "schedule_to_close_timeout": 86_400_000}
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1, **options))
        await worker.take(msg.ActivityTask)
        worker.disconnect()
        world.store.failing = True
        await asyncio.sleep(5)
        world.store.failing = False
        await asyncio.sleep(12)
        other = await world.worker("w2")
        again = await other.take(msg.ActivityTask)
        assert again.attempt == msg.AttemptRef(run_id, 1, 2)


async def test_a_worker_that_dies_with_a_report_that_was_not_recorded_is_lost() -> None:
    async with World(lease=8_000, grace=2_000) as world:
        worker = await world.worker()
        run_id = await world.start()
        options = {"start_to_close_timeout": None, "schedule_to_close_timeout": 86_400_000}
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1, **options))
        attempt = (await worker.take(msg.ActivityTask)).attempt
        world.store.failing = True
        await worker.say(msg.ActivityReport(attempt=attempt))
        world.store.failing = False
        await asyncio.sleep(12)
        other = await world.worker("w2")
        again = await other.take(msg.ActivityTask)
        assert again.attempt == msg.AttemptRef(run_id, 1, 2)


async def test_a_run_may_end_beyond_the_limit_of_its_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        monkeypatch.setattr(decisions, "MAX_EVENTS", 2)
        await worker.progress(task, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_a_mistake_of_the_server_itself_is_not_recorded_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World() as world:
        run_id = await world.start()
        hot = world.host.keeper.peek(run_id)
        assert hot is not None
        with caplog.at_level(logging.CRITICAL), pytest.raises(keeping.LostError):
            await world.host.keeper.change(hot, [ev.TimerFired(seq=9)])
        assert "timer 9 fired, but it is not open" in caplog.text
        await world.verbs.signal(SignalRequest(**TARGET, name="s"))
        assert await world.names(run_id) == ["WorkflowStarted", "SignalReceived"]


async def test_a_worker_that_came_back_while_nothing_could_be_read_may_still_be_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unreadable(_run_id: str) -> None:
        raise StoreUnavailableError("the disk is away")

    async with World(lease=8_000, grace=2_000) as world:
        worker = await world.worker()
        run_id = await world.start()
        options = {"start_to_close_timeout": None, "schedule_to_close_timeout": 86_400_000}
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1, **options))
        await worker.take(msg.ActivityTask)
        await world.restart()
        with monkeypatch.context() as away:
            away.setattr(world.store, "get_run", unreadable)
            with pytest.raises(StoreUnavailableError):
                await world.host.connect(worker.session)
        worker.disconnect()
        await asyncio.sleep(12)
        other = await world.worker("w2")
        assert (await other.take(msg.ActivityTask)).attempt == msg.AttemptRef(run_id, 1, 2)
