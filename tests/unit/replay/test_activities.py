from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    UsageError,
)
from perdure.exceptions import (
    TimeoutError as ActivityTimeout,
)
from perdure.protocol import events as ev
from perdure.replay import WorkflowTaskError
from perdure.workflow import ActivityCancellationType as Cancellation
from support.histories import RunDriver, assert_replays

LIMIT = timedelta(seconds=30)


@activity.defn
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn(name="sum")
def add(first: int, second: int) -> int:
    return first + second


class Shop:
    @activity.defn
    async def sell(self, item: str) -> str:
        return item


@activity.defn(name="Packer")
class Packer:
    async def __call__(self, item: str) -> str:
        return item


def one(call: Callable[[], Any]) -> type:
    """A workflow that does nothing but await one call."""

    @workflow.defn(name="One", failure_exception_types=[UsageError, TypeError])
    class One:
        @workflow.run
        async def run(self) -> Any:
            return await call()

    return One


def scheduled(run: RunDriver) -> ev.ActivityScheduled:
    run.activate()
    event = run.events[-1].event
    assert isinstance(event, ev.ActivityScheduled)
    return event


def test_an_activity_is_scheduled_and_its_result_comes_back() -> None:
    run = RunDriver(
        one(lambda: workflow.execute_activity(greet, "you", start_to_close_timeout=LIMIT))
    ).play({"greet": lambda name: f"hello {name}"})

    assert run.kinds() == [
        "WorkflowStarted",
        "WorkflowTaskCompleted",
        "ActivityScheduled",
        "ActivityStarted",
        "ActivityCompleted",
        "WorkflowTaskCompleted",
        "WorkflowCompleted",
    ]
    assert run.result == "hello you"
    assert_replays(run)


def test_every_option_reaches_the_command() -> None:
    event = scheduled(
        RunDriver(
            one(
                lambda: workflow.execute_activity(
                    add,
                    args=[1, 2],
                    schedule_to_close_timeout=timedelta(seconds=40),
                    schedule_to_start_timeout=timedelta(seconds=5),
                    start_to_close_timeout=timedelta(seconds=30),
                    heartbeat_timeout=timedelta(milliseconds=1500),
                    retry_policy=RetryPolicy(maximum_attempts=2),
                    activity_id="mine",
                    summary="adds",
                )
            )
        )
    )

    assert (event.activity_type, event.activity_id, event.summary) == ("sum", "mine", "adds")
    assert [each.data for each in event.input] == [b"1", b"2"]
    assert (event.schedule_to_close_timeout, event.schedule_to_start_timeout) == (40_000, 5000)
    assert (event.start_to_close_timeout, event.heartbeat_timeout) == (30_000, 1500)
    assert event.retry_policy.maximum_attempts == 2


@pytest.mark.parametrize(
    ("call", "name"),
    [
        pytest.param(
            lambda: workflow.start_activity("any", 1, start_to_close_timeout=LIMIT),
            "any",
            id="name",
        ),
        pytest.param(
            lambda: workflow.start_activity_method(Shop.sell, "tea", start_to_close_timeout=LIMIT),
            "sell",
            id="method",
        ),
        pytest.param(
            lambda: workflow.start_activity_class(Packer, "tea", start_to_close_timeout=LIMIT),
            "Packer",
            id="class",
        ),
    ],
)
def test_an_activity_may_be_named_in_several_ways(call: Callable[[], Any], name: str) -> None:
    assert scheduled(RunDriver(one(call))).activity_type == name


def test_a_result_type_decodes_the_result_of_an_activity_given_by_name() -> None:
    async def call() -> bool:
        moment = await workflow.execute_activity(
            "when", result_type=timedelta, start_to_close_timeout=LIMIT
        )
        return isinstance(moment, timedelta)

    run = RunDriver(one(call)).play({"when": lambda: timedelta(seconds=3)})

    assert run.result is True


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: workflow.start_activity(greet, "x"), "needs start_to_close_timeout", id="limit"
        ),
        pytest.param(
            lambda: workflow.start_activity(len, "x", start_to_close_timeout=LIMIT),
            "is no activity: mark it with @activity.defn",
            id="unmarked",
        ),
        pytest.param(
            lambda: workflow.start_activity(greet, "x", args=["y"], start_to_close_timeout=LIMIT),
            "either the only argument",
            id="arg-and-args",
        ),
        pytest.param(
            lambda: workflow.start_activity(greet, "x", start_to_end=LIMIT),
            "unknown option 'start_to_end'",
            id="typo",
        ),
    ],
)
def test_a_wrong_call_is_refused_with_what_to_write(call: Callable[[], Any], message: str) -> None:
    assert message in RunDriver(one(call)).play().failure.message


def test_a_failed_activity_raises_its_cause() -> None:
    async def call() -> str:
        try:
            await workflow.execute_activity(greet, "x", start_to_close_timeout=LIMIT)
        except ActivityError as error:
            return f"{error.activity_type} {error.activity_id}: {error.cause} {error.retry_state!r}"
        return ""

    run = RunDriver(one(call))
    run.activate()
    run.fail_activity(1, ApplicationError("bad name")).play()

    assert run.result == f"greet 1: bad name {RetryState.MAXIMUM_ATTEMPTS_REACHED!r}"
    assert_replays(run)


def test_a_timed_out_activity_raises_which_timeout() -> None:
    run = RunDriver(
        one(lambda: workflow.execute_activity(greet, "x", start_to_close_timeout=LIMIT))
    )
    run.activate()
    run.time_out_activity(1).play()

    assert isinstance(run.failure, ActivityError)
    assert isinstance(run.failure.cause, ActivityTimeout)


def test_a_result_of_the_wrong_type_fails_the_task_and_says_what_is_wrong() -> None:
    run = RunDriver(
        one(lambda: workflow.execute_activity(add, args=[1, 2], start_to_close_timeout=LIMIT))
    )
    run.activate()
    run.complete_activity(1, "three")

    with pytest.raises(WorkflowTaskError, match=r"the result of activity 'sum' .*expected.*int"):
        run.activate()


def cancelling(cancellation: Cancellation) -> type:
    @workflow.defn(name="Cancelling")
    class Cancelling:
        @workflow.run
        async def run(self) -> str:
            handle = workflow.start_activity(
                greet, "x", start_to_close_timeout=LIMIT, cancellation_type=cancellation
            )
            await asyncio.sleep(1)
            assert handle.cancel()
            handle.cancel()
            try:
                result = await handle
            except ActivityError as error:
                result = "cancelled" if isinstance(error.cause, CancelledError) else "failed"
            await asyncio.sleep(1)
            return result

    return Cancelling


def test_try_cancel_asks_and_goes_on_at_once() -> None:
    run = RunDriver(cancelling(Cancellation.TRY_CANCEL))
    run.activate()
    run.advance(1).activate()
    assert run.commands()[2:] == ["ActivityCancelRequested", "TimerStarted"]

    run.finish_cancelled_activity(1).activate()
    run.advance(1).activate()

    assert run.result == "cancelled"
    assert_replays(run)


def test_wait_cancellation_completed_goes_on_when_the_activity_has_stopped() -> None:
    run = RunDriver(cancelling(Cancellation.WAIT_CANCELLATION_COMPLETED))
    run.activate()
    run.advance(1).activate()
    assert run.commands()[2:] == ["ActivityCancelRequested"]

    run.finish_cancelled_activity(1).play()

    assert run.result == "cancelled"
    assert_replays(run)


def test_wait_cancellation_completed_may_still_get_a_result() -> None:
    run = RunDriver(cancelling(Cancellation.WAIT_CANCELLATION_COMPLETED))
    run.activate()
    run.advance(1).activate()
    run.complete_activity(1, "too late to stop").play()

    assert run.result == "too late to stop"
    assert_replays(run)


def test_abandon_asks_nothing_and_ignores_the_result() -> None:
    run = RunDriver(cancelling(Cancellation.ABANDON))
    run.activate()
    run.advance(1).activate()
    assert run.commands()[2:] == ["TimerStarted"]

    run.complete_activity(1, "ignored").play()

    assert run.result == "cancelled"
    assert_replays(run)


@pytest.mark.parametrize(
    ("cancellation", "commands"),
    [
        (Cancellation.TRY_CANCEL, []),
        (Cancellation.WAIT_CANCELLATION_COMPLETED, []),
        (Cancellation.ABANDON, ["ActivityScheduled"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_activity_cancelled_before_it_was_sent_leaves_no_command_unless_abandoned(
    cancellation: Cancellation, commands: list[str]
) -> None:
    async def call() -> str:
        handle = workflow.start_activity(
            greet, "x", start_to_close_timeout=LIMIT, cancellation_type=cancellation
        )
        handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            return type(error.cause).__name__

    run = RunDriver(one(call)).play()

    assert run.result == "CancelledError"
    assert run.commands() == [*commands, "WorkflowCompleted"]
    assert_replays(run)


def test_a_cancelled_activity_that_nobody_awaits_is_no_lost_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def call() -> None:
        handle = workflow.start_activity(greet, "x", start_to_close_timeout=LIMIT)
        await asyncio.sleep(1)
        handle.cancel()
        del handle
        await asyncio.sleep(1)

    run = RunDriver(one(call))
    run.activate()
    run.advance(1).activate()
    run.finish_cancelled_activity(1).activate()
    gc.collect()

    assert caplog.text == ""


def test_the_number_of_a_cancelled_activity_stays_used() -> None:
    async def call() -> None:
        workflow.start_activity(greet, "x", start_to_close_timeout=LIMIT).cancel()
        await workflow.execute_activity(greet, "y", start_to_close_timeout=LIMIT)

    assert scheduled(RunDriver(one(call))).seq == 2


def test_a_task_that_waits_for_an_activity_passes_its_cancellation_on() -> None:
    async def call() -> str:
        async def wait() -> str:
            return await workflow.execute_activity(greet, "x", start_to_close_timeout=LIMIT)

        task = asyncio.create_task(wait())
        await asyncio.sleep(1)
        task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        return type(result).__name__

    run = RunDriver(one(call)).play()

    assert run.result == "ActivityError"
    assert "ActivityCancelRequested" in run.commands()
    assert_replays(run)


def test_a_shielded_activity_is_not_cancelled() -> None:
    async def call() -> str:
        handle = workflow.start_activity(greet, "x", start_to_close_timeout=LIMIT)
        try:
            await asyncio.wait_for(asyncio.shield(handle), 1)
        except TimeoutError:
            return await handle
        return ""

    run = RunDriver(one(call)).play()
    run.complete_activity(1, "patience").play()

    assert run.result == "patience"
    assert "ActivityCancelRequested" not in run.commands()
    assert_replays(run)


# --- local activities ----------------------------------------------------------------------------


def test_a_local_activity_is_a_step() -> None:
    run = RunDriver(
        one(lambda: workflow.execute_local_activity(greet, "you", start_to_close_timeout=LIMIT))
    )
    [step] = run.activate().start_steps

    assert (step.name, step.activity, step.args, step.timeout) == (
        "greet",
        "greet",
        ("you",),
        30_000,
    )
    assert step.fn is greet
    assert run.finish_steps().play().result == "hello you"
    assert_replays(run)


def test_a_local_activity_given_by_name_is_left_to_the_worker() -> None:
    run = RunDriver(
        one(
            lambda: workflow.execute_local_activity(
                "sum", args=[1, 2], schedule_to_close_timeout=LIMIT
            )
        )
    )
    [step] = run.activate().start_steps

    assert (step.fn, step.activity, step.args) == (None, "sum", (1, 2))


@pytest.mark.parametrize(
    ("cancellation", "cancelled"),
    [(Cancellation.TRY_CANCEL, [1]), (Cancellation.ABANDON, [])],
    ids=lambda value: getattr(value, "name", None),
)
def test_cancelling_a_local_activity_raises_like_an_activity(
    cancellation: Cancellation, cancelled: list[int]
) -> None:
    async def call() -> str:
        handle = workflow.start_local_activity(
            greet, "you", start_to_close_timeout=LIMIT, cancellation_type=cancellation
        )
        await asyncio.sleep(1)
        handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            return type(error.cause).__name__

    run = RunDriver(one(call))
    run.activate()
    told = run.advance(1).activate()

    assert told.cancel_steps == cancelled
    assert run.result == "CancelledError"
    assert_replays(run)


def test_a_local_activity_needs_a_time_limit() -> None:
    run = RunDriver(one(lambda: workflow.execute_local_activity(greet, "you"))).play()

    assert "needs start_to_close_timeout" in run.failure.message
