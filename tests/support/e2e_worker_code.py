"""Workflows and activities that the end-to-end tests run in worker pods, given as a ConfigMap."""

import time
from datetime import timedelta

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

QUICK = {"start_to_close_timeout": timedelta(seconds=10)}


@activity.defn
def fail_first(text: str) -> str:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError(f"attempt {attempt} fails on purpose", type="OnPurpose")
    return f"{text} at attempt {attempt}"


@activity.defn
async def echo(number: int) -> int:
    return number


@workflow.defn
class FiveActivities:
    @workflow.run
    async def run(self) -> int:
        return sum([await workflow.execute_activity(echo, number, **QUICK) for number in range(5)])


@activity.defn
def take_long(seconds: float) -> int:
    time.sleep(seconds)
    return activity.info().attempt


@activity.defn
def take_memory(size: int) -> int:
    return len(bytearray(size))


@workflow.defn
class TakesLong:
    @workflow.run
    async def run(self, seconds: float) -> int:
        return await workflow.execute_activity(take_long, seconds, **QUICK)


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.step(lambda: f"Hello, {name}!", name="greet")


@workflow.defn
class WaitsForWord:
    def __init__(self) -> None:
        self.heard: str | None = None

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.heard is not None)
        workflow.logger.info("heard %s", self.heard)
        return str(self.heard)

    @workflow.signal
    def word(self, word: str) -> None:
        self.heard = word
