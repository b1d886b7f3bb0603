from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from support.histories import CONVERTER, RunDriver, assert_replays, replay


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.count >= 3)
        return self.count

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.query
    def value(self) -> int:
        return self.count

    @workflow.query(name="times")
    def multiplied(self, factor: int, offset: int = 0) -> int:
        return self.count * factor + offset

    @workflow.query
    async def value_async(self) -> int:
        return self.count

    @workflow.query
    async def waits(self) -> None:
        await asyncio.sleep(0)

    @workflow.query
    def fails(self) -> None:
        raise ApplicationError("no answer", type="NoAnswer")

    @workflow.query
    def nothing(self) -> None:
        return None


def counting() -> RunDriver:
    return RunDriver(Counter).signal("add", 2).play()


def test_a_query_sees_the_run_as_it_is() -> None:
    run = counting()

    assert run.query("value") == 2
    assert run.query("times", 10) == 20
    assert run.query("times", 10, 1) == 21
    assert run.query("value_async") == 2
    assert run.query("nothing") is None


def test_a_query_leaves_no_trace() -> None:
    run = counting()
    before = list(run.events)
    run.query("value")
    run.signal("add", 1).play()

    assert run.events[: len(before)] == before
    assert run.result == 3
    assert_replays(run)


def test_a_closed_run_is_replayed_to_be_asked() -> None:
    run = counting().signal("add", 5).play()
    run.evict()

    assert run.query("value") == 7


def test_a_terminated_run_answers_as_far_as_its_code_came() -> None:
    run = counting()
    run.signal("add", 1).terminate()
    run.evict()

    assert run.query("value") == 2


def test_what_a_terminated_run_was_not_told_it_never_is() -> None:
    run = counting()
    run.signal("add", 1).terminate()

    told = replay(run)

    assert told.activations == []
    assert told.commands == []


def test_a_replay_for_a_query_keeps_what_was_not_told_for_the_next_task() -> None:
    run = counting()
    run.evict()
    run.signal("add", 1)
    assert run.query("value") == 2
    run.sent = len(run.events)

    assert run.instance is not None
    told = run.instance.activate((), started=run.now)

    assert told.closed
    assert told.activations[0].through == len(run.events)


def test_a_run_that_has_not_begun_says_so() -> None:
    with pytest.raises(ApplicationError, match="has not begun"):
        RunDriver(Counter).query("value")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        pytest.param(
            "other",
            (),
            r"Query handler for 'other' expected but not found, known queries: \[fails nothing "
            r"times value value_async waits\]",
            id="unknown",
        ),
        pytest.param("fails", (), "no answer", id="raises"),
        pytest.param("waits", (), "waits for something: a query only looks", id="waits"),
        pytest.param("times", ("x",), "expected.*int", id="wrong-type"),
        pytest.param("times", (), "takes 1 to 2 arguments, got 0", id="too-few"),
        pytest.param("value", (1,), "takes 0 arguments, got 1", id="too-many"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(
    name: str, args: Sequence[Any], message: str
) -> None:
    run = counting()

    with pytest.raises(ApplicationError, match=message):
        run.query(name, *args)
    assert run.query("value") == 2


LIMIT = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=1))


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: workflow.start_activity("x", **LIMIT), id="start_activity"),
        pytest.param(workflow.random, id="random"),
        pytest.param(workflow.uuid4, id="uuid4"),
        pytest.param(lambda: workflow.set_query_handler("x", nothing), id="set_query_handler"),
        pytest.param(lambda: asyncio.get_running_loop().call_later(1, nothing), id="timer"),
        pytest.param(lambda: asyncio.get_running_loop().call_soon(nothing), id="call_soon"),
        pytest.param(lambda: workflow.step(nothing).send(None), id="step"),
        pytest.param(lambda: workflow.sleep(1).send(None), id="sleep"),
        pytest.param(lambda: workflow.wait_condition(bool).send(None), id="wait_condition"),
    ],
)
def test_a_query_that_asks_for_something_is_refused(change: Callable[[], Any]) -> None:
    @workflow.defn
    class Asks:
        @workflow.run
        async def run(self) -> None:
            workflow.set_query_handler("ask", change)
            await workflow.wait_condition(lambda: False)

    run = RunDriver(Asks).play()

    with pytest.raises(ApplicationError) as raised:
        run.query("ask")
    assert raised.value.type == "ReadOnlyContextError"
    assert "in query 'ask': it may only look" in raised.value.message


def test_read_only_is_told_to_those_who_ask() -> None:
    @workflow.defn
    class Asks:
        @workflow.run
        async def run(self) -> bool:
            await asyncio.sleep(1)
            return workflow.unsafe.is_read_only()

        @workflow.query
        def ask(self) -> bool:
            return workflow.unsafe.is_read_only()

    run = RunDriver(Asks)
    run.activate()

    assert run.query("ask") is True
    assert run.play().result is False


def test_query_handlers_may_be_set_while_the_run_lives() -> None:
    @workflow.defn
    class Sets:
        @workflow.run
        async def run(self) -> None:
            def one() -> str:
                return "one"

            def any_query(name: str, args: Sequence[RawValue]) -> str:
                return f"{name} {CONVERTER.from_payloads([each.payload for each in args])}"

            workflow.set_query_handler("one", one)
            workflow.set_dynamic_query_handler(any_query)
            assert workflow.get_query_handler("one") is one
            assert workflow.get_dynamic_query_handler() is any_query
            await workflow.wait_condition(lambda: False)

    run = RunDriver(Sets).play()

    assert run.query("one") == "one"
    assert run.query("two", 2) == "two [2]"
