"""What ``workflow.wait_condition`` waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from perdure.replay._loop import DeterministicLoop


class Conditions:
    """Conditions that are not true yet, in the order in which they were waited for."""

    def __init__(self, loop: DeterministicLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[Callable[[], Any], asyncio.Future[None]]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, fn: Callable[[], Any], seconds: float | None, summary: str) -> None:
        """Wait until ``fn`` is true, ``seconds`` at most."""
        if seconds is not None and seconds <= 0:
            if fn():
                return
            raise TimeoutError
        future = self._loop.create_future()
        self._count += 1
        key = self._count
        self._waiting[key] = (fn, future)
        timer = None
        try:
            if seconds is not None:
                timer = self._loop.start_timer(seconds, _give_up, future, summary=summary)
            await future
        finally:
            self._waiting.pop(key, None)
            if timer is not None:
                timer.cancel()

    def met(self) -> list[Callable[[], None]]:
        """Ask each condition; return what wakes those who wait for one that is true.

        All are asked before anybody goes on, so that what one changes is not seen by the next.
        """
        wakes: list[Callable[[], None]] = []
        for key, (fn, future) in list(self._waiting.items()):
            wake = _look(fn, future)
            if wake is not None:
                del self._waiting[key]
                wakes.append(wake)
        return wakes


def _look(fn: Callable[[], Any], future: asyncio.Future[None]) -> Callable[[], None] | None:
    try:
        if not fn():
            return None
    except Exception as error:  # noqa: BLE001 - the user's: raised where it is waited for
        return lambda failure=error: future.set_exception(failure)  # type: ignore[misc]  # bound now
    return lambda: future.set_result(None)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
