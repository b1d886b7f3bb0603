from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.common import Pod, RetryPolicy
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ConversionError,
    UsageError,
)
from perdure.exceptions import (
    TimeoutError as ActivityTimeout,
)
from perdure.protocol import events as ev
from perdure.protocol.failures import Failure, TimeoutInfo, TimeoutKind
from perdure.replay import WorkflowTaskError
from perdure.workflow import ActivityCancellationType as Cancellation
from perdure.workflow import Batch
from support.histories import CONVERTER, RunDriver, assert_replays, replay

LIMIT = timedelta(seconds=30)
BOOM = ApplicationError("boom", type="Boom")


@activity.defn
async def double(number: int) -> int:
    return 2 * number


def one(call: Callable[[], Awaitable[Any]]) -> type:
    """A workflow that does nothing but await one call."""

    @workflow.defn(name="One", failure_exception_types=[UsageError])
    class One:
        @workflow.run
        async def run(self) -> Any:
            return await call()

    return One


def doubles(count: int, **options: Any) -> Batch[Any]:
    return workflow.map_activities(double, range(count), start_to_close_timeout=LIMIT, **options)


def scheduled(run: RunDriver) -> ev.BatchScheduled:
    run.activate()
    [event] = [each.event for each in run.events if isinstance(each.event, ev.BatchScheduled)]
    return event


def too_many(message: str = "2 of 3 items failed") -> Failure:
    return Failure(message=message, cause=CONVERTER.to_failure(BOOM))


# --- asking -----------------------------------------------------------------------------------


def test_a_batch_is_one_command_and_its_results_come_back_in_the_order_of_the_items() -> None:
    run = RunDriver(one(lambda: doubles(3)))
    run.activate()
    run.close_items(1, {2: 4, 0: 0}).close_items(1, {1: 2}, ends=True).play()

    assert run.result == [0, 2, 4]
    assert run.kinds() == [
        "WorkflowStarted",
        "WorkflowTaskCompleted",
        "BatchScheduled",
        "BatchItemsClosed",
        "BatchItemsClosed",
        "BatchCompleted",
        "WorkflowTaskCompleted",
        "WorkflowCompleted",
    ]
    assert_replays(run)


def test_every_option_reaches_the_command() -> None:
    event = scheduled(
        RunDriver(
            one(
                lambda: workflow.map_activities(
                    double,
                    [7, 8],
                    parallelism=5,
                    tolerated_failures=3,
                    stream=True,
                    task_queue="other",
                    schedule_to_close_timeout=timedelta(seconds=40),
                    schedule_to_start_timeout=timedelta(seconds=5),
                    start_to_close_timeout=timedelta(seconds=30),
                    heartbeat_timeout=timedelta(milliseconds=1500),
                    retry_policy=RetryPolicy(maximum_attempts=2),
                    activity_id="mine",
                    summary="doubles",
                )
            )
        )
    )

    assert (event.activity_type, event.activity_id, event.summary) == ("double", "mine", "doubles")
    assert [[each.data for each in item] for item in event.items] == [[b"7"], [b"8"]]
    assert (event.parallelism, event.tolerated_failures, event.streamed) == (5, 3, True)
    assert (event.schedule_to_close_timeout, event.schedule_to_start_timeout) == (40_000, 5000)
    assert (event.start_to_close_timeout, event.heartbeat_timeout) == (30_000, 1500)
    assert event.retry_policy.maximum_attempts == 2


def test_an_item_is_one_argument_also_when_it_is_a_list() -> None:
    event = scheduled(
        RunDriver(
            one(lambda: workflow.map_activities("any", [[1, 2]], start_to_close_timeout=LIMIT))
        )
    )
    assert [[each.data for each in item] for item in event.items] == [[b"[1,2]"]]


def test_no_items_are_an_empty_list_and_nothing_in_history() -> None:
    async def nothing() -> list[Any]:
        batch = doubles(0)
        streamed = [each async for each in batch]
        streamed += [each async for each in batch.as_completed()]
        return [await batch, streamed, list(batch.progress)]

    run = RunDriver(one(nothing)).play()
    assert run.result == [[], [], [0, 0, 0]]
    assert run.commands() == ["WorkflowCompleted"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: doubles(1, parallelism=0), "parallelism of a batch is 0", id="none"),
        pytest.param(
            lambda: doubles(1, tolerated_failures=-1), "tolerated_failures of a batch", id="minus"
        ),
        pytest.param(lambda: doubles(1, parallelism=True), "is True: give a whole", id="bool"),
        pytest.param(lambda: doubles(100_001), "100,001 items: at most 100,000", id="too-many"),
        pytest.param(
            lambda: workflow.map_activities(double, {1, 2}, start_to_close_timeout=LIMIT),
            "give a list",
            id="set",
        ),
        pytest.param(
            lambda: workflow.map_activities(double, [1]), "start_to_close_timeout", id="no-limit"
        ),
        pytest.param(
            lambda: workflow.map_activities(double, [1], start_to_close_timeout=LIMIT, pod=Pod()),
            "no pods of their own",
            id="pod",
        ),
    ],
)
def test_what_cannot_be_a_batch_is_refused(call: Callable[[], Any], message: str) -> None:
    run = RunDriver(one(call)).play()
    assert message in run.failure.message


# --- streaming --------------------------------------------------------------------------------


async def stream(batch: Batch[Any], noted: list[Any]) -> list[Any]:
    noted.clear()  # a replay notes the same again
    async for each in batch:
        noted += [each]
    return noted


async def as_they_come(batch: Batch[Any], noted: list[Any]) -> list[Any]:
    noted.clear()
    async for each in batch.as_completed():
        noted += [[each.index, each.result]]
    return noted


def test_results_stream_in_the_order_of_the_items() -> None:
    noted: list[Any] = []
    run = RunDriver(one(lambda: stream(doubles(4), noted)))
    assert scheduled(run).streamed
    for closed, expected in (({1: 2}, []), ({0: 0}, [0, 2]), ({3: 6}, [0, 2])):
        run.close_items(1, closed).activate()
        assert noted == expected
    run.close_items(1, {2: 4}, ends=True).play()
    assert run.result == [0, 2, 4, 6]
    assert_replays(run)


def test_results_stream_as_they_come() -> None:
    noted: list[Any] = []
    run = RunDriver(one(lambda: as_they_come(doubles(4), noted)))
    assert scheduled(run).streamed
    run.close_items(1, {3: 6, 1: 2}).activate()
    assert noted == [[3, 6], [1, 2]]
    run.close_items(1, {0: 0, 2: 4}, ends=True).play()
    assert run.result == [[3, 6], [1, 2], [0, 0], [2, 4]]
    assert_replays(run)


def test_a_batch_that_is_only_awaited_is_not_streamed() -> None:
    assert not scheduled(RunDriver(one(lambda: doubles(2)))).streamed


def test_going_through_a_batch_later_takes_what_has_come_and_waits_for_the_rest() -> None:
    async def later() -> list[Any]:
        batch = doubles(3)
        await workflow.sleep(1)
        return [each async for each in batch]

    run = RunDriver(one(later))
    assert not scheduled(run).streamed
    run.close_items(1, {0: 0})
    run.advance(1).activate()
    run.close_items(1, {1: 2, 2: 4}, ends=True).play()
    assert run.result == [0, 2, 4]
    assert_replays(run)


def test_a_batch_can_be_gone_through_twice_and_awaited_as_well() -> None:
    async def often() -> list[Any]:
        batch = doubles(2)
        return [*await asyncio.gather(stream(batch, []), as_they_come(batch, []), batch)]

    run = RunDriver(one(often))
    run.activate()
    run.close_items(1, {1: 2}).activate()
    run.close_items(1, {0: 0}, ends=True).play()
    assert run.result == [[0, 2], [[1, 2], [0, 0]], [0, 2]]
    assert_replays(run)


def test_progress_counts_what_the_run_has_been_told() -> None:
    async def watch() -> list[Any]:
        batch = doubles(3, tolerated_failures=1)
        seen = [list(batch.progress)]
        async for _ in batch.as_completed():
            seen += [[*batch.progress, batch.progress.closed]]
        return seen

    run = RunDriver(one(watch))
    run.activate()
    run.close_items(1, {2: BOOM}).activate()
    run.close_items(1, {1: 2}).activate()
    run.close_items(1, {0: 0}, ends=True).play()
    assert run.result == [[3, 0, 0], [3, 0, 1, 1], [3, 1, 1, 2], [3, 2, 1, 3]]


# --- failing ----------------------------------------------------------------------------------


def test_a_tolerated_failure_is_its_error_in_the_list() -> None:
    async def errors() -> list[Any]:
        [first, second] = await doubles(2, tolerated_failures=1)
        assert isinstance(second, ActivityError)
        return [first, second.message, second.activity_id, second.cause.message]  # type: ignore[union-attr]  # it has one

    run = RunDriver(one(errors))
    run.activate()
    run.close_items(1, {0: 0, 1: BOOM}, ends=True).play()
    assert run.result == [0, "Activity task failed", "1.1", "boom"]
    assert_replays(run)


def test_too_many_failures_fail_the_batch_with_the_first_as_its_cause() -> None:
    run = RunDriver(one(lambda: doubles(3)))
    run.activate()
    run.close_items(1, {1: BOOM}).fail_batch(1, too_many("1 of 3 items failed")).play()

    error = run.failure
    assert isinstance(error, ActivityError)
    assert (error.message, error.activity_type) == ("1 of 3 items failed", "double")
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.type == "Boom"
    assert_replays(run)


def test_a_batch_out_of_time_raises_that() -> None:
    run = RunDriver(one(lambda: doubles(3, tolerated_failures=1)))
    run.activate()
    late = Failure(
        message="late",
        info=TimeoutInfo(timeout=TimeoutKind.SCHEDULE_TO_CLOSE),
        cause=CONVERTER.to_failure(BOOM),
    )
    run.close_items(1, {0: BOOM}).fail_batch(1, late).play()

    assert isinstance(run.failure, ActivityError)
    assert isinstance(run.failure.cause, ActivityTimeout)


@pytest.mark.parametrize("go_through", [stream, as_they_come])
def test_a_stream_ends_with_the_failure_of_its_batch(go_through: Callable[..., Any]) -> None:
    noted: list[Any] = []
    run = RunDriver(one(lambda: go_through(doubles(3), noted)))
    run.activate()
    run.close_items(1, {0: 0}).activate()
    run.close_items(1, {1: BOOM}).activate()
    assert len(noted) == 1, "a failure that is not tolerated is not given out as a result"
    run.fail_batch(1, too_many()).play()
    assert run.failure.message == "2 of 3 items failed"
    assert_replays(run)


def test_a_stream_gives_tolerated_failures_out() -> None:
    noted: list[Any] = []
    run = RunDriver(one(lambda: stream(doubles(2, tolerated_failures=1), noted)))
    run.activate()
    run.close_items(1, {0: BOOM}).activate()
    [error] = noted
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)


def test_a_result_that_cannot_be_read_is_named() -> None:
    run = RunDriver(one(lambda: doubles(2)))
    run.activate()
    run.close_items(1, {0: "no number", 1: 2}, ends=True)
    with pytest.raises(WorkflowTaskError, match="the result of item 0 of a batch of 2 'double'"):
        run.activate()


def test_what_follows_a_result_that_cannot_be_read_is_passed_over() -> None:
    async def go_on() -> list[Any]:
        batch = doubles(3)
        try:
            await batch
        except ConversionError:
            await workflow.sleep(1)
        return list(batch.progress)

    run = RunDriver(one(go_on))
    run.activate()
    run.close_items(1, {0: 0, 1: "no number"}).activate()
    run.close_items(1, {2: 4}, ends=True).play()
    assert run.result == [3, 1, 0]
    assert_replays(run)


# --- cancelling -------------------------------------------------------------------------------


def cancelled_after(how: Cancellation, wait: Callable[[Batch[Any]], Awaitable[Any]]) -> type:
    async def go() -> Any:
        batch = doubles(3, cancellation_type=how)
        task = asyncio.ensure_future(wait(batch))
        await workflow.sleep(1)
        task.cancel()
        try:
            return await task
        except ActivityError as error:
            return f"{error.message}: {type(error.cause).__name__}"

    return one(go)


async def awaited(batch: Batch[Any]) -> Any:
    return await batch


async def streamed(batch: Batch[Any]) -> Any:
    return await stream(batch, [])


@pytest.mark.parametrize("wait", [awaited, streamed])
def test_cancelling_who_waits_for_it_cancels_the_batch(
    wait: Callable[[Batch[Any]], Awaitable[Any]],
) -> None:
    run = RunDriver(cancelled_after(Cancellation.TRY_CANCEL, wait)).play()
    assert run.result == "Batch cancelled: CancelledError"
    assert run.commands() == [
        "BatchScheduled",
        "TimerStarted",
        "ActivityCancelRequested",
        "WorkflowCompleted",
    ]
    assert_replays(run)


@pytest.mark.parametrize("wait", [awaited, streamed])
def test_cancelling_can_wait_for_what_is_open(
    wait: Callable[[Batch[Any]], Awaitable[Any]],
) -> None:
    run = RunDriver(cancelled_after(Cancellation.WAIT_CANCELLATION_COMPLETED, wait)).play()
    assert not run.is_closed
    run.close_items(1, {0: 0}).finish_cancelled_batch(1).play()
    assert run.result == "Batch cancelled: CancelledError"
    assert_replays(run)


def test_an_abandoned_batch_goes_on_and_its_items_are_passed_over() -> None:
    async def abandon() -> int:
        batch = doubles(2, cancellation_type=Cancellation.ABANDON)
        await workflow.sleep(1)
        assert batch.cancel()
        assert not batch.cancel(), "it is cancelled already"
        await workflow.sleep(1)
        return batch.progress.closed

    run = RunDriver(one(abandon))
    run.activate()
    run.advance(1).activate()
    run.close_items(1, {0: 0})
    run.close_items(1, {1: 2}, ends=True).activate()
    run.advance(1).play()
    assert run.result == 0
    assert "ActivityCancelRequested" not in run.commands()
    assert_replays(run)


def test_a_batch_cancelled_at_once_was_never_asked_for() -> None:
    async def change_of_mind() -> str:
        batch = doubles(2)
        batch.cancel()
        try:
            await batch
        except ActivityError as error:
            return error.message
        return ""

    run = RunDriver(one(change_of_mind)).play()
    assert run.result == "Batch cancelled"
    assert run.commands() == ["WorkflowCompleted"]


def test_cancelling_the_run_cancels_its_batch() -> None:
    run = RunDriver(one(lambda: doubles(2)))
    run.activate()
    run.cancel().play()
    assert run.commands() == ["BatchScheduled", "ActivityCancelRequested", "WorkflowCanceled"]
    assert_replays(run)


# --- nondeterminism ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param(
            lambda: doubles(3),
            "BatchScheduled 'double' for 2 items with id '1' .number 1.*"
            "ScheduleBatch 'double' for 3 items",
            id="another-count",
        ),
        pytest.param(
            lambda: workflow.map_activities("halve", [1, 2], start_to_close_timeout=LIMIT),
            "ScheduleBatch 'halve' for 2 items",
            id="another-type",
        ),
        pytest.param(
            lambda: workflow.execute_activity(double, 1, start_to_close_timeout=LIMIT),
            "ScheduleActivity 'double'",
            id="an-activity",
        ),
    ],
)
def test_other_code_than_the_batch_is_noticed(other: Callable[[], Any], message: str) -> None:
    run = RunDriver(one(lambda: doubles(2)))
    run.activate()
    run.close_items(1, {0: 0, 1: 2}, ends=True).play()
    with pytest.raises(WorkflowTaskError, match=f"(?s){message}"):
        replay(run, one(other))


def test_other_inputs_and_bounds_are_no_other_batch() -> None:
    run = RunDriver(one(lambda: doubles(2)))
    run.activate()
    run.close_items(1, {0: 0, 1: 2}, ends=True).play()
    replay(
        run,
        one(
            lambda: stream(
                workflow.map_activities(
                    double, [5, 6], parallelism=1, start_to_close_timeout=2 * LIMIT
                ),
                [],
            )
        ),
    )


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(ev.BatchItemsClosed(seq=1, items=(ev.ItemResult(2),)), id="no-such-item"),
        pytest.param(ev.BatchItemsClosed(seq=2, items=(ev.ItemResult(0),)), id="no-such-batch"),
        pytest.param(ev.ActivityCompleted(seq=1), id="an-activity"),
    ],
)
def test_a_resolution_that_fits_no_batch_is_noticed(event: ev.Event) -> None:
    run = RunDriver(one(lambda: doubles(2)))
    run.activate()
    run.record(event)
    with pytest.raises(WorkflowTaskError, match="Nondeterminism"):
        run.activate()


def test_the_items_of_a_closed_batch_are_not_told_again() -> None:
    run = RunDriver(one(lambda: doubles(1)))
    run.activate()
    run.close_items(1, {0: 0}, ends=True)
    run.record(ev.BatchItemsClosed(seq=1, items=(ev.ItemResult(0),)))
    with pytest.raises(WorkflowTaskError, match="nothing with that number"):
        run.activate()
