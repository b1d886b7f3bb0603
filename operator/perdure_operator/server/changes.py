"""Waiting for something to happen to runs: what long polls hang on."""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Changes:
    """Wakes whoever waits for a run to change, to close, or for any watched run to change."""

    def __init__(self) -> None:
        self._changed: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._closed: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._watched: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._ended = False

    def tell(self, run_id: str, *, closed: bool, watched: bool) -> None:
        """A run has changed, on disk."""
        _wake(self._changed, run_id)
        if closed:
            _wake(self._closed, run_id)
        if watched:
            _wake(self._watched, "")

    async def wait_changed(self, run_id: str, timeout: float) -> None:
        """Wait until the run changes, ``timeout`` seconds at most."""
        await self._wait(self._changed, run_id, timeout)

    async def wait_closed(self, run_id: str, timeout: float) -> None:
        """Wait until the run is closed, ``timeout`` seconds at most."""
        await self._wait(self._closed, run_id, timeout)

    async def wait_watched(self, timeout: float) -> None:
        """Wait until any watched run changes, ``timeout`` seconds at most."""
        await self._wait(self._watched, "", timeout)

    def end(self) -> None:
        """Wake everybody: the server stops, long polls must not hold it up."""
        self._ended = True
        for waiting in (self._changed, self._closed, self._watched):
            for key in list(waiting):
                _wake(waiting, key)

    async def _wait(
        self, waiting: defaultdict[str, set[asyncio.Future[None]]], key: str, timeout: float
    ) -> None:
        if self._ended or timeout <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting[key].add(future)
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            pass
        finally:
            futures = waiting.get(key)
            if futures is not None:
                futures.discard(future)
                if not futures:
                    del waiting[key]


def _wake(waiting: defaultdict[str, set[asyncio.Future[None]]], key: str) -> None:
    for future in waiting.pop(key, ()):
        if not future.done():
            future.set_result(None)
