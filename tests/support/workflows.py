"""Workflows and activities that the integration tests' shared worker runs."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from perdure.exceptions import TimeoutError as TimeoutFailure

QUICK = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=20))


def note(path: str, text: str) -> None:
    """Add a line to a file that the test reads."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


@activity.defn
async def echo(value: Any) -> Any:
    """Return what is given."""
    return value


@activity.defn
async def write_much(size: int) -> str:
    """Return a text of a size."""
    return "x" * size


@activity.defn
async def nap(seconds: float) -> str:
    """Sleep on the loop."""
    await asyncio.sleep(seconds)
    return "rested"


@activity.defn
def nap_in_thread(seconds: float) -> str:
    """Sleep in a thread."""
    time.sleep(seconds)
    return "rested"


@activity.defn
async def wait_to_be_cancelled(path: str) -> None:
    """Wait without heartbeats, and note that the end was asked for."""
    note(path, "waiting")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note(path, "cancelled")
        raise


@activity.defn
def wait_to_be_cancelled_in_thread(path: str) -> None:
    """Wait without heartbeats, in a thread that is interrupted."""
    note(path, "waiting")
    try:
        while True:
            time.sleep(0.01)
    except CancelledError:
        note(path, "cancelled")
        raise


@activity.defn
async def beat_then_hang(path: str) -> list[Any]:
    """Heartbeat once with details; the next attempt returns what it finds of them."""
    if found := list(activity.info().heartbeat_details):
        return found
    activity.heartbeat("half", 50)
    note(path, f"attempt {activity.info().attempt} beat")
    await asyncio.sleep(60)
    return []


@activity.defn
async def work_for(seconds: float, path: str) -> int:
    """Work for a while between two notes, and return which attempt did."""
    attempt = activity.info().attempt
    note(path, f"{os.getpid()} began attempt {attempt}")
    await asyncio.sleep(seconds)
    note(path, f"{os.getpid()} ended attempt {attempt}")
    return attempt


@activity.defn
async def fail_until(attempt: int) -> int:
    """Fail in every attempt before the given one."""
    if activity.info().attempt < attempt:
        raise ApplicationError(f"attempt {activity.info().attempt} fails", type="NotYet")
    return activity.info().attempt


@dataclass
class Call:
    """An activity call: times in milliseconds, 0 for none."""

    activity: str
    args: list[Any] = field(default_factory=list)
    start_to_close: int = 0
    schedule_to_close: int = 0
    schedule_to_start: int = 0
    heartbeat: int = 0
    attempts: int = 1
    task_queue: str = ""
    wait: bool = False
    """A cancelled call is over when the activity is."""

    def options(self) -> workflow.ActivityConfig:
        """Return the call's options."""

        def limit(millis: int) -> timedelta | None:
            return timedelta(milliseconds=millis) if millis else None

        return workflow.ActivityConfig(
            start_to_close_timeout=limit(self.start_to_close),
            schedule_to_close_timeout=limit(self.schedule_to_close),
            schedule_to_start_timeout=limit(self.schedule_to_start),
            heartbeat_timeout=limit(self.heartbeat),
            task_queue=self.task_queue or None,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
            if self.wait
            else workflow.ActivityCancellationType.TRY_CANCEL,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=50), maximum_attempts=self.attempts
            ),
        )


@workflow.defn
class CallActivity:
    """Call one activity and tell how it ended."""

    @workflow.run
    async def run(self, call: Call) -> dict[str, Any]:
        """Return the result, or the kind of the timeout."""
        try:
            return {
                "result": await workflow.execute_activity(
                    call.activity, args=call.args, **call.options()
                )
            }
        except ActivityError as error:
            if isinstance(error.cause, TimeoutFailure) and error.cause.type is not None:
                return {"timeout": error.cause.type.name}
            raise


@workflow.defn
class Collect:
    """Gather what signals bring."""

    def __init__(self) -> None:
        self._gathered: list[Any] = []

    @workflow.signal
    def add(self, value: Any) -> None:
        """Bring one more."""
        self._gathered.append(value)

    @workflow.query
    def gathered(self) -> list[Any]:
        """What there is so far."""
        return self._gathered

    @workflow.run
    async def run(self, count: int) -> list[Any]:
        """Return what ``count`` signals brought, in the order in which they came."""
        await workflow.wait_condition(lambda: len(self._gathered) >= count)
        return self._gathered


@workflow.defn
class Sleep:
    """Sleep, and tell for how long by the workflow's own clock."""

    @workflow.run
    async def run(self, seconds: float) -> float:
        """Return the seconds slept."""
        began = workflow.now()
        await workflow.sleep(seconds)
        return (workflow.now() - began).total_seconds()


@workflow.defn
class Mixed:
    """A little of everything: steps, an activity, a timer, random numbers."""

    @workflow.run
    async def run(self, number: int) -> list[Any]:
        """Return what came of it."""
        first = await workflow.step(lambda: number + 1, name="add-one")
        rolled = workflow.random().randrange(1_000)
        second = await workflow.execute_activity(echo, [first, rolled], **QUICK)
        await workflow.sleep(0.02)
        third = await workflow.step(lambda: number * 2, name="double")
        return [number, *second, third, rolled]


@dataclass
class Order:
    """What :class:`Strict` takes."""

    order_id: str
    amount: float


@workflow.defn
class Strict:
    """Take input that must fit."""

    @workflow.run
    async def run(self, order: Order) -> str:
        """Return the order's id."""
        return order.order_id


@workflow.defn
class Large:
    """Make values of a size."""

    @workflow.run
    async def run(self, where: str, size: int) -> Any:
        """Make a text of ``size`` and return it, or pass it around and return its length."""
        match where:
            case "result":
                return "x" * size
            case "activity":
                return len(await workflow.execute_activity(echo, "x" * size, **QUICK))
            case "activity-result":
                return len(await workflow.execute_activity(write_much, size, **QUICK))
            case _:
                return len(await workflow.step(write_much, size))


@workflow.defn
class StepFor:
    """A step that takes a while."""

    @workflow.run
    async def run(self, seconds: float, path: str) -> int:
        """Return the process that did it."""
        return await workflow.step(step_for, seconds, path)


async def step_for(seconds: float, path: str) -> int:
    """Work for a while between two notes, and return which process did."""
    note(path, f"{os.getpid()} began")
    await asyncio.sleep(seconds)
    note(path, f"{os.getpid()} ended")
    return os.getpid()


@workflow.defn
class Same:
    """Return what is given."""

    @workflow.run
    async def run(self, value: Any) -> Any:
        """Return it."""
        return value
