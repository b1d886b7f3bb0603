"""Workflow code without a replay: a plain asyncio loop that has a runtime while code runs."""

import asyncio
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perdure.worker import guards
from perdure.workflow._runtime import RUNTIME_ATTRIBUTE

NOW_MS = 1_700_000_000_123


class FakeRuntime:
    """What guards ask of a run."""

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.failed_with: Exception | None = None

    def fail_task(self, error: Exception) -> None:
        self.failed_with = error

    def now_ms(self) -> int:
        return NOW_MS


def run_as_workflow(code: Callable[[], Any], seed: int = 7) -> Any:
    """Return what ``code``, plain or a coroutine function, returns as workflow code."""
    loop = asyncio.new_event_loop()

    async def body() -> Any:
        return code()

    setattr(loop, RUNTIME_ATTRIBUTE, FakeRuntime(seed))
    try:
        return loop.run_until_complete(code() if inspect.iscoroutinefunction(code) else body())
    finally:
        delattr(loop, RUNTIME_ATTRIBUTE)
        loop.close()


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    guards.install()
    yield
    guards.uninstall()


@pytest.fixture
def as_workflow() -> Callable[..., Any]:
    return run_as_workflow
