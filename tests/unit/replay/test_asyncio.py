from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure.replay import WorkflowTaskError
from support.histories import RunDriver, assert_replays, replay

LIMIT = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=1))


def echo(value: Any) -> Any:
    return value


def one(call: Callable[[], Awaitable[Any]]) -> type:
    @workflow.defn(name="One", failure_exception_types=[ValueError])
    class One:
        @workflow.run
        async def run(self) -> Any:
            return await call()

    return One


async def event() -> str:
    ready = asyncio.Event()
    asyncio.get_running_loop().call_later(1, ready.set)
    await ready.wait()
    return "set"


async def lock() -> list[int]:
    order: list[int] = []
    mutex = asyncio.Lock()

    async def work(number: int) -> None:
        async with mutex:
            order.append(await workflow.step(echo, number))

    await asyncio.gather(*(work(number) for number in range(3)))
    return order


async def semaphore() -> int:
    running = most = 0
    slots = asyncio.Semaphore(2)

    async def work() -> None:
        nonlocal running, most
        async with slots:
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    return most


async def queue() -> list[int]:
    items: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

    async def produce() -> None:
        for number in range(3):
            await items.put(await workflow.step(echo, number))

    task = asyncio.create_task(produce())
    got = [await items.get() for _ in range(3)]
    await task
    return got


async def task_group() -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(workflow.step(echo, number)) for number in range(3)]
    return [task.result() for task in tasks]


async def failing_task_group() -> str:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ApplicationError("one failed")

    caught = ""
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(asyncio.sleep(5 + number))
            group.create_task(fail())
    except* ApplicationError as errors:
        caught = str(errors.exceptions[0])
    return caught


async def gather_with_errors() -> list[str]:
    def fail() -> None:
        raise ApplicationError("no", non_retryable=True)

    results = await asyncio.gather(
        workflow.step(echo, 1), workflow.step(fail), return_exceptions=True
    )
    return [type(each).__name__ for each in results]


async def first_of_two() -> int:
    tasks = [asyncio.create_task(asyncio.sleep(seconds, seconds)) for seconds in (5, 2)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


async def generator() -> list[int]:
    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            yield await workflow.step(echo, number)

    got = []
    async for number in numbers():
        got.append(number)
        if number == 1:
            break
    return got


async def condition_variable() -> str:
    condition = asyncio.Condition()

    async def notify() -> None:
        await asyncio.sleep(1)
        async with condition:
            condition.notify_all()

    task = asyncio.create_task(notify())
    async with condition:
        await condition.wait()
    await task
    return "notified"


async def barrier() -> int:
    gate = asyncio.Barrier(3)
    return sum(await asyncio.gather(*(gate.wait() for _ in range(3))))


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "replayed"])
@pytest.mark.parametrize(
    ("call", "result"),
    [
        (event, "set"),
        (lock, [0, 1, 2]),
        (semaphore, 2),
        (queue, [0, 1, 2]),
        (task_group, [0, 1, 2]),
        (failing_task_group, "one failed"),
        (gather_with_errors, ["int", "ActivityError"]),
        (first_of_two, 2),
        (generator, [0, 1]),
        (condition_variable, "notified"),
        (barrier, 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_asyncio_works(call: Callable[[], Awaitable[Any]], result: Any, cached: bool) -> None:
    run = RunDriver(one(call), cached=cached).play()

    assert run.result == result
    assert_replays(run)


def test_tasks_and_handles_have_the_same_order_in_a_set_each_time() -> None:
    orders: list[list[str]] = []

    async def call() -> None:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=f"t{n}") for n in range(30)}
        orders.append([task.get_name() for task in tasks])
        await asyncio.wait(tasks)

    run = RunDriver(one(call)).play()
    replay(run)
    replay(run)

    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0], key=lambda name: int(name[1:])) == [f"t{n}" for n in range(30)]


def test_tasks_are_named_the_same_each_time() -> None:
    names = []

    async def call() -> None:
        async def name() -> None:
            task = asyncio.current_task()
            assert task is not None
            names.append(task.get_name())

        await asyncio.gather(name(), name())

    run = RunDriver(one(call)).play()
    replay(run)

    assert names == ["Task-2", "Task-3"] * 2


def test_sets_have_the_same_order_on_every_worker() -> None:
    orders: list[list[str]] = []

    async def call() -> None:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=f"t{n}") for n in range(30)}
        handles = {workflow.start_activity("x", n, **LIMIT) for n in range(30)}
        orders.append([*(each.get_name() for each in tasks), *(str(each.seq) for each in handles)])
        await asyncio.sleep(1)

    for _ in range(8):
        RunDriver(one(call)).activate()

    assert all(order == orders[0] for order in orders)


def test_a_cancelled_call_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    called = []

    async def call() -> None:
        asyncio.get_running_loop().call_soon(called.append, 1).cancel()
        await asyncio.sleep(0)

    RunDriver(one(call)).play()

    assert called == []
    assert caplog.text == ""


def test_a_dropped_generator_runs_its_finally_on_the_workflows_loop() -> None:
    cleaned = []

    async def call() -> str:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                cleaned.append(workflow.in_workflow())

        async for _ in numbers():
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"

    assert RunDriver(one(call)).play().result == "done"
    assert cleaned == [True]


# --- workflow.wait and workflow.as_completed -----------------------------------------------------


async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def napping(*seconds: float, **options: Any) -> list[list[str]]:
    tasks = [asyncio.create_task(nap(each), name=str(each)) for each in seconds]
    done, pending = await workflow.wait(tasks, **options)
    for task in pending:
        task.cancel()
    return [[task.get_name() for task in done], [task.get_name() for task in pending]]


@pytest.mark.parametrize(
    ("options", "result"),
    [
        pytest.param({}, [["3", "1", "2"], []], id="all"),
        pytest.param(
            {"return_when": asyncio.FIRST_COMPLETED}, [["1"], ["3", "2"]], id="first-completed"
        ),
        pytest.param({"timeout": 2.5}, [["1", "2"], ["3"]], id="timeout"),
    ],
)
def test_wait_returns_lists_in_the_order_given(options: Any, result: Any) -> None:
    run = RunDriver(one(lambda: napping(3, 1, 2, **options))).play()

    assert run.result == result
    assert_replays(run)


def test_wait_may_end_with_the_first_exception() -> None:
    async def call() -> list[bool]:
        async def fail() -> None:
            await asyncio.sleep(2)
            raise ValueError("no")

        tasks = [asyncio.create_task(each) for each in (nap(1), fail(), nap(3))]
        done, pending = await workflow.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [each in done for each in tasks] + [tasks[2] in pending, bool(tasks[1].exception())]

    run = RunDriver(one(call)).play()

    assert run.result == [True, True, False, True, True]
    assert_replays(run)


def test_waiting_again_and_again_for_the_same_leaves_nothing_behind() -> None:
    async def call() -> int:
        slow = asyncio.create_task(nap(100))
        for _ in range(5):
            await workflow.wait([slow, asyncio.create_task(nap(1))], timeout=0.5)
        return len(slow._callbacks or ())

    assert RunDriver(one(call)).play().result == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: workflow.wait([]), "empty", id="empty"),
        pytest.param(
            lambda: workflow.wait([asyncio.Future()], return_when="SOME"), "return_when", id="when"
        ),
    ],
)
def test_wait_refuses_nonsense(call: Callable[[], Awaitable[Any]], message: str) -> None:
    assert message in RunDriver(one(call)).play().failure.message


def test_as_completed_yields_in_the_order_of_completion() -> None:
    async def call() -> list[float]:
        return [await each for each in workflow.as_completed([nap(3), nap(1), nap(2), nap(1)])]

    run = RunDriver(one(call)).play()

    assert run.result == [1, 1, 2, 3]
    assert_replays(run)


def test_as_completed_needs_its_timer_no_longer_when_all_are_done() -> None:
    async def call() -> list[float]:
        return [await each for each in workflow.as_completed([nap(2), nap(1)], timeout=50)]

    run = RunDriver(one(call)).play()

    assert run.result == [1, 2]
    assert run.commands()[-2:] == ["TimerCanceled", "WorkflowCompleted"]
    assert_replays(run)


def test_as_completed_may_time_out() -> None:
    async def call() -> list[float]:
        got = []
        tasks = [asyncio.create_task(nap(each)) for each in (3, 1)]
        try:
            for each in workflow.as_completed(tasks, timeout=2):
                got.append(await each)  # noqa: PERF401 - what came before the timeout counts
        except TimeoutError:
            got.append(-1)
        return got

    run = RunDriver(one(call)).play()

    assert run.result == [1, -1]
    assert_replays(run)


# --- what a workflow's loop refuses --------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: asyncio.to_thread(echo, 1), r"workflow\.step\(fn", id="to_thread"),
        pytest.param(
            lambda: asyncio.open_connection("example.invalid", 80), "uses the network", id="network"
        ),
        pytest.param(
            lambda: asyncio.create_subprocess_exec("true"), "starts or signals", id="subprocess"
        ),
        pytest.param(
            lambda: asyncio.get_running_loop().call_soon_threadsafe(echo),
            "threads",
            id="threadsafe",
        ),
        pytest.param(
            lambda: asyncio.get_running_loop().run_forever(), "not for workflow code", id="run"
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_a_remedy(
    call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(WorkflowTaskError, match=message):
        RunDriver(one(call)).activate()


def test_it_runs_within_another_loop_and_leaves_no_trace_there() -> None:
    inside = []

    async def call() -> None:
        inside.append(asyncio.get_running_loop())
        inside.append(asyncio.current_task())
        await asyncio.sleep(1)
        inside.append(len(asyncio.all_tasks()))

    async def work() -> None:
        outer, me = asyncio.get_running_loop(), asyncio.current_task()
        hooks = sys.get_asyncgen_hooks()
        run = RunDriver(one(call)).play()

        assert run.is_closed
        assert inside[0] is not outer
        assert inside[1] is not me
        assert inside[2] == 1
        assert asyncio.get_running_loop() is outer
        assert asyncio.current_task() is me
        assert me in asyncio.all_tasks()
        assert sys.get_asyncgen_hooks() == hooks
        await asyncio.sleep(0)

    outer = asyncio.new_event_loop()
    outer.run_until_complete(work())
    outer.close()


def test_failures_of_activities_are_errors_of_groups_too() -> None:
    async def call() -> str:
        def fail() -> None:
            raise ApplicationError("no", non_retryable=True)

        caught = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(workflow.step(fail))
        except* ActivityError:
            caught = "caught"
        return caught

    assert RunDriver(one(call)).play().result == "caught"
