"""Waiting for something to become true, with a deadline and never for longer than it takes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN = 20.0
"""Seconds after which nothing comes any more, also on a loaded machine."""
_EVERY = 0.02


async def eventually(
    look: Callable[[], Awaitable[T] | T], *, within: float = WITHIN, what: str = ""
) -> T:
    """Look until there is something, and return it.

    Args:
        look: Returns what is waited for; anything false says that it is not there yet.
        within: Seconds.
        what: What is waited for, for the message.

    Raises:
        AssertionError: it did not come.
    """
    deadline = time.monotonic() + within
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or inspect.getsource(look).strip()}: not in {within:g} s")
        await asyncio.sleep(_EVERY)


def wait_until(look: Callable[[], T], *, within: float = WITHIN, what: str = "") -> T:
    """Look until there is something, and return it, where no loop runs.

    Raises:
        AssertionError: it did not come.
    """
    deadline = time.monotonic() + within
    while True:
        if found := look():
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or inspect.getsource(look).strip()}: not in {within:g} s")
        time.sleep(_EVERY)
