from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.protocol import commands as cmd
from support.histories import EPOCH, RunDriver, assert_replays


def one(call: Callable[[], Any]) -> type:
    @workflow.defn(name="One")
    class One:
        @workflow.run
        async def run(self) -> Any:
            return await call()

    return One


def test_sleep_is_a_durable_timer() -> None:
    run = RunDriver(one(lambda: workflow.sleep(timedelta(hours=2), summary="rest")))
    [timer] = run.activate().commands

    assert timer == cmd.StartTimer(seq=1, delay=7_200_000, summary="rest")
    assert run.play().kinds() == [
        "WorkflowStarted",
        "WorkflowTaskCompleted",
        "TimerStarted",
        "TimerFired",
        "WorkflowTaskCompleted",
        "WorkflowCompleted",
    ]
    assert_replays(run)


async def no_time_at_all() -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.call_later(0, ready.set)
    await ready.wait()
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return


async def with_timeout() -> None:
    async with asyncio.timeout(5):
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("call", "delay"),
    [
        pytest.param(lambda: asyncio.sleep(0.1), 100, id="asyncio.sleep"),
        pytest.param(with_timeout, 5000, id="asyncio.timeout"),
        pytest.param(lambda: asyncio.wait_for(asyncio.Event().wait(), 5), 5000, id="wait_for"),
        pytest.param(
            lambda: asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=5),
            5000,
            id="asyncio.wait",
        ),
        pytest.param(lambda: asyncio.sleep(0.0004), 1, id="rounds-up-to-one"),
        pytest.param(lambda: asyncio.sleep(1.2344), 1234, id="rounds-down"),
        pytest.param(lambda: asyncio.sleep(1.2346), 1235, id="rounds-up"),
        pytest.param(lambda: workflow.sleep(86_400 * 365), 31_536_000_000, id="a-year"),
    ],
)
def test_whatever_waits_for_time_is_a_timer_in_milliseconds(
    call: Callable[[], Any], delay: int
) -> None:
    [timer] = RunDriver(one(call)).activate().commands

    assert timer == cmd.StartTimer(seq=1, delay=delay)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: workflow.sleep(0), id="workflow.sleep(0)"),
        pytest.param(lambda: workflow.sleep(-1), id="workflow.sleep(-1)"),
        pytest.param(lambda: asyncio.sleep(0), id="asyncio.sleep(0)"),
        pytest.param(lambda: asyncio.sleep(-5), id="asyncio.sleep(-5)"),
        pytest.param(lambda: asyncio.wait_for(workflow.sleep(0), 0.5), id="done-in-time"),
        pytest.param(no_time_at_all, id="call_later(0)"),
    ],
)
def test_no_time_is_no_timer(call: Callable[[], Any]) -> None:
    run = RunDriver(one(call))

    assert run.activate().closed
    assert run.commands() == ["WorkflowCompleted"]
    assert_replays(run)


def test_sleep_0_lets_the_others_run() -> None:
    async def call() -> list[str]:
        order = []

        async def other() -> None:
            order.append("other")

        task = asyncio.create_task(other())
        await workflow.sleep(0)
        order.append("me")
        await task
        return order

    assert RunDriver(one(call)).play().result == ["other", "me"]


def test_a_timeout_that_passes_raises_and_one_that_does_not_is_cancelled() -> None:
    async def call() -> str:
        try:
            await asyncio.wait_for(asyncio.sleep(10), 5)
        except TimeoutError:
            await asyncio.wait_for(asyncio.sleep(10), 50)
            return "second"
        return "first"

    run = RunDriver(one(call)).play()

    assert run.result == "second"
    assert run.commands() == [
        "TimerStarted",
        "TimerStarted",
        "TimerCanceled",
        "TimerStarted",
        "TimerStarted",
        "TimerCanceled",
        "WorkflowCompleted",
    ]
    assert_replays(run)


def test_a_timer_asked_for_and_cancelled_at_once_leaves_no_command_but_keeps_its_number() -> None:
    async def call() -> None:
        async with asyncio.timeout(5):
            pass
        await asyncio.sleep(1)

    [timer] = RunDriver(one(call)).activate().commands

    assert timer == cmd.StartTimer(seq=2, delay=1000)


def test_a_cancelled_timer_never_fires() -> None:
    fired = []

    async def call() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_later(5, fired.append, "late")
        loop.call_later(2, fired.append, "soon")
        await asyncio.sleep(1)
        handle.cancel()
        await asyncio.sleep(10)

    run = RunDriver(one(call)).play()

    assert fired == ["soon"]
    assert run.commands().count("TimerCanceled") == 1
    assert_replays(run)


def test_a_timer_that_fires_while_its_cancellation_is_on_its_way_is_passed_over() -> None:
    async def call() -> str:
        task = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(10)
        return "done"

    run = RunDriver(one(call))
    run.activate()
    run.advance(1)
    run.crossing.append(lambda run: run.fire(2))
    run.activate()
    assert run.kinds()[-4:] == [
        "TimerFired",
        "WorkflowTaskCompleted",
        "TimerStarted",
        "TimerCanceled",
    ]

    assert run.play().result == "done"
    assert_replays(run)


def test_cancelled_timers_leave_nothing_behind() -> None:
    async def call() -> None:
        for _ in range(5):
            async with asyncio.timeout(10):
                await asyncio.sleep(1)
        await asyncio.sleep(1)

    run = RunDriver(one(call))
    for _ in range(6):
        run.activate()
        run.advance(1)

    assert run.instance is not None
    assert run.instance._run.waits._dropped == {}


def test_timers_that_fire_together_wake_in_order() -> None:
    async def call() -> list[int]:
        order: list[int] = []

        async def nap(name: int, seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(nap(1, 3), nap(2, 1), nap(3, 2))
        return order

    run = RunDriver(one(call))
    run.activate()
    run.advance(10).play()

    assert run.result == [2, 3, 1]
    assert_replays(run)


def test_call_at_and_loop_time_are_workflow_time() -> None:
    async def call() -> list[float]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_at(loop.time() + 7, future.set_result, None)
        before = loop.time()
        await future
        return [before, loop.time()]

    run = RunDriver(one(call)).play()

    assert run.result == [EPOCH / 1000, EPOCH / 1000 + 7]
    assert_replays(run)


def test_time_stands_still_within_an_activation_and_is_that_of_the_record_on_replay() -> None:
    seen = []

    async def call() -> None:
        for _ in range(3):
            seen.append(
                (workflow.now().timestamp(), workflow.time(), workflow.time_ns(), workflow.now())
            )
            await asyncio.sleep(1.5)

    run = RunDriver(one(call)).play()
    first = list(seen)
    seen.clear()
    assert_replays(run)

    assert [each[1] for each in first] == [EPOCH / 1000 + n * 1.5 for n in range(3)]
    assert first[1][2] == (EPOCH + 1500) * 1_000_000
    assert first[0][3].utcoffset() == timedelta(0)
    assert seen[:3] == [first[0], first[0], first[1]]


def test_time_never_goes_back() -> None:
    async def call() -> float:
        await asyncio.sleep(5)
        return workflow.time()

    run = RunDriver(one(call))
    run.activate()
    run.fire(1)
    assert run.instance is not None
    told = run.instance.activate(run.events[-1:], started=EPOCH - 1000)

    assert told.activations[0].started == EPOCH
