"""Verdicts that are remembered for a short while, so that not every request is a review.

A good verdict is kept longer than a bad one: who was just given a right should not have to wait.
An error is never kept. Those who ask for the same thing at the same time share one review. The
number of verdicts is bounded; the one that was not asked for longest goes first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long verdicts are kept, in seconds, and how many."""

    good: float = 10.0
    bad: float = 2.0
    size: int = 4096


class Remembered(Generic[K, V]):
    """Verdicts by what was asked.

    Args:
        clock: what measures time, in seconds.
        is_good: whether a verdict is one that is kept longer.
        keeping: how long and how many.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        is_good: Callable[[V], bool],
        keeping: Keeping | None = None,
    ) -> None:
        self._clock = clock
        self._is_good = is_good
        self._keeping = keeping or Keeping()
        self._verdicts: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._verdicts)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the verdict that is remembered, or ask for one.

        Raises:
            Exception: whatever ``ask`` raises; the next one asks again.
        """
        known = self._verdicts.get(key)
        if known is not None and self._clock() < known[1]:
            self._verdicts.move_to_end(key)
            return known[0]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key, ask))
            self._asking[key] = task
        # One who goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            verdict = await ask()
        finally:
            del self._asking[key]
        keeping = self._keeping
        seconds = keeping.good if self._is_good(verdict) else keeping.bad
        self._verdicts[key] = (verdict, self._clock() + seconds)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > keeping.size:
            self._verdicts.popitem(last=False)
        return verdict
