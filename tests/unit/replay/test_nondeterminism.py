from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure import workflow
from perdure.common import Pod
from perdure.exceptions import NondeterminismError
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.replay import WorkflowTaskError
from support.histories import RunDriver, replay, replay_events

LIMIT = timedelta(seconds=3)
Code = Callable[[], Awaitable[Any]]


def running(code: Code) -> type:
    @workflow.defn(name="Changed")
    class Changed:
        @workflow.run
        async def run(self) -> Any:
            return await code()

    return Changed


def charge() -> int:
    return 1


async def step_then_timer() -> None:
    await workflow.step(charge)
    await asyncio.sleep(1)


async def other_step() -> None:
    await workflow.step(charge, name="pay")
    await asyncio.sleep(1)


async def timer() -> None:
    await asyncio.sleep(5)


async def two_timers() -> None:
    await asyncio.sleep(5)
    await asyncio.sleep(7)


async def activity() -> None:
    await workflow.execute_activity("charge", start_to_close_timeout=LIMIT)


async def other_activity() -> None:
    await workflow.execute_activity("pay", start_to_close_timeout=LIMIT)


async def activity_with_id() -> None:
    await workflow.execute_activity("charge", activity_id="mine", start_to_close_timeout=LIMIT)


async def container() -> None:
    await workflow.execute_container("shop/charge:1", start_to_close_timeout=LIMIT)


async def newer_container() -> None:
    await workflow.execute_container(
        "shop/charge:2", args=["--fast"], start_to_close_timeout=LIMIT, input=[1]
    )


async def activity_in_its_own_pod() -> None:
    await workflow.execute_activity("charge", start_to_close_timeout=LIMIT, pod=Pod())


async def second_timer_only() -> None:
    asyncio.get_running_loop().call_later(3, print).cancel()
    await asyncio.sleep(5)


async def nothing() -> None:
    pass


async def failing() -> None:
    raise TimeoutError


async def both() -> None:
    await asyncio.gather(activity(), timer())


async def both_reversed() -> None:
    await asyncio.gather(timer(), activity())


async def cancelling() -> None:
    task = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)


async def not_cancelling() -> None:
    asyncio.create_task(asyncio.sleep(100))  # noqa: RUF006 - the loop keeps it
    await asyncio.sleep(1)
    await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("before", "after", "recorded", "attempted", "position"),
    [
        (
            step_then_timer,
            other_step,
            "StepCompleted 'charge' (number 1)",
            "step 'pay' (number 1)",
            2,
        ),
        (
            step_then_timer,
            timer,
            "StepCompleted 'charge' (number 1)",
            "StartTimer of 5 s (number 1)",
            2,
        ),
        (step_then_timer, nothing, "StepCompleted 'charge' (number 1)", "CompleteWorkflow", 2),
        (
            timer,
            step_then_timer,
            "TimerStarted of 5 s (number 1)",
            "nothing more at that point (it now waits for step 'charge' (number 1))",
            3,
        ),
        (
            timer,
            activity,
            "TimerStarted of 5 s (number 1)",
            "ScheduleActivity 'charge' with id '1' (number 1)",
            3,
        ),
        (
            container,
            activity,
            "ActivityScheduled 'charge' with id '1' as a container (number 1)",
            "ScheduleActivity 'charge' with id '1' (number 1)",
            3,
        ),
        (
            activity_in_its_own_pod,
            container,
            "ActivityScheduled 'charge' with id '1' (number 1)",
            "ScheduleActivity 'charge' with id '1' as a container (number 1)",
            3,
        ),
        (
            activity,
            timer,
            "ActivityScheduled 'charge' with id '1' (number 1)",
            "StartTimer of 5 s (number 1)",
            3,
        ),
        (
            activity,
            other_activity,
            "ActivityScheduled 'charge' with id '1' (number 1)",
            "ScheduleActivity 'pay' with id '1' (number 1)",
            3,
        ),
        (
            activity,
            activity_with_id,
            "ActivityScheduled 'charge' with id '1' (number 1)",
            "ScheduleActivity 'charge' with id 'mine' (number 1)",
            3,
        ),
        (
            timer,
            second_timer_only,
            "TimerStarted of 5 s (number 1)",
            "StartTimer of 5 s (number 2)",
            3,
        ),
        (timer, nothing, "TimerStarted of 5 s (number 1)", "CompleteWorkflow", 3),
        (nothing, timer, "WorkflowCompleted", "StartTimer of 5 s (number 1)", 3),
        (nothing, failing, "WorkflowCompleted", "FailWorkflow", 3),
        (failing, nothing, "WorkflowFailed", "CompleteWorkflow", 3),
        (timer, two_timers, "WorkflowCompleted", "StartTimer of 7 s (number 2)", 6),
        (two_timers, timer, "TimerStarted of 7 s (number 2)", "CompleteWorkflow", 6),
        (
            both,
            both_reversed,
            "ActivityScheduled 'charge' with id '1' (number 1)",
            "StartTimer of 5 s (number 1)",
            3,
        ),
        (
            both,
            activity,
            "TimerStarted of 5 s (number 2)",
            "nothing more at that point (it now waits for activity 'charge' with id '1' "
            "(number 1))",
            4,
        ),
        (
            activity,
            both,
            "WorkflowTaskCompleted followed by 1 command",
            "StartTimer of 5 s (number 2)",
            2,
        ),
        (
            cancelling,
            not_cancelling,
            "TimerCanceled (number 2)",
            "nothing more at that point (it now waits for a timer (number 2), a timer (number 3))",
            8,
        ),
        (
            not_cancelling,
            cancelling,
            "WorkflowTaskCompleted followed by 1 command",
            "CancelTimer (number 2)",
            6,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_changed_code_is_noticed_and_both_sides_are_shown(
    before: Code, after: Code, recorded: str, attempted: str, position: int
) -> None:
    run = RunDriver(running(before)).play({"charge": charge}, timers=True)

    with pytest.raises(WorkflowTaskError) as raised:
        replay(run, running(after))

    assert raised.value.task_cause == "Nondeterminism"
    error = raised.value.__cause__
    assert isinstance(error, NondeterminismError)
    assert (error.recorded, error.attempted, error.position) == (recorded, attempted, position)
    assert f"event {position} of the history is {recorded}" in raised.value.failure.message
    assert "bring the old code back" in raised.value.failure.message


@pytest.mark.parametrize("before", [timer, activity, step_then_timer, both, cancelling])
def test_the_same_code_is_never_noticed(before: Code) -> None:
    run = RunDriver(running(before)).play({"charge": charge})

    assert replay(run).closed


def test_what_does_not_identify_a_command_may_be_changed() -> None:
    async def first() -> None:
        await asyncio.sleep(5)
        await workflow.execute_activity("charge", 1, start_to_close_timeout=LIMIT)

    async def second() -> None:
        await asyncio.sleep(50)
        await workflow.execute_activity("charge", 2, schedule_to_close_timeout=LIMIT, summary="x")

    run = RunDriver(running(first)).play({"charge": lambda _: None})

    assert replay(run, running(second)).closed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(container, newer_container, id="image-and-arguments"),
        pytest.param(activity, activity_in_its_own_pod, id="into-its-own-pod"),
        pytest.param(activity_in_its_own_pod, activity, id="out-of-its-own-pod"),
    ],
)
def test_where_work_is_run_may_be_changed(before: Code, after: Code) -> None:
    run = RunDriver(running(before)).play({"charge": lambda *_: None})

    assert replay(run, running(after)).closed


def test_code_that_asks_for_fewer_steps_is_noticed_at_their_results() -> None:
    async def one_step() -> None:
        await workflow.step(charge)
        await asyncio.Event().wait()

    async def two_steps() -> None:
        await asyncio.gather(workflow.step(charge), workflow.step(charge))
        await asyncio.Event().wait()

    run = RunDriver(running(two_steps)).play()

    with pytest.raises(WorkflowTaskError, match="nothing with that number"):
        replay(run, running(one_step))


@pytest.mark.parametrize(
    ("code", "event", "message"),
    [
        pytest.param(timer, ev.TimerFired(seq=9), "nothing with that number", id="unknown"),
        pytest.param(
            timer, ev.ActivityCompleted(seq=1), r"asks for a timer \(number 1\)", id="kind"
        ),
        pytest.param(activity, ev.TimerFired(seq=1), "asks for activity 'charge'", id="timer"),
        pytest.param(
            activity,
            ev.StepCompleted(seq=1, name="charge"),
            "asks for activity 'charge'",
            id="step",
        ),
    ],
)
def test_a_result_of_something_else_is_noticed(code: Code, event: ev.Event, message: str) -> None:
    run = RunDriver(running(code))
    run.activate()
    run.record(event)

    with pytest.raises(WorkflowTaskError, match=message):
        run.activate()


def test_a_result_of_something_else_is_noticed_after_a_cancellation_too() -> None:
    async def cancelled_activity() -> None:
        handle = workflow.start_activity("charge", start_to_close_timeout=LIMIT)
        await asyncio.sleep(1)
        handle.cancel()
        await asyncio.sleep(1)

    run = RunDriver(running(cancelled_activity))
    run.activate()
    run.advance(1).activate()
    run.record(ev.StepCompleted(seq=1, name="charge"))

    with pytest.raises(WorkflowTaskError, match=r"asks for activity 'charge' with id '1'"):
        run.activate()


def test_a_timer_that_fires_twice_is_noticed() -> None:
    run = RunDriver(running(two_timers))
    run.activate()
    run.fire(1).record(ev.TimerFired(seq=1))

    with pytest.raises(WorkflowTaskError, match="nothing with that number"):
        run.activate()


def test_a_nondeterministic_source_is_noticed() -> None:
    flips = iter([True, False])

    async def flaky() -> None:
        await asyncio.sleep(1 if next(flips) else 0)

    run = RunDriver(running(flaky)).play()

    with pytest.raises(WorkflowTaskError, match="TimerStarted of 1 s"):
        replay(run)


def test_a_history_of_another_workflow_is_noticed() -> None:
    run = RunDriver(running(both)).play({"charge": charge})
    events = [
        HistoryEvent(each.id, each.time, msgspec.structs.replace(each.event)) for each in run.events
    ]

    with pytest.raises(WorkflowTaskError, match="Nondeterminism"):
        replay_events(running(step_then_timer), events)
