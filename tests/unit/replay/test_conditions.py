from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.replay import WorkflowTaskError
from support.histories import RunDriver, assert_replays


@workflow.defn
class Waiting:
    """Waits for a signal, with or without a limit."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @workflow.run
    async def run(self, timeout: float | None = None) -> str:
        try:
            await workflow.wait_condition(
                lambda: "go" in self.said, timeout=timeout, timeout_summary="patience"
            )
        except TimeoutError:
            return "timed out"
        return "went"

    @workflow.signal
    def say(self, word: str) -> None:
        self.said.append(word)


def test_a_condition_wakes_when_a_signal_makes_it_true() -> None:
    run = RunDriver(Waiting).play()
    run.signal("say", "wait").play()
    assert not run.is_closed

    run.signal("say", "go").play()

    assert run.result == "went"
    assert run.commands() == ["WorkflowCompleted"]
    assert_replays(run)


def test_a_limit_is_a_timer_that_is_cancelled_when_it_is_not_needed() -> None:
    run = RunDriver(Waiting, (60,))
    run.activate()
    assert run.events[-1].event.summary == "patience"

    run.signal("say", "go").activate()

    assert run.result == "went"
    assert run.commands() == ["TimerStarted", "TimerCanceled", "WorkflowCompleted"]
    assert_replays(run)


def test_a_limit_that_passes_raises_a_timeout() -> None:
    run = RunDriver(Waiting, (60,)).play()

    assert run.result == "timed out"
    assert_replays(run)


def test_a_signal_wins_over_the_timeout_of_the_same_activation() -> None:
    run = RunDriver(Waiting, (60,))
    run.activate()
    run.fire(1).signal("say", "go").activate()

    assert run.result == "went"
    assert_replays(run)


def test_a_limit_of_0_times_out_at_once_unless_it_is_true_already() -> None:
    run = RunDriver(Waiting, (0,)).play()
    assert run.result == "timed out"
    assert run.commands() == ["WorkflowCompleted"]

    early = RunDriver(Waiting, (0,)).signal("say", "go").play()
    assert early.result == "went"


def test_a_condition_that_is_true_at_once_leaves_no_timer() -> None:
    run = RunDriver(Waiting, (60,)).signal("say", "go").play()

    assert run.result == "went"
    assert run.commands() == ["WorkflowCompleted"]


def test_conditions_are_asked_again_when_one_that_woke_changed_something() -> None:
    @workflow.defn
    class Chain:
        @workflow.run
        async def run(self) -> list[int]:
            order: list[int] = []

            async def link(number: int) -> None:
                await workflow.wait_condition(lambda: len(order) >= number, timeout=None)
                order.append(number)

            await asyncio.gather(*(link(number) for number in (3, 1, 2, 0)))
            return order

    run = RunDriver(Chain).play()

    assert run.result == [0, 1, 2, 3]
    assert_replays(run)


def test_conditions_that_come_true_together_are_all_asked_before_anyone_goes_on() -> None:
    @workflow.defn
    class Together:
        def __init__(self) -> None:
            self.tokens = 0

        @workflow.run
        async def run(self) -> int:
            async def take() -> None:
                await workflow.wait_condition(lambda: self.tokens > 0)
                self.tokens -= 1

            await asyncio.gather(take(), take())
            return self.tokens

        @workflow.signal
        def give(self) -> None:
            self.tokens += 1

    run = RunDriver(Together).play()
    run.signal("give").play()

    assert run.result == -1


def test_a_duration_is_a_limit_too() -> None:
    @workflow.defn
    class Duration:
        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(lambda: False, timeout=timedelta(minutes=2))

    run = RunDriver(Duration)
    [timer] = run.activate().commands

    assert timer.delay == 120_000
    assert type(run.play().failure).__name__ == "ApplicationError"


def test_an_error_in_a_condition_is_raised_where_it_is_waited_for() -> None:
    @workflow.defn
    class Broken:
        @workflow.run
        async def run(self) -> str:
            try:
                await workflow.wait_condition(lambda: 1 / 0 > 1)
            except ZeroDivisionError:
                return "caught"
            return ""

    assert RunDriver(Broken).play().result == "caught"


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(workflow.random, id="random"),
        pytest.param(workflow.uuid4, id="uuid4"),
        pytest.param(lambda: asyncio.get_running_loop().call_soon(print), id="call_soon"),
        pytest.param(lambda: asyncio.create_task(asyncio.sleep(0)), id="create_task"),
        pytest.param(lambda: workflow.set_signal_handler("x", print), id="set_signal_handler"),
    ],
)
def test_a_condition_may_only_look(ask: Any) -> None:
    @workflow.defn
    class Asks:
        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(ask)

    with pytest.raises(WorkflowTaskError, match="in a wait condition: it may only look"):
        RunDriver(Asks).activate()


def test_a_cancelled_wait_is_not_asked_any_more() -> None:
    asked = []

    def never() -> bool:
        asked.append(1)
        return False

    @workflow.defn
    class Cancels:
        @workflow.run
        async def run(self) -> None:
            task = asyncio.create_task(workflow.wait_condition(never))
            await asyncio.sleep(1)
            task.cancel()
            asked.clear()
            await asyncio.sleep(1)
            await asyncio.sleep(1)

    RunDriver(Cancels).play()

    assert asked == []
