"""The workflows that the benchmark runs: no-op steps and activities, in sequence and at once."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow

TIMEOUT = {"start_to_close_timeout": timedelta(seconds=30)}


async def nothing(number: int) -> int:
    """A side effect without an effect."""
    return number


@activity.defn(name="nothing")
async def nothing_elsewhere(number: int) -> int:
    """The same, as an activity."""
    return number


@workflow.defn
class Steps:
    """Steps, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        return sum([await workflow.step(nothing, number) for number in range(count)])


@workflow.defn
class Activities:
    """Activities, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        total = 0
        for number in range(count):
            total += await workflow.execute_activity(nothing_elsewhere, number, **TIMEOUT)
        return total


@workflow.defn
class Parallel:
    """Steps, all at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        return sum(
            await asyncio.gather(*(workflow.step(nothing, number) for number in range(count)))
        )


@workflow.defn
class ParallelActivities:
    """Activities, all at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        return sum(
            await asyncio.gather(
                *(
                    workflow.execute_activity(nothing_elsewhere, number, **TIMEOUT)
                    for number in range(count)
                )
            )
        )


@workflow.defn
class Batch:
    """Activities, all in one batch."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        return sum(await workflow.map_activities(nothing_elsewhere, range(count), **TIMEOUT))


@workflow.defn
class StreamedBatch:
    """The same, each result taken as it comes."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        total = 0
        batch = workflow.map_activities(nothing_elsewhere, range(count), **TIMEOUT)
        async for item in batch.as_completed():
            total += item.result
        return total


@workflow.defn
class NarrowBatch:
    """The same, with a bound."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Return the sum of what they return."""
        batch = workflow.map_activities(nothing_elsewhere, range(count), parallelism=50, **TIMEOUT)
        return sum(await batch)


@workflow.defn
class Nothing:
    """No step at all."""

    @workflow.run
    async def run(self) -> None:
        """Return at once."""


@workflow.defn
class Waits:
    """What waits for a person."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self) -> None:
        """Wait for the signal ``go``."""
        await workflow.wait_condition(lambda: self.told)

    @workflow.signal
    def go(self) -> None:
        """End the wait."""
        self.told = True
