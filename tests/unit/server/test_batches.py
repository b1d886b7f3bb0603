"""Batches: what they cost, who has their items, what happens when anything is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure
from perdure.protocol.items import MAX_ITEMS, item_key
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, RetryPolicy
from perdure.protocol.verbs import (
    ActivityOptions,
    CancelRequest,
    DescribeRequest,
    ImportRequest,
    PendingBatch,
    ResultRequest,
    ResumeRequest,
    RunStatus,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.engine import batches, decisions
from perdure_operator.server.errors import VerbError
from support.hosts import ByHand, World, settle
from support.runs import schedule, schedule_batch

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}
RESULT = Payload(metadata={"encoding": b"json/plain"}, data=b'"ok"')
FINAL = Failure(message="no", info=ApplicationInfo(non_retryable=True))


async def with_batch(world: World, worker: ByHand, items: int = 5, **options: Any) -> str:
    """Start a run that has asked for one batch."""
    run_id = await world.start()
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, schedule_batch(1, items, **options))
    return run_id


def done(*tasks: msg.ActivityTask, failure: Failure | None = None) -> list[msg.ActivityReport]:
    """What a worker says of items that ended."""
    result = None if failure else RESULT
    return [msg.ActivityReport(attempt=t.attempt, result=result, failure=failure) for t in tasks]


def items_of(tasks: Sequence[msg.ActivityTask]) -> list[int | None]:
    return [task.item for task in tasks]


async def play(worker: ByHand) -> list[int | None]:
    """Let a worker do items, a frame at a time, until no more come; return which."""
    did: list[int | None] = []
    while tasks := await worker.take_all(msg.ActivityTask):
        did += items_of(tasks)
        await worker.say_at_once(*done(*tasks))
    return did


async def results(world: World, run_id: str) -> list[int]:
    """The items whose results are in history."""
    events = [each.event for each in await world.history(run_id)]
    return [
        result.index
        for event in events
        if isinstance(event, ev.BatchItemsClosed)
        for result in event.items
    ]


# --- handing out and reporting -------------------------------------------------------------


async def test_an_item_is_handed_out_as_an_activity_with_its_index() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 2, heartbeat_timeout=9_000)
        first, second = await worker.take_all(msg.ActivityTask)
        assert (first.item, second.item) == (0, 1)
        assert second.attempt == msg.AttemptRef(run_id, item_key(1, 1), 1)
        assert (second.activity_id, second.input) == ("1.1", (Payload(data=b"1"),))
        assert (second.heartbeat_timeout, second.standalone) == (9_000, False)


async def version(world: World, run_id: str) -> int:
    """How many transitions a run has had."""
    row = await world.store.get_run(run_id)
    assert row is not None
    return row.version


async def test_reports_of_one_frame_and_what_they_make_room_for_are_one_transition() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=10)
        run_id = await with_batch(world, worker, 25)
        tasks = await worker.take_all(msg.ActivityTask)
        before = await version(world, run_id)
        await worker.say_at_once(*done(*tasks))
        assert await version(world, run_id) == before + 1
        assert len(await worker.take_all(msg.ReportAccepted)) == 10
        assert items_of(await worker.take_all(msg.ActivityTask)) == list(range(10, 20))


async def test_a_batch_is_one_event_and_its_results_few() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=100)
        run_id = await with_batch(world, worker, 2_500)
        assert await play(worker) == list(range(2_500))
        assert (await world.names(run_id))[2:] == [
            "BatchScheduled",
            *["BatchItemsClosed"] * 3,
            "BatchCompleted",
        ]
        assert sorted(await results(world, run_id)) == list(range(2_500))
        assert await world.store.read_items(run_id) == []
        assert await world.store.read_activities(run_id) == []
        assert world.store.commits < 40


async def test_a_result_is_on_disk_before_it_is_acknowledged() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 2)
        first, _ = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first))
        assert (await worker.take(msg.ReportAccepted)).accepted
        (row,) = await world.store.read_items(run_id)
        assert (row.item, row.result.result) == (item_key(1, 0), RESULT)


async def test_never_more_items_run_than_the_parallelism_allows() -> None:
    async with World() as world:
        first = await world.worker("w1", activity_slots=2)
        second = await world.worker("w2", workflow_slots=0)
        run_id = await with_batch(world, first, 20, parallelism=3)
        did: list[int | None] = []
        while held := [(w, t) for w in (first, second) for t in await w.take_all(msg.ActivityTask)]:
            assert len(held) <= 3
            assert len(await world.store.read_activities(run_id)) <= 3
            for worker, task in held:
                await worker.say_at_once(*done(task))
                did.append(task.item)
        assert sorted(did) == list(range(20))
        assert (await world.names(run_id))[-1] == "BatchCompleted"


async def test_items_begin_in_their_order_and_let_others_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "OPEN_ITEMS", 4)
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        await with_batch(world, worker, 8)
        tasks = await worker.take_all(msg.ActivityTask)
        assert items_of(tasks) == [0, 1]
        await world.start("other")
        await worker.progress(await worker.take(msg.WorkflowTask), schedule(1))
        begun = []
        while tasks:
            await worker.say_at_once(*done(*tasks))
            tasks = await worker.take_all(msg.ActivityTask)
            begun += items_of(tasks)
        # Two waited before the other run's activity, the rest came behind it.
        assert begun == [2, 3, None, 4, 5, 6, 7]


async def test_a_late_or_repeated_report_of_an_item_is_refused() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 2)
        first, second = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first, first))
        answers = await worker.take_all(msg.ReportAccepted)
        assert sorted(each.accepted for each in answers) == [False, True]
        await worker.say_at_once(*done(first, second))
        answers = await worker.take_all(msg.ReportAccepted)
        assert sorted(each.accepted for each in answers) == [False, True]
        assert await results(world, run_id) == [0, 1]


async def test_another_workers_item_cannot_be_reported() -> None:
    async with World() as world:
        worker = await world.worker()
        await with_batch(world, worker, 1)
        (task,) = await worker.take_all(msg.ActivityTask)
        thief = await world.worker("w2")
        await thief.say_at_once(*done(task))
        assert not (await thief.take(msg.ReportAccepted)).accepted


async def test_a_report_of_an_item_of_a_run_that_is_not_there_is_refused() -> None:
    async with World() as world:
        worker = await world.worker()
        ref = msg.AttemptRef("nobody", item_key(1, 0), 1)
        await worker.say(msg.ActivityReport(attempt=ref))
        assert not (await worker.take(msg.ReportAccepted)).accepted


# --- failures, time, workers ---------------------------------------------------------------


async def test_an_item_is_tried_again_by_its_policy() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 1)
        (first,) = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first, failure=Failure(message="flaky")))
        await asyncio.sleep(1.1)
        await worker.say(msg.Ping())
        (second,) = await worker.take_all(msg.ActivityTask)
        assert (second.item, second.attempt.attempt) == (0, 2)
        await worker.say_at_once(*done(second))
        closed = [each.event for each in await world.history(run_id)][-2]
        assert isinstance(closed, ev.BatchItemsClosed)
        assert closed.items == (ev.ItemResult(0, 2, RESULT),)


async def test_one_failure_too_many_stops_what_runs() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 9, parallelism=3)
        first, *others = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first, failure=FINAL))
        assert (await world.names(run_id))[-2:] == ["BatchItemsClosed", "BatchFailed"]
        stopped = await worker.take_all(msg.CancelActivity)
        assert {each.attempt for each in stopped} == {each.attempt for each in others}
        assert not await worker.has(msg.ActivityTask)
        await worker.say_at_once(*done(*others))
        assert {each.accepted for each in (await worker.take_all(msg.ReportAccepted))[1:]} == {
            False
        }
        assert not worker.session.held_attempts


async def test_what_waited_for_a_slot_of_a_batch_that_failed_never_takes_one() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        await with_batch(world, worker, 9)
        first, second = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first, failure=FINAL))
        assert worker.session.held_attempts == {second.attempt}
        assert world.host.dispatcher.loads()["activity"].backlog == 0


async def test_items_of_a_lost_worker_are_tried_elsewhere() -> None:
    async with World() as world:
        worker = await world.worker("w1", activity_slots=3)
        run_id = await with_batch(world, worker, 4)
        first, *_ = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first))
        worker.disconnect()
        await asyncio.sleep(2.1)
        other = await world.worker("w2")
        tasks = await other.take_all(msg.ActivityTask)
        assert sorted(items_of(tasks)) == [1, 2, 3]
        await other.say_at_once(*done(*tasks))
        assert (await world.names(run_id))[-1] == "BatchCompleted"
        assert sorted(await results(world, run_id)) == [0, 1, 2, 3]


async def test_an_item_that_takes_too_long_times_out() -> None:
    async with World() as world:
        worker = await world.worker()
        once = RetryPolicy(maximum_attempts=1)
        run_id = await with_batch(
            world, worker, 2, start_to_close_timeout=3_000, retry_policy=once, tolerated_failures=2
        )
        for _ in range(4):
            await worker.say(msg.Ping())
            await asyncio.sleep(1)
        assert len(await worker.take_all(msg.CancelActivity)) == 2
        assert (await world.history(run_id))[-1].event == ev.BatchCompleted(
            seq=1, failed=2, failed_indexes="0-1"
        )


async def test_a_heartbeat_keeps_an_item_and_its_details_go_to_the_next_attempt() -> None:
    async with World() as world:
        worker = await world.worker()
        await with_batch(world, worker, 1, heartbeat_timeout=2_000)
        (task,) = await worker.take_all(msg.ActivityTask)
        for _ in range(3):
            await asyncio.sleep(1.5)
            await worker.say(msg.ActivityHeartbeat(attempt=task.attempt, details=(RESULT,)))
        await worker.say_at_once(*done(task, failure=Failure()))
        await asyncio.sleep(1.1)
        await worker.say(msg.Ping())
        (again,) = await worker.take_all(msg.ActivityTask)
        assert again.heartbeat_details == (RESULT,)


async def test_the_time_of_the_whole_batch_fails_it() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 2, schedule_to_close_timeout=2_000)
        first, second = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first))
        await asyncio.sleep(2.1)
        assert (await world.names(run_id))[-2:] == ["BatchItemsClosed", "BatchFailed"]
        assert (await worker.take(msg.CancelActivity)).attempt == second.attempt


# --- streaming, cancelling, suspending -----------------------------------------------------


async def test_streamed_results_reach_the_code_as_fast_as_it_takes_them() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 6, streamed=True)
        items = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(items[0]))
        task = await worker.take(msg.WorkflowTask)
        await worker.say_at_once(*done(*items[1:4]))
        assert await results(world, run_id) == [0], "the code is still busy with the first"
        await worker.progress(task)
        told = await worker.take(msg.WorkflowTask)
        assert [type(each.event) for each in told.events][-1] is ev.BatchItemsClosed
        assert await results(world, run_id) == [0, 1, 2, 3]


async def test_results_that_are_not_streamed_wake_no_code() -> None:
    async with World() as world:
        worker = await world.worker()
        await with_batch(world, worker, 2_100)
        await play(worker)
        (task,) = await worker.take_all(msg.WorkflowTask)
        kinds = [type(each.event) for each in task.events]
        assert kinds[-4:] == [*[ev.BatchItemsClosed] * 3, ev.BatchCompleted]


async def test_cancelling_a_batch_reaches_every_worker_of_its_items() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        run_id = await with_batch(world, worker, 9)
        items = await worker.take_all(msg.ActivityTask)
        await world.verbs.cancel(CancelRequest(**TARGET))
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.RequestCancelActivity(seq=1))
        told = await worker.take_all(msg.CancelActivity)
        assert [each.reason for each in told] == ["cancel_requested"] * 2
        await worker.say_at_once(*done(items[0]), *done(items[1], failure=_canceled()))
        assert (await world.history(run_id))[-1].event == ev.BatchCanceled(seq=1, succeeded=1)
        assert await worker.take_all(msg.ActivityTask) == []
        assert world.host.dispatcher.backlog == 0


def _canceled() -> Failure:
    return Failure(message="stopped", info=CanceledInfo())


async def test_no_item_of_a_suspended_run_begins() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        run_id = await with_batch(world, worker, 5)
        items = await worker.take_all(msg.ActivityTask)
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await worker.say_at_once(*done(*items))
        assert len(await world.store.read_items(run_id)) == 2, "what ran is recorded"
        assert not await worker.has(msg.ActivityTask)
        await world.verbs.resume(ResumeRequest(**TARGET))
        assert items_of(await worker.take_all(msg.ActivityTask)) == [2, 3]


async def test_a_run_that_ends_stops_its_items_and_leaves_no_row() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await with_batch(world, worker, 4)
        first, *others = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first))
        await world.verbs.terminate(TerminateRequest(**TARGET))
        assert len(await worker.take_all(msg.CancelActivity)) == len(others)
        assert await world.store.read_items(run_id) == []
        assert await world.store.read_activities(run_id) == []


# --- losing the server, and the store ------------------------------------------------------


async def test_a_server_that_comes_back_goes_on_with_what_is_left() -> None:
    async with World() as world:
        worker = await world.worker("w1", activity_slots=3)
        run_id = await with_batch(world, worker, 9, schedule_to_close_timeout=3_600_000)
        tasks = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(*tasks[:2]))
        held = [tasks[2], *await worker.take_all(msg.ActivityTask)]
        worker.disconnect()
        await world.restart()
        back = await world.worker("w1", held=tuple(each.attempt for each in held))
        await back.say_at_once(*done(*held))
        rest = await play(back)
        assert sorted([*items_of(tasks[:2]), *items_of(held), *rest]) == list(range(9))
        assert (await world.names(run_id))[-1] == "BatchCompleted"
        assert sorted(await results(world, run_id)) == list(range(9))
        assert await world.store.due_timers(after=0, before=2**62, limit=9) == []


async def test_reports_that_cannot_be_written_are_repeated_and_recorded_once() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await with_batch(world, worker, 3)
        tasks = await worker.take_all(msg.ActivityTask)
        world.store.failing = True
        await worker.say_at_once(*done(*tasks[:2]))
        assert not worker.session.is_open
        assert not await worker.has(msg.ReportAccepted)
        world.store.failing = False
        await asyncio.sleep(1.1)
        back = await world.worker("w1", held=tuple(each.attempt for each in tasks))
        await back.say_at_once(*done(*tasks))
        assert all(each.accepted for each in await back.take_all(msg.ReportAccepted))
        assert (await world.names(run_id))[-1] == "BatchCompleted"


async def test_reports_that_meet_a_run_which_is_read_anew_are_repeated() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await with_batch(world, worker, 2)
        tasks = await worker.take_all(msg.ActivityTask)
        hot = world.host.keeper.peek(run_id)
        assert hot is not None
        for report in done(*tasks):
            await world.host.on_message(worker.session, report)
        hot.broken = True
        await settle()
        assert not worker.session.is_open
        assert not await worker.has(msg.ReportAccepted)


async def test_a_batch_over_the_history_limit_ends_only_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        run_id = await with_batch(world, worker, 9)
        tasks = await worker.take_all(msg.ActivityTask)
        monkeypatch.setattr(decisions, "MAX_HISTORY_BYTES", 10)
        await worker.say_at_once(*done(*tasks))
        assert (await world.names(run_id))[-1] == "WorkflowTerminated"
        assert not worker.session.held_attempts, "what was begun and dropped holds no slot"


async def test_memory_keeps_no_events_of_a_large_run_that_is_over() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start(**batch_of(3, 500_000))
        hot = world.host.keeper.peek(run_id)
        assert hot is not None
        assert hot.tail
        await play(worker)
        assert hot.run.is_closed
        assert not hot.tail
        assert len(await world.host.keeper.events_after(hot, 0)) == hot.run.last_event


# --- what clients see ----------------------------------------------------------------------


async def test_a_batch_is_described_with_its_counts_and_not_by_its_items() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=3)
        await with_batch(world, worker, 10, tolerated_failures=5, summary="photos")
        first, second, third = await worker.take_all(msg.ActivityTask)
        flaky = Failure(message="flaky")
        await worker.say_at_once(*done(first), *done(second, failure=FINAL))
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.pending_activities == ()
        (pending,) = described.pending_batches
        assert pending == PendingBatch(
            seq=1,
            activity_id="1",
            activity_type="charge",
            total=10,
            succeeded=1,
            failed=1,
            failed_indexes="1",
            running=3,
            scheduled=pending.scheduled,
            summary="photos",
            last_failure=FINAL,
        )
        await worker.say_at_once(*done(third, failure=flaky))
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.pending_batches[0].last_failure == flaky
        assert described.current_step == "photos"


def batch_of(items: int, size: int = 1, **options: Any) -> dict[str, Any]:
    """What starts a batch on its own."""
    inputs = tuple((Payload(data=b"x" * size),) for _ in range(items))
    activity = ActivityOptions(items=inputs, start_to_close_timeout=9_000, **options)
    return {"kind": "activity", "workflow_type": "charge", "activity": activity}


async def test_a_batch_on_its_own_runs_to_its_end() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start(**batch_of(3))
        tasks = await worker.take_all(msg.ActivityTask)
        assert all(each.standalone for each in tasks)
        await worker.say_at_once(*done(*tasks))
        answer = await world.verbs.result(ResultRequest(**TARGET))
        assert (answer.status, answer.result) == (RunStatus.COMPLETED, None)
        assert await results(world, run_id) == [0, 1, 2]


async def test_a_batch_on_its_own_that_fails_says_why() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start(**batch_of(3))
        first, *_ = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first, failure=FINAL))
        answer = await world.verbs.result(ResultRequest(**TARGET))
        assert answer.status is RunStatus.FAILED
        assert answer.failure is not None
        assert answer.failure.message == "1 of 3 items failed (0 tolerated), 0 succeeded"
        assert answer.failure.cause == FINAL


async def test_a_batch_on_its_own_is_cancelled_and_suspended_like_any_activity() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=0)
        run_id = await world.start(**batch_of(3))
        await world.verbs.suspend(SuspendRequest(**TARGET))
        await world.verbs.resume(ResumeRequest(**TARGET))
        await world.verbs.cancel(CancelRequest(**TARGET))
        assert (await world.names(run_id))[-2:] == ["BatchCanceled", "WorkflowCanceled"]
        assert not await worker.has(msg.ActivityTask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (batch_of(MAX_ITEMS + 1), "at most 100,000 may be"),
        (batch_of(9, MAX_PAYLOAD_BYTES), "its items take"),
        (batch_of(1, MAX_PAYLOAD_BYTES + 1), "item 0: value 1 takes"),
        (batch_of(1, parallelism=-1), "parallelism is -1"),
        (batch_of(1, tolerated_failures=-2), "tolerated_failures is -2"),
    ],
    ids=["too-many", "too-large-together", "one-too-large", "parallelism", "tolerated"],
)
async def test_a_batch_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    async with World() as world:
        with pytest.raises(VerbError, match=message):
            await world.start(**options)


@pytest.mark.parametrize(
    ("items", "message"),
    [(((),) * (MAX_ITEMS + 1), "at most 100,000"), ((), "it has no items")],
    ids=["too-many", "none"],
)
async def test_a_workflow_that_asks_for_an_impossible_batch_is_told_so(
    items: tuple[Any, ...], message: str
) -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        asked = cmd.ScheduleBatch(seq=1, activity_id="1", activity_type="charge", items=items)
        await worker.progress(task, asked)
        assert message in (await worker.take(msg.TaskRefused)).reason
        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.task_failure_cause == "PayloadTooLarge"


async def test_a_history_with_an_open_batch_goes_on_elsewhere() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=1)
        run_id = await with_batch(world, worker, 3, streamed=True)
        (first,) = await worker.take_all(msg.ActivityTask)
        await worker.say_at_once(*done(first))
        events = tuple(await world.history(run_id))
    async with World() as elsewhere:
        request = ImportRequest(**TARGET, run_id=run_id, events=events)
        assert (await elsewhere.verbs.import_(request)).imported
        worker = await elsewhere.worker()
        assert items_of(await worker.take_all(msg.ActivityTask)) == [1, 2]


async def test_a_history_that_is_settled_has_every_result_that_was_acknowledged() -> None:
    async with World() as world:
        worker = await world.worker(activity_slots=2)
        run_id = await with_batch(world, worker, 5)
        await worker.say_at_once(*done(*await worker.take_all(msg.ActivityTask)))
        assert (await world.verbs.describe(DescribeRequest(**TARGET))).events == 3
        settle = DescribeRequest(**TARGET, settle=True)
        described = await world.verbs.describe(settle)
        assert await results(world, run_id) == [0, 1]
        assert await world.store.read_items(run_id) == []
        assert described.pending_batches[0].succeeded == 2
        assert await world.verbs.describe(settle) == described, "there is nothing more"

        assert await play(worker) == [2, 3, 4]
