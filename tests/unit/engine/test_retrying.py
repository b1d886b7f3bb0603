"""A retry of a failed run: what is kept, what is done again, and with which idempotency keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure.protocol import events as ev
from perdure.protocol.retries import EVERY_NUMBER, Effect, KeyRange, idempotency_key
from perdure_operator.engine import retrying
from perdure_operator.engine.errors import RefusedError
from support.histories import CONVERTER, RunDriver, assert_replays, open_drivers
from support.retries import ask, retry_of

LIMIT = timedelta(seconds=30)
FAILURE = CONVERTER.to_failure(ApplicationError("no"))
broken: set[str] = set()
"""Names of steps that fail."""


@pytest.fixture(autouse=True)
def close_runs() -> Iterator[None]:
    broken.clear()
    yield
    while open_drivers:
        open_drivers.pop().evict()


async def act(name: str) -> Any:
    return await workflow.execute_activity(name, start_to_close_timeout=LIMIT)


def do_step(name: str) -> str:
    if name in broken:
        raise ApplicationError(f"{name} is broken", non_retryable=True)
    return name


async def step(name: str) -> str:
    return await workflow.step(do_step, name, name=name)


def start_of(run: RunDriver) -> ev.WorkflowStarted:
    start = run.events[0].event
    assert isinstance(start, ev.WorkflowStarted)
    return start


def key_of(run: RunDriver, seq: int) -> str:
    return idempotency_key(run.run_id, start_of(run).keys, seq)


@workflow.defn
class Order:
    @workflow.run
    async def run(self) -> list[Any]:
        return [await act("charge"), await act("reserve"), await act("ship")]


def failed_order() -> RunDriver:
    run = RunDriver(Order)
    run.activate()
    run.complete_activity(1, "paid").activate()
    run.complete_activity(2, "reserved").activate()
    run.fail_activity(3).activate()
    assert run.is_closed
    return run


def test_only_what_failed_and_what_follows_is_done_again():
    retry, again = retry_of(failed_order())

    assert again.kinds() == [
        "WorkflowStarted",
        *["WorkflowTaskCompleted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"] * 2,
        "WorkflowTaskCompleted",
        "ActivityScheduled",
        "WorkflowTaskCompleted",
    ]
    assert list(again.activities) == [3]
    assert retry.effects == ()
    assert again.play({"ship": lambda: "shipped"}).result == ["paid", "reserved", "shipped"]
    assert_replays(again)


def test_the_new_run_says_where_it_comes_from():
    run = failed_order()
    retry, again = retry_of(run, reason="mended", identity="ada", request_id="r-1")

    origin = start_of(again).retried
    assert origin == retry.origin
    assert (origin.run_id, origin.reason, origin.identity) == ("run-1", "mended", "ada")
    assert isinstance(run.events[origin.event - 1].event, ev.ActivityFailed)
    assert (start_of(again).run_id, start_of(again).seed) == ("run-2", "run-1")
    assert again.events[0].time == run.events[0].time
    assert origin.time > run.events[0].time


def test_what_may_have_happened_keeps_its_key_and_what_follows_gets_its_own():
    _, again = retry_of(failed_order())

    assert [key_of(again, seq) for seq in (1, 3, 4)] == ["run-1:1", "run-1:3", "run-2:4"]


def test_keys_stay_what_they_were_through_a_chain_of_retries():
    @workflow.defn
    class Long:
        @workflow.run
        async def run(self) -> None:
            for name in ("one", "two", "three"):
                await act(name)

    run = RunDriver(Long)
    run.activate()
    run.fail_activity(1).activate()
    _, second = retry_of(run, "run-2")
    second.activate()
    second.complete_activity(1).activate()
    second.fail_activity(2).activate()
    _, third = retry_of(second, "run-3")
    third.activate()
    third.terminate()
    _, fourth = retry_of(third, "run-4")

    assert [key_of(third, seq) for seq in (1, 2, 3)] == ["run-1:1", "run-2:2", "run-3:3"]
    assert [key_of(fourth, seq) for seq in (1, 2, 3)] == ["run-1:1", "run-2:2", "run-3:3"]
    assert start_of(fourth).seed == "run-1"


@pytest.mark.parametrize("says_from", [True, False])
def test_a_saga_is_retried_from_what_it_cleaned_up_after(says_from: bool):
    @workflow.defn
    class Saga:
        @workflow.run
        async def run(self) -> str:
            await act("charge")
            try:
                await act("ship")
            except ActivityError as error:
                await act("refund")
                await step("tell")
                if says_from:
                    raise ApplicationError("order failed") from error
                raise ApplicationError("order failed")  # noqa: B904 - as many write it
            return "shipped"

    run = RunDriver(Saga)
    run.activate()
    run.complete_activity(1).activate()
    run.fail_activity(2)
    run.play({"refund": lambda: None})
    assert run.is_closed

    retry, again = retry_of(run)

    assert [(each.name, each.is_completed) for each in retry.effects] == [
        ("refund", True),
        ("tell", True),
    ]
    assert list(again.activities) == [2]
    assert key_of(again, 3) == "run-2:3"
    assert again.play({"ship": lambda: None}).result == "shipped"


def test_a_failure_that_the_code_put_up_with_stays():
    @workflow.defn
    class Tolerant:
        @workflow.run
        async def run(self) -> str:
            with contextlib.suppress(ActivityError):
                await act("greet")
            await act("charge")
            raise ApplicationError("the code is wrong")

    run = RunDriver(Tolerant)
    run.activate()
    run.fail_activity(1).activate()
    run.complete_activity(2).activate()
    assert run.is_closed

    retry, again = retry_of(run)

    assert again.activities == {}
    assert retry.effects == ()
    assert again.kinds().count("ActivityFailed") == 1
    assert again.kinds()[-1] == "ActivityCompleted"  # told again, to mended code


def test_what_ran_beside_the_failure_and_ended_later_is_kept():
    @workflow.defn
    class Beside:
        @workflow.run
        async def run(self) -> list[Any]:
            others = asyncio.gather(act("slow"), step("aside"))
            try:
                await act("fails")
            except ActivityError:
                await step("cleanup")
                await others
                raise
            return await others

    run = RunDriver(Beside)
    run.activate()
    numbers = {each.activity_type: seq for seq, each in run.activities.items()}
    run.fail_activity(numbers["fails"]).activate()
    run.complete_activity(numbers["slow"], "slowly").activate()
    run.signal("noise").activate()
    run.finish_steps().play()
    assert run.is_closed

    retry, again = retry_of(run)

    assert [each.name for each in retry.effects] == ["cleanup"]
    assert list(again.activities) == [numbers["fails"]]
    again.activate()
    assert again.steps == {}
    assert again.play({"fails": lambda: None}).result == ["slowly", "aside"]
    assert_replays(again)


def test_a_failed_step_is_run_again_and_its_neighbours_are_not():
    @workflow.defn
    class Steps:
        @workflow.run
        async def run(self) -> list[str]:
            return [await step("one"), *await asyncio.gather(step("two"), step("three"))]

    broken.add("two")
    run = RunDriver(Steps).play()
    assert run.is_closed
    broken.clear()

    _, again = retry_of(run)
    again.activate()

    assert [each.name for each in again.steps.values()] == ["two"]
    assert [each.idempotency_key for each in again.steps.values()] == ["run-1:2"]
    assert again.play().result == ["one", "two", "three"]
    assert_replays(again)


def test_a_step_without_a_result_keeps_its_key_though_history_never_named_it():
    @workflow.defn
    class Racing:
        @workflow.run
        async def run(self) -> None:
            await asyncio.gather(step("fails"), step("charges"))
            await step("after")

    broken.add("fails")
    run = RunDriver(Racing)
    run.activate()
    run.finish_steps(1)
    run.activate()
    assert run.is_closed
    broken.clear()

    _, again = retry_of(run)
    again.activate()

    assert [each.idempotency_key for each in again.steps.values()] == ["run-1:1", "run-1:2"]
    assert key_of(again, 3) == "run-2:3"


def test_a_canceled_run_goes_on_as_if_nobody_had_asked():
    @workflow.defn
    class Careful:
        @workflow.run
        async def run(self) -> str:
            try:
                await act("work")
            except ActivityError:
                await step("cleanup")
                raise
            return "done"

    run = RunDriver(Careful)
    run.activate()
    run.cancel("enough").activate()
    run.finish_cancelled_activity(1).play()
    assert run.kinds()[-1] == "WorkflowCanceled"

    retry, again = retry_of(run)

    assert retry.effects == (Effect(event=retry.effects[0].event, name="cleanup"),)
    assert "CancelRequested" not in again.kinds()
    assert again.play({"work": lambda: None}).result == "done"


def test_a_terminated_run_goes_on_where_it_was():
    run = RunDriver(Order)
    run.activate()
    run.record(ev.Suspended())
    run.signal("hello")
    run.terminate()
    run.events[-1] = structs.replace(run.events[-1], time=run.now + 5)

    _, again = retry_of(run)

    assert "Suspended" not in again.kinds()
    assert again.kinds()[-1] == "SignalReceived"
    assert start_of(again).keys == (KeyRange(EVERY_NUMBER, "run-1"),)
    assert list(again.activities) == [1]


def test_what_was_recorded_for_people_only_is_left_out_and_the_rest_keeps_its_portions():
    run = RunDriver(Order)
    run.record(ev.Suspended(), ev.Resumed())
    run.record(ev.WorkflowTaskFailed(cause="WorkflowError", failure=FAILURE))
    run.activate()
    run.complete_activity(1, "paid").activate()
    run.fail_activity(2).activate()

    _, again = retry_of(run)

    assert not {"Suspended", "Resumed", "WorkflowTaskFailed"} & set(again.kinds())
    assert_replays(again)
    assert again.play({"reserve": lambda: 1, "ship": lambda: 2}).result == ["paid", 1, 2]


def test_a_timer_that_fired_beside_the_failure_does_not_run_again():
    @workflow.defn
    class Timed:
        @workflow.run
        async def run(self) -> str:
            nap = asyncio.create_task(asyncio.sleep(60))
            await act("work")
            await nap
            return "rested"

    run = RunDriver(Timed)
    run.activate()
    run.fail_activity(next(iter(run.activities)))
    run.advance(60)
    run.activate()
    assert run.is_closed

    _, again = retry_of(run)

    assert again.timers == {}
    assert again.play({"work": lambda: None}, timers=False).result == "rested"


def test_the_same_random_numbers_are_drawn_again():
    @workflow.defn
    class Lucky:
        @workflow.run
        async def run(self) -> list[int]:
            first = workflow.random().randrange(10**9)
            await act("work")
            return [first, workflow.random().randrange(10**9)]

    good = RunDriver(Lucky).play({"work": lambda: None}).result
    run = RunDriver(Lucky)
    run.activate()
    run.fail_activity(1).activate()
    _, again = retry_of(run)

    assert again.play({"work": lambda: None}).result == good


def test_a_retry_from_the_start_does_all_of_it_again_under_new_keys():
    run = failed_order()
    retry, again = retry_of(run, point="start")

    assert again.kinds() == ["WorkflowStarted"]
    assert (start_of(again).seed, start_of(again).keys) == ("", ())
    assert again.events[0].time == retry.origin.time
    assert again.play(dict.fromkeys(("charge", "reserve", "ship"), lambda: 1)).result == [1, 1, 1]


def test_what_a_run_was_started_with_is_part_of_its_start():
    run = RunDriver(Order)
    run.signal("hello")
    run.now += 1
    run.signal("later")
    run.terminate()

    _, again = retry_of(run, point="start")

    assert again.kinds() == ["WorkflowStarted", "SignalReceived"]


def standalone(*ending: ev.Event) -> RunDriver:
    run = RunDriver(Order, start={"kind": "activity"})
    run.record(ev.ActivityScheduled(seq=1, activity_id="a", activity_type="act", task_queue="q"))
    run.record(*ending)
    return run


FAILED = ev.ActivityFailed(seq=1, failure=FAILURE, retry_state=4)
ENDINGS = {
    "failed": (FAILED, ev.WorkflowFailed(failure=FAILURE)),
    "canceled": (
        ev.CancelRequested(),
        ev.ActivityCancelRequested(seq=1),
        ev.ActivityCanceled(seq=1),
        ev.WorkflowCanceled(),
    ),
    "terminated": (ev.WorkflowTerminated(),),
}


@pytest.mark.parametrize("point", ["failed-step", "start"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=list(ENDINGS))
def test_a_standalone_activity_begins_anew(ending: tuple[ev.Event, ...], point: str):
    _, again = retry_of(standalone(*ending), point=point)

    assert again.kinds() == ["WorkflowStarted", "ActivityScheduled"]
    assert list(again.activities) == [1]
    assert key_of(again, 1) == ("run-2:1" if point == "start" else "run-1:1")


def test_a_run_that_has_not_ended_is_not_retried():
    run = RunDriver(Order)
    for point in ("failed-step", "start"):
        with pytest.raises(RefusedError, match="has not ended"):
            retrying.retry(run.events, ask(point=point), "run-2", run.now)


def test_a_run_that_completed_is_retried_from_the_start_only():
    run = RunDriver(Order).play(dict.fromkeys(("charge", "reserve", "ship"), lambda: 1))
    with pytest.raises(RefusedError, match="no step of it failed"):
        retrying.retry(run.events, ask(), "run-2", run.now)
    _, again = retry_of(run, point="start")
    assert not again.is_closed


def test_each_kind_of_event_has_a_rule():
    assert set(retrying._KEPT) == set(ev.Event.__args__)
