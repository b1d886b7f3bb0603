"""Workflows and activities for tests of batches, run by real workers.

Every attempt of an item leaves notes in a file, so that a test can count what was run.
"""

import asyncio
import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

LIMIT = timedelta(seconds=30)


@dataclass
class Item:
    """What one item is to do."""

    number: int
    notes: str
    seconds: float = 0
    fails: int = 0
    """Attempts that fail first; -1 for every one."""
    gate: str = ""
    """A file to wait for."""


@dataclass
class Fan:
    """A batch of ``count`` items, some of them special."""

    count: int
    notes: str
    seconds: float = 0
    parallelism: int = 0
    tolerated: int = 0
    attempts: int = 3
    fails: dict[int, int] = field(default_factory=dict)
    gates: dict[int, str] = field(default_factory=dict)
    take: str = "list"
    """``list``, ``in order`` or ``as completed``."""

    def items(self) -> list[Item]:
        """Return its items."""
        return [
            Item(
                number,
                self.notes,
                self.seconds,
                self.fails.get(number, 0),
                self.gates.get(number, ""),
            )
            for number in range(self.count)
        ]


def note(item: Item, what: str) -> None:
    """Add a line for the test; one write, so that lines of several processes do not mix."""
    info = activity.info()
    line = f"{what} {item.number} {info.attempt} {info.idempotency_key} {os.getpid()}\n"
    with Path(item.notes).open("a") as file:
        file.write(line)


async def _work(item: Item) -> None:
    while item.gate and not Path(item.gate).exists():
        await asyncio.sleep(0.02)
    await asyncio.sleep(item.seconds)


@activity.defn
async def work(item: Item) -> int:
    """Do one item and return twice its number."""
    note(item, "begin")
    try:
        await _work(item)
    except asyncio.CancelledError:
        note(item, "cancelled")
        raise
    if item.fails < 0 or activity.info().attempt <= item.fails:
        raise ApplicationError(f"item {item.number} fails", type="NotYet")
    note(item, "end")
    return 2 * item.number


@activity.defn
def work_in_thread(item: Item) -> int:
    """Do one item in a thread."""
    note(item, "begin")
    note(item, "end")
    return 2 * item.number


@workflow.defn
class FanOut:
    """One batch, taken as it is asked for."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.batch: workflow.Batch[Any] | None = None

    @workflow.query
    def seen(self) -> list[Any]:
        """What has come so far."""
        return self.taken

    @workflow.query
    def progress(self) -> list[int]:
        """The batch's progress as the code sees it."""
        return list(self.batch.progress) if self.batch else []

    @workflow.run
    async def run(self, fan: Fan, name: str = "work") -> list[Any]:
        """Return what came, errors as their root's message."""
        batch = self.batch = workflow.map_activities(
            name,
            fan.items(),
            result_type=int,
            parallelism=fan.parallelism or None,
            tolerated_failures=fan.tolerated,
            start_to_close_timeout=LIMIT,
            retry_policy=RetryPolicy(
                maximum_attempts=fan.attempts, initial_interval=timedelta(milliseconds=50)
            ),
        )
        if fan.take == "as completed":
            async for item in batch.as_completed():
                self.taken.append([item.index, _shown(item.result)])
        elif fan.take == "in order":
            async for result in batch:
                self.taken.append(_shown(result))
        else:
            self.taken = [_shown(each) for each in await batch]
        return self.taken


async def pause(number: int) -> int:
    """A step that takes a moment."""
    await asyncio.sleep(0.02)
    return number


@workflow.defn
class Beside:
    """A batch, and a chain of steps meanwhile; the code looks at both."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    @workflow.run
    async def run(self, fan: Fan) -> list[Any]:
        """Return the batch's sum, and how far it was seen to be after each step."""
        batch = workflow.map_activities(
            work, fan.items(), parallelism=fan.parallelism or None, start_to_close_timeout=LIMIT
        )
        steps = 0
        while not batch.done():
            self.seen.append([await workflow.step(pause, steps), batch.progress.closed])
            steps += 1
        return [sum(await batch), self.seen[-1][1], sum(number for number, _ in self.seen)]


def _shown(result: Any) -> Any:
    return str(result.cause) if isinstance(result, ActivityError) else result
