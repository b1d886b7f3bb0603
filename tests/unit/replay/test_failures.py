from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError, ConversionError, PayloadTooLargeError
from perdure.protocol.failures import ApplicationInfo
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload
from perdure.replay import WorkflowTaskError
from support.histories import RunDriver, assert_replays


class DeclinedError(Exception):
    pass


def raising(error: BaseException, **options: object) -> type:
    @workflow.defn(name="Raises", **options)  # type: ignore[call-overload]
    class Raises:
        @workflow.run
        async def run(self) -> None:
            raise error

    return Raises


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        pytest.param(ApplicationError("no", type="No"), "No", id="application"),
        pytest.param(TimeoutError("late"), "TimeoutError", id="timeout"),
    ],
)
def test_failures_and_timeouts_fail_the_workflow(error: Exception, type_: str) -> None:
    run = RunDriver(raising(error)).play()

    assert isinstance(run.failure, ApplicationError)
    assert run.failure.type == type_
    assert_replays(run)


def test_declared_exceptions_fail_the_workflow() -> None:
    own = RunDriver(raising(DeclinedError("no"), failure_exception_types=[DeclinedError])).play()
    worker = RunDriver(raising(DeclinedError("no")), failure_exception_types=[DeclinedError]).play()

    assert own.commands() == worker.commands() == ["WorkflowFailed"]


@pytest.mark.parametrize(
    "error", [DeclinedError("no"), ValueError("no"), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_every_other_exception_fails_only_the_task(error: BaseException) -> None:
    run = RunDriver(raising(error))

    with pytest.raises(WorkflowTaskError) as raised:
        run.activate()

    assert raised.value.task_cause == "WorkflowError"
    assert raised.value.__cause__ is error
    assert isinstance(raised.value.failure.info, ApplicationInfo)
    assert raised.value.failure.info.type == type(error).__name__
    assert "in run" in raised.value.failure.stack_trace


def test_whether_an_error_would_fail_the_run_can_be_asked() -> None:
    @workflow.defn(failure_exception_types=[DeclinedError])
    class Asks:
        @workflow.run
        async def run(self) -> list[bool]:
            errors = [DeclinedError(), ApplicationError("x"), TimeoutError(), ValueError()]
            return [workflow.is_failure_exception(each) for each in errors]

    assert RunDriver(Asks).play().result == [True, True, True, False]


def test_an_error_in_a_task_that_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @workflow.defn
    class Loses:
        @workflow.run
        async def run(self) -> str:
            async def fail() -> None:
                raise ValueError("lost")

            task = asyncio.create_task(fail())
            await asyncio.sleep(1)
            del task
            await asyncio.sleep(1)
            return "done"

    run = RunDriver(Loses).play()

    assert run.result == "done"
    assert "Task exception was never retrieved" in caplog.text
    assert "'workflow_id': 'wf'" in caplog.text


def test_the_first_end_counts() -> None:
    @workflow.defn
    class Ends:
        @workflow.run
        async def run(self) -> str:
            await asyncio.sleep(1)
            return "run"

        @workflow.signal(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
        async def end(self) -> None:
            await asyncio.sleep(1)
            raise ApplicationError("signal")

    run = RunDriver(Ends).play(timers=False)
    run.signal("end").activate()
    run.advance(1).activate()

    assert run.result == "run"
    assert run.commands() == ["TimerStarted", "TimerStarted", "WorkflowCompleted"]
    assert_replays(run)


def test_what_is_asked_for_before_the_end_counts_and_what_comes_after_does_not() -> None:
    limit = timedelta(seconds=1)

    @workflow.defn
    class Leaves:
        @workflow.run
        async def run(self) -> None:
            workflow.start_activity("before", start_to_close_timeout=limit)

            async def after() -> None:
                await workflow.execute_activity("after", start_to_close_timeout=limit)

            self.task = asyncio.create_task(after())

    run = RunDriver(Leaves).play()

    assert run.commands() == ["ActivityScheduled", "WorkflowCompleted"]
    assert_replays(run)


# --- input ---------------------------------------------------------------------------------------


@dataclass
class Order:
    id: str
    quantity: int


@workflow.defn
class Orders:
    @workflow.run
    async def run(self, order: Order, urgent: bool = False) -> str:
        return f"{order.id}: {order.quantity}, {urgent}"


def test_input_is_decoded_as_the_annotations_say() -> None:
    assert RunDriver(Orders, (Order("a", 1),)).play().result == "a: 1, False"
    assert RunDriver(Orders, (Order("a", 1), True)).play().result == "a: 1, True"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            ({"id": "a", "quantity": "two"},),
            r"argument 1 \(order: Order\) of Orders.run: \$.quantity: expected int, got str",
            id="wrong-field",
        ),
        pytest.param((), "Orders.run takes 1 to 2 arguments, got 0", id="too-few"),
        pytest.param(
            (Order("a", 1), True, 3), "Orders.run takes 1 to 2 arguments, got 3", id="too-many"
        ),
    ],
)
def test_input_that_does_not_decode_fails_the_run_and_says_what_is_wrong(
    args: tuple[object, ...], message: str
) -> None:
    run = RunDriver(Orders, args).signal("early").play()

    with pytest.raises(ApplicationError, match=message) as raised:
        _ = run.result
    assert raised.value.type == "InvalidInput"
    assert raised.value.non_retryable
    assert_replays(run)


def test_input_that_is_no_json_fails_the_run() -> None:
    payload = Payload({"encoding": b"json/plain"}, b"{")

    assert "argument 1" in RunDriver(Orders, input=[payload]).play().failure.message


def test_init_may_take_the_input() -> None:
    @workflow.defn
    class Init:
        @workflow.init
        def __init__(self, name: str) -> None:
            self.name = name
            self.begun = workflow.now()

        @workflow.run
        async def run(self, name: str) -> str:
            return f"{self.name} {name} {self.begun == workflow.now()}"

        @workflow.signal
        def rename(self) -> None:
            self.name += "!"

    run = RunDriver(Init, ("x",)).signal("rename").play()

    assert run.result == "x! x True"
    assert_replays(run)


@pytest.mark.parametrize("fails", [True, False], ids=["failure", "bug"])
def test_an_error_in_init_counts_as_one_in_run(fails: bool) -> None:
    error = ApplicationError("no") if fails else KeyError("bug")

    @workflow.defn
    class Init:
        def __init__(self) -> None:
            raise error

        @workflow.run
        async def run(self) -> None:
            pass

    run = RunDriver(Init).signal("early")

    if fails:
        assert run.play().failure.message == "no"
    else:
        with pytest.raises(WorkflowTaskError, match="bug"):
            run.activate()


# --- sizes and unwritable values -----------------------------------------------------------------

TOO_LONG = "x" * (MAX_PAYLOAD_BYTES + 1)


@pytest.mark.parametrize("caught", [False, True], ids=["uncaught", "caught"])
def test_an_argument_over_the_limit_fails_the_task_even_when_it_is_caught(caught: bool) -> None:
    @workflow.defn
    class Large:
        @workflow.run
        async def run(self) -> None:
            try:
                workflow.start_activity("x", TOO_LONG, start_to_close_timeout=timedelta(seconds=1))
            except PayloadTooLargeError:
                if not caught:
                    raise

    with pytest.raises(WorkflowTaskError, match="argument 1 of activity 'x' takes") as raised:
        RunDriver(Large).activate()

    assert raised.value.task_cause == "PayloadTooLarge"


def test_a_result_over_the_limit_fails_the_task() -> None:
    @workflow.defn
    class Large:
        @workflow.run
        async def run(self) -> str:
            return TOO_LONG

    with pytest.raises(WorkflowTaskError, match=r"the result of .*Large takes") as raised:
        RunDriver(Large).activate()

    assert raised.value.task_cause == "PayloadTooLarge"


def test_a_result_that_cannot_be_written_fails_the_task() -> None:
    @workflow.defn
    class Strange:
        @workflow.run
        async def run(self) -> object:
            return sys

    with pytest.raises(WorkflowTaskError) as raised:
        RunDriver(Strange).activate()

    assert isinstance(raised.value.__cause__, ConversionError)


def test_a_forbidden_call_fails_the_task_even_when_it_is_caught() -> None:
    @workflow.defn
    class Compensating:
        @workflow.run
        async def run(self) -> None:
            try:
                await asyncio.to_thread(print)
            except BaseException:
                await workflow.execute_activity(
                    "refund", start_to_close_timeout=timedelta(seconds=1)
                )
                raise

    run = RunDriver(Compensating)
    with pytest.raises(WorkflowTaskError, match=r"to_thread .* uses threads") as raised:
        run.activate()

    assert raised.value.task_cause == "WorkflowError"
    assert run.commands() == []


def test_a_forbidden_call_in_a_query_fails_only_the_query() -> None:
    @workflow.defn
    class Asked:
        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(lambda: False)

        @workflow.query
        def state(self) -> None:
            asyncio.get_running_loop().run_in_executor(None, print)

    run = RunDriver(Asked)
    run.activate()
    _, failure = run.instance.query("state")
    assert "uses threads" in failure.message
    run.signal("anything").activate()
