"""A future together with what settles it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def awaited() -> tuple[asyncio.Future[None], Callable[..., None]]:
    """Return a future, and what settles it: without an error, or with one."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(error: Exception | None = None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    return future, settle
