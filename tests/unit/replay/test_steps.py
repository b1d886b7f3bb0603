from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from datetime import timedelta

import pytest

from perdure import workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, UsageError
from perdure.protocol import payloads
from support.histories import RunDriver, assert_replays


@dataclass
class Receipt:
    id: str
    amount: int


def charge(amount: int) -> Receipt:
    return Receipt("r1", amount)


async def fetch(name: str) -> str:
    return f"hello {name}"


def refuse() -> None:
    raise ApplicationError("no money", type="Declined", non_retryable=True)


def test_a_step_costs_one_event_and_returns_its_value() -> None:
    @workflow.defn
    class Steps:
        @workflow.run
        async def run(self) -> str:
            first = await workflow.step(fetch, "you")
            return await workflow.step(fetch, first)

    run = RunDriver(Steps).play()

    assert run.kinds() == [
        "WorkflowStarted",
        "StepCompleted",
        "StepCompleted",
        "WorkflowTaskCompleted",
        "WorkflowCompleted",
    ]
    assert run.result == "hello hello you"
    assert_replays(run)


def test_a_steps_result_is_decoded_as_its_annotation_says() -> None:
    seen = []

    @workflow.defn
    class Typed:
        @workflow.run
        async def run(self) -> None:
            seen.append(await workflow.step(charge, 5))
            seen.append(await workflow.step(lambda: (1, 2)))

    run = RunDriver(Typed).play()

    # The tuple comes back as a list, live as on replay: it has been through the converter.
    assert seen == [Receipt("r1", 5), [1, 2]]
    assert_replays(run)
    assert seen[-2:] == [Receipt("r1", 5), [1, 2]]


def test_steps_are_named_after_what_they_run() -> None:
    class Shop:
        def pay(self) -> None:
            pass

        def __call__(self) -> None:
            pass

    @workflow.defn
    class Named:
        @workflow.run
        async def run(self) -> None:
            await workflow.step(charge, 1)
            await workflow.step(functools.partial(charge, 1))
            await workflow.step(Shop().pay)
            await workflow.step(Shop())
            await workflow.step(lambda: None)
            await workflow.step(lambda: None, name="mine")

    run = RunDriver(Named).play()

    names = [each.event.name for each in run.events if "Step" in type(each.event).__name__]
    assert names == ["charge", "charge", "pay", "Shop", "step-5", "mine"]


def test_parallel_steps_are_handed_out_together_and_may_end_in_any_order() -> None:
    @workflow.defn
    class Parallel:
        @workflow.run
        async def run(self) -> list[str]:
            return await asyncio.gather(*(workflow.step(fetch, name) for name in "abc"))

    run = RunDriver(Parallel)
    told = run.activate()
    assert [each.seq for each in told.start_steps] == [1, 2, 3]
    run.finish_steps(3, 1)
    run.activate()
    run.finish_steps(2).play()

    assert run.result == ["hello a", "hello b", "hello c"]
    assert run.events[1].event.through == 1
    assert run.events[2].event.through == 0
    assert_replays(run)


def test_a_failed_step_raises_like_an_activity() -> None:
    @workflow.defn
    class Fails:
        @workflow.run
        async def run(self) -> str:
            try:
                await workflow.step(refuse)
            except ActivityError as error:
                return f"{error.activity_type} {error.activity_id} {error.cause}"
            return "paid"

    run = RunDriver(Fails).play()

    assert run.result == "refuse 1 Declined: no money"
    assert_replays(run)


def test_a_failed_step_that_nobody_catches_fails_the_run() -> None:
    @workflow.defn
    class Fails:
        @workflow.run
        async def run(self) -> None:
            await workflow.step(refuse)

    run = RunDriver(Fails).play()

    assert isinstance(run.failure, ActivityError)
    assert str(run.failure.cause) == "Declined: no money"


def test_options_of_a_step_reach_the_worker() -> None:
    @workflow.defn
    class Options:
        @workflow.run
        async def run(self) -> None:
            await workflow.step(
                charge, 1, retry_policy=RetryPolicy(maximum_attempts=3), timeout=1.5
            )
            await workflow.step(charge, 2, timeout=timedelta(minutes=1))

    run = RunDriver(Options)
    [first] = run.activate().start_steps
    run.finish_steps()
    [second] = run.activate().start_steps

    assert (first.args, first.timeout, first.retry_policy.maximum_attempts) == ((1,), 1500, 3)
    assert (second.args, second.timeout) == ((2,), 60_000)
    assert second.retry_policy == payloads.RetryPolicy()


def test_a_step_that_is_no_callable_is_refused_with_what_to_write() -> None:
    @workflow.defn(failure_exception_types=[UsageError])
    class Wrong:
        @workflow.run
        async def run(self) -> None:
            await workflow.step(charge(1))  # type: ignore[call-overload]  # the mistake under test

    assert "write step(fn, arg, ...)" in RunDriver(Wrong).play().failure.message


def test_cancelling_the_wait_for_a_step_cancels_the_step() -> None:
    @workflow.defn
    class Patient:
        @workflow.run
        async def run(self) -> str:
            try:
                async with asyncio.timeout(10):
                    return await workflow.step(fetch, "you")
            except TimeoutError:
                return "gave up"

    run = RunDriver(Patient)
    run.activate()
    run.fire(1)
    told = run.activate()

    assert told.cancel_steps == [2]
    assert run.result == "gave up"
    assert_replays(run)


def test_a_step_asked_for_and_cancelled_at_once_is_never_handed_out() -> None:
    @workflow.defn
    class Hasty:
        @workflow.run
        async def run(self) -> None:
            task = asyncio.create_task(workflow.step(fetch, "you"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(1)

    told = RunDriver(Hasty).activate()

    assert told.start_steps == []
    assert told.cancel_steps == []


def test_a_step_asked_for_just_before_the_end_is_never_handed_out() -> None:
    @workflow.defn
    class Careless:
        @workflow.run
        async def run(self) -> None:
            self.task = asyncio.create_task(workflow.step(fetch, "you"))
            await asyncio.sleep(0)

    told = RunDriver(Careless).activate()

    assert told.closed
    assert told.start_steps == []


def test_the_result_of_a_cancelled_step_that_was_on_its_way_is_ignored() -> None:
    @workflow.defn
    class Race:
        @workflow.run
        async def run(self) -> str:
            try:
                async with asyncio.timeout(10):
                    return await workflow.step(fetch, "you")
            except TimeoutError:
                await asyncio.sleep(5)
                return "gave up"

    run = RunDriver(Race)
    run.activate()
    run.fire(1)
    step = run.steps[2]
    run.activate()
    run.record(run._run_step(step))
    run.play()

    assert run.result == "gave up"
    assert_replays(run)


def test_steps_without_a_result_are_asked_for_again_by_another_worker() -> None:
    @workflow.defn
    class Parallel:
        @workflow.run
        async def run(self) -> list[str]:
            return await asyncio.gather(*(workflow.step(fetch, name) for name in "abc"))

    run = RunDriver(Parallel)
    run.activate()
    run.finish_steps(2)
    told = run.lose_worker().activate()

    assert [each.seq for each in told.start_steps] == [1, 3]
    assert run.finish_steps().play().result == ["hello a", "hello b", "hello c"]


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "replayed"])
def test_a_step_that_nobody_waits_for_ends_with_the_run(cached: bool) -> None:
    @workflow.defn
    class Forgetful:
        @workflow.run
        async def run(self) -> str:
            task = asyncio.create_task(workflow.step(fetch, "you"))
            await asyncio.sleep(1)
            assert not task.done()
            return "done"

    run = RunDriver(Forgetful, cached=cached)
    told = run.activate()
    assert len(told.start_steps) == 1
    run.advance(1)
    told = run.activate()

    assert told.closed
    assert run.result == "done"
    assert_replays(run)
    run.evict()
