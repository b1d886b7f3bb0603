"""Random workflows: programs of steps, activities, timers, signals, cancellations and tasks.

A program is a tree of small values; :func:`workflow_of` makes a workflow that runs it. What it does
depends on nothing but the program and the run's history, so two runs of one program with one
history must agree in everything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from perdure import workflow
from perdure.exceptions import ApplicationError, FailureError

LIMIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Step:
    fails: bool


@dataclass(frozen=True)
class Activity:
    cancellation: workflow.ActivityCancellationType
    container: bool


@dataclass(frozen=True)
class Batch:
    """Some items, awaited, or gone through in one order or the other."""

    items: int
    tolerated: int
    taken: str
    cancellation: workflow.ActivityCancellationType


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Signals:
    """Wait until that many signals have come."""

    count: int
    timeout: float | None


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Gather:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Group:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class First:
    """Wait for the first to end, cancel the others."""

    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Timeout:
    part: Program
    seconds: float
    as_block: bool


@dataclass(frozen=True)
class CancelAfter:
    part: Program
    seconds: float


@dataclass(frozen=True)
class Cleanup:
    part: Program


@dataclass(frozen=True)
class Choose:
    """Go one of two ways, as chance or the time has it."""

    one: Program
    other: Program
    by_time: bool


Program = (
    Step
    | Activity
    | Batch
    | Sleep
    | Signals
    | Sequence
    | Gather
    | Group
    | First
    | Timeout
    | CancelAfter
    | Cleanup
    | Choose
)

_seconds = st.sampled_from([0.0, 0.001, 1.0, 2.0, 5.0])
_leaves: st.SearchStrategy[Program] = st.one_of(
    st.builds(Step, st.booleans()),
    st.builds(Activity, st.sampled_from(workflow.ActivityCancellationType), st.booleans()),
    st.builds(
        Batch,
        st.integers(0, 3),
        st.integers(0, 1),
        st.sampled_from(["awaited", "in order", "as completed", "in order, later"]),
        st.sampled_from(workflow.ActivityCancellationType),
    ),
    st.builds(Sleep, _seconds),
    st.builds(Signals, st.integers(1, 3), st.none() | _seconds),
)


def _extend(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Sequence, parts),
        st.builds(Gather, parts),
        st.builds(Group, parts),
        st.builds(First, parts),
        st.builds(Timeout, inner, _seconds, st.booleans()),
        st.builds(CancelAfter, inner, _seconds),
        st.builds(Cleanup, inner),
        st.builds(Choose, inner, inner, st.booleans()),
    )


programs: st.SearchStrategy[Program] = st.recursive(_leaves, _extend, max_leaves=8)


def step_body(fails: bool) -> str:
    if fails:
        raise ApplicationError("the step fails", non_retryable=True)
    return "step"


def workflow_of(program: Program) -> type:  # noqa: C901 - one small method a kind
    """A workflow that runs ``program`` and returns what it noticed."""

    @workflow.defn(name="Random")
    class Random:
        def __init__(self) -> None:
            self.noticed: list[str] = []
            self.signals = 0

        @workflow.run
        async def run(self) -> list[str]:
            await self.do(program)
            return self.noticed

        @workflow.signal
        def tick(self) -> None:
            self.note("tick")
            self.signals += 1

        @workflow.signal(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
        async def work(self) -> None:
            self.note(f"work {await workflow.step(step_body, False)}")

        @workflow.query
        def seen(self) -> list[str]:
            return self.noticed

        def note(self, word: str) -> None:
            self.noticed.append(f"{workflow.time():.3f} {word}")

        async def do(self, part: Program) -> None:
            try:
                await getattr(self, f"do_{type(part).__name__.lower()}")(part)
            except (FailureError, TimeoutError) as error:
                self.note(f"{type(part).__name__}: {type(error).__name__}")
            except asyncio.CancelledError:
                self.note(f"{type(part).__name__}: cancelled")
                raise
            else:
                self.note(type(part).__name__)

        async def do_step(self, part: Step) -> None:
            await workflow.step(step_body, part.fails)

        async def do_activity(self, part: Activity) -> None:
            if part.container:
                self.note(await self.contain(part.cancellation))
                return
            self.note(
                await workflow.execute_activity(
                    "act",
                    len(self.noticed),
                    result_type=str,
                    start_to_close_timeout=LIMIT,
                    cancellation_type=part.cancellation,
                )
            )

        async def contain(self, cancellation: workflow.ActivityCancellationType) -> str:
            return await workflow.execute_container(
                "shop/act:1",
                input=[len(self.noticed)],
                result_type=str,
                start_to_close_timeout=LIMIT,
                cancellation_type=cancellation,
            )

        async def do_batch(self, part: Batch) -> None:
            batch = workflow.map_activities(
                "act",
                range(part.items),
                tolerated_failures=part.tolerated,
                start_to_close_timeout=LIMIT,
                cancellation_type=part.cancellation,
            )
            if part.taken == "as completed":
                async for item in batch.as_completed():
                    self.note(f"item {item.index} {type(item.result).__name__}")
            elif part.taken == "awaited":
                self.note(f"items {[type(each).__name__ for each in await batch]}")
            else:
                if part.taken == "in order, later":
                    await asyncio.sleep(1)
                async for each in batch:
                    self.note(f"item {type(each).__name__}")
            self.note(f"{batch.progress}")

        async def do_sleep(self, part: Sleep) -> None:
            await asyncio.sleep(part.seconds)

        async def do_signals(self, part: Signals) -> None:
            await workflow.wait_condition(lambda: self.signals >= part.count, timeout=part.timeout)

        async def do_sequence(self, part: Sequence) -> None:
            for each in part.parts:
                await self.do(each)

        async def do_gather(self, part: Gather) -> None:
            await asyncio.gather(*(self.do(each) for each in part.parts))

        async def do_group(self, part: Group) -> None:
            async with asyncio.TaskGroup() as group:
                for each in part.parts:
                    group.create_task(self.do(each))

        async def do_first(self, part: First) -> None:
            tasks = [asyncio.create_task(self.do(each)) for each in part.parts]
            try:
                await workflow.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()

        async def do_timeout(self, part: Timeout) -> None:
            if part.as_block:
                async with asyncio.timeout(part.seconds):
                    await self.do(part.part)
            else:
                await asyncio.wait_for(self.do(part.part), part.seconds)

        async def do_cancelafter(self, part: CancelAfter) -> None:
            task = asyncio.create_task(self.do(part.part))
            try:
                await asyncio.sleep(part.seconds)
            finally:
                task.cancel()
            [result] = await asyncio.gather(task, return_exceptions=True)
            self.note(type(result).__name__)

        async def do_cleanup(self, part: Cleanup) -> None:
            try:
                await self.do(part.part)
            finally:
                self.note(f"cleanup {await workflow.step(step_body, False)}")

        async def do_choose(self, part: Choose) -> None:
            if part.by_time:
                first = workflow.time_ns() // 1_000_000 % 2 == 0
            else:
                first = workflow.random().random() < 0.5
            await self.do(part.one if first else part.other)

    return Random


Happening = tuple[str, Any]
"""Something that happens to a run, by name, with a number to choose by."""

happenings: st.SearchStrategy[list[Happening]] = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "activate",
                "steps",
                "some steps",
                "complete",
                "fail",
                "time out",
                "cancelled",
                "item",
                "item fails",
                "items",
                "batch fails",
                "batch cancelled",
                "fire",
                "tick",
                "work",
                "cancel",
                "lose worker",
                "tick crosses",
                "timer crosses",
                "activity crosses",
                "item crosses",
            ]
        ),
        st.integers(0, 7),
    ),
    max_size=25,
)
