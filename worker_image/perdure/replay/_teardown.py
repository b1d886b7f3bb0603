"""Letting go of a run's coroutines, quietly.

A coroutine that waits cannot just be dropped: Python would run its ``finally`` blocks at a moment
of the garbage collector's choosing. So :class:`RunEvictedError` is thrown into each, which passes
every ``except Exception`` and ``except CancelledError``; what cleaning up still asks for is not
heard, because by then the run refuses everything by raising it again. The tasks themselves are
never done; their loop does not let them complain of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from perdure.replay.errors import RunEvictedError

_PATIENCE = 10
"""How often a coroutine that goes on waiting is thrown into before it is closed by force."""


def tear_down(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End the coroutines of ``tasks``, which belong to a loop that runs nothing any more."""
    for task in tasks:
        _end(task.get_coro())


def _end(coroutine: Any) -> None:
    try:
        for _ in range(_PATIENCE):
            coroutine.throw(RunEvictedError())
        coroutine.close()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
