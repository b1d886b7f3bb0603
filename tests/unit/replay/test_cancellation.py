from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from support.histories import RunDriver, assert_replays

LIMIT = timedelta(seconds=30)


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> str:
        await asyncio.sleep(100)
        return "slept"


def test_a_cancelled_run_ends_as_cancelled() -> None:
    run = RunDriver(Sleeper).play(timers=False)
    run.cancel("enough").activate()

    assert run.commands() == ["TimerStarted", "TimerCanceled", "WorkflowCanceled"]
    assert_replays(run)


def test_a_run_cancelled_before_it_began_still_begins() -> None:
    begun = []

    @workflow.defn
    class Begins:
        @workflow.run
        async def run(self) -> None:
            begun.append(workflow.cancellation_reason())
            await asyncio.sleep(1)

    run = RunDriver(Begins).cancel("early").play()

    assert begun == ["early"]
    assert run.commands() == ["WorkflowCanceled"]
    assert_replays(run)


def test_a_run_may_catch_the_cancellation_and_clean_up() -> None:
    cleaned = []

    def clean() -> None:
        cleaned.append(1)

    @workflow.defn
    class Cleans:
        @workflow.run
        async def run(self) -> str:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await workflow.step(clean)
                return f"cleaned: {workflow.cancellation_reason()}"
            return ""

    run = RunDriver(Cleans).play(timers=False)
    run.cancel("enough").play()

    assert run.result == "cleaned: enough"
    assert cleaned == [1]
    assert_replays(run)
    assert cleaned == [1]


def test_cancellation_is_delivered_once() -> None:
    @workflow.defn
    class Stubborn:
        @workflow.run
        async def run(self) -> str:
            for _ in range(2):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    continue
            return "stayed"

    run = RunDriver(Stubborn).play(timers=False)
    run.cancel("a").play(timers=False)
    run.cancel("b").play(timers=False)

    assert not run.is_closed
    assert run.play().result == "stayed"
    assert_replays(run)


def test_a_cancelled_activity_ends_a_cancelled_run_as_cancelled() -> None:
    @workflow.defn
    class Acts:
        @workflow.run
        async def run(self) -> None:
            await workflow.execute_activity("x", start_to_close_timeout=LIMIT)

    run = RunDriver(Acts).play()
    run.cancel().activate()

    assert run.commands() == ["ActivityScheduled", "ActivityCancelRequested", "WorkflowCanceled"]
    assert_replays(run)


def test_another_failure_after_a_cancel_request_is_a_failure() -> None:
    @workflow.defn
    class Fails:
        @workflow.run
        async def run(self) -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                raise ApplicationError("cannot stop now") from None

    run = RunDriver(Fails).play(timers=False)
    run.cancel().activate()

    assert run.failure.message == "cannot stop now"
    assert_replays(run)


def test_a_swallowed_cancellation_makes_a_later_one_the_end() -> None:
    @workflow.defn
    class Later:
        @workflow.run
        async def run(self) -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            task = asyncio.create_task(asyncio.sleep(5))
            await asyncio.sleep(1)
            task.cancel()
            await task

    run = RunDriver(Later).play(timers=False)
    run.cancel().play()

    assert run.commands()[-1] == "WorkflowCanceled"
    assert_replays(run)


def test_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    @workflow.defn
    class Cancels:
        @workflow.run
        async def run(self) -> None:
            task = asyncio.create_task(asyncio.sleep(5))
            await asyncio.sleep(1)
            task.cancel()
            await task

    run = RunDriver(Cancels).play()

    assert isinstance(run.failure, CancelledError)
    assert_replays(run)


def test_shield_protects_from_the_cancellation() -> None:
    @workflow.defn
    class Shields:
        @workflow.run
        async def run(self) -> str:
            handle = workflow.start_activity("x", start_to_close_timeout=LIMIT)
            try:
                await asyncio.shield(handle)
            except asyncio.CancelledError:
                return f"finished anyway: {await handle}"
            except ActivityError:
                return "cancelled"
            return ""

    run = RunDriver(Shields).play()
    run.cancel().play()
    run.complete_activity(1, "yes").play()

    assert run.result == "finished anyway: yes"
    assert "ActivityCancelRequested" not in run.commands()
    assert_replays(run)


def test_a_cancelled_task_group_cancels_its_tasks_in_the_same_order_each_time() -> None:
    @workflow.defn
    class Group:
        @workflow.run
        async def run(self) -> None:
            async with asyncio.TaskGroup() as group:
                for seconds in range(20):
                    group.create_task(asyncio.sleep(100 + seconds))

    run = RunDriver(Group).play(timers=False)
    run.cancel().activate()

    assert run.commands().count("TimerCanceled") == 20
    for _ in range(3):
        assert_replays(run)
