"""The work queue: which object is to be looked at, and when.

A key is in the queue once at most, however often it is added; the earliest time asked for wins.
While a key is being worked on nobody else gets it, and what is added meanwhile waits until that
is finished. Keys that failed come back later each time. Looks at one key that are not urgent are
``spacing`` apart, so that a run with a thousand steps a second costs one status a second.

:class:`Schedule` is the whole logic, without a clock; :class:`WorkQueue` lets tasks wait for it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a key that failed waits: doubling from ``first`` to ``most`` seconds."""

    first: float = 0.5
    most: float = 60.0

    def delay(self, failures: int) -> float:
        """Return the wait after that many failures in a row."""
        # The exponent is bounded so that a key failing for weeks does not overflow a float.
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32))


class Schedule(Generic[K]):
    """Keys and when each is due. Times are seconds of any clock that does not go back."""

    def __init__(self, *, spacing: float = 1.0, backoff: Backoff | None = None) -> None:
        self._spacing = spacing
        self._backoff = backoff or Backoff()
        self._due: dict[K, float] = {}
        # Entries that `_due` no longer agrees with are skipped when they come up.
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0
        self._taken: set[K] = set()
        self._failures: dict[K, int] = {}
        self._last: dict[K, float] = {}
        self._recent: deque[tuple[float, K]] = deque()

    def __len__(self) -> int:
        return len(self._due)

    def ready(self, now: float) -> int:
        """Return how many keys wait for somebody to take them."""
        return sum(due <= now for key, due in self._due.items() if key not in self._taken)

    def oldest(self, now: float) -> float:
        """Return for how long somebody has been waited for, by the key that waits longest."""
        waiting = (now - due for key, due in self._due.items() if key not in self._taken)
        return max(0.0, max(waiting, default=0.0))

    def add(self, key: K, *, now: float, delay: float = 0.0, urgent: bool = False) -> None:
        """Have ``key`` looked at in ``delay`` seconds; ``urgent`` lifts the spacing."""
        due = now + delay
        if not urgent and key in self._last:
            due = max(due, self._last[key] + self._spacing)
        self._put(key, due)

    def take(self, now: float) -> K | None:
        """Return a key that is due, the longest due first, or None."""
        self._forget_old(now)
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due or key in self._taken:
                continue
            del self._due[key]
            self._taken.add(key)
            self._last[key] = now
            self._recent.append((now, key))
            return key
        return None

    def finish(self, key: K, *, now: float, again: float | None = None) -> None:
        """It went well; look at it ``again`` in so many seconds at the latest."""
        self._failures.pop(key, None)
        self._release(key, None if again is None else now + again)

    def fail(self, key: K, *, now: float) -> float:
        """It failed; return in how many seconds it is tried again."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key])
        self._release(key, now + delay)
        return delay

    def next_due(self) -> float | None:
        """Return when :meth:`take` can next give a key, as far as is known now."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) == due and key not in self._taken:
                return due
            heapq.heappop(self._heap)
        return None

    def _put(self, key: K, due: float) -> None:
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        if key not in self._taken:
            self._push(key, due)

    def _push(self, key: K, due: float) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, key))

    def _release(self, key: K, due: float | None) -> None:
        self._taken.discard(key)
        if key in self._due:
            self._push(key, self._due[key])
        if due is not None:
            self._put(key, due)

    def _forget_old(self, now: float) -> None:
        while self._recent and self._recent[0][0] + self._spacing < now:
            time, key = self._recent.popleft()
            if self._last.get(key) == time:
                del self._last[key]


class WorkQueue(Generic[K]):
    """A :class:`Schedule` on the running loop's clock, for any number of waiting tasks."""

    def __init__(self, schedule: Schedule[K]) -> None:
        self._schedule = schedule
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    @property
    def ready(self) -> int:
        """How many keys wait for somebody to take them."""
        return self._schedule.ready(self._now())

    @property
    def oldest(self) -> float:
        """For how many seconds the key that waits longest has been due."""
        return self._schedule.oldest(self._now())

    def add(self, key: K, *, delay: float = 0.0, urgent: bool = False) -> None:
        """See :meth:`Schedule.add`."""
        self._schedule.add(key, now=self._now(), delay=delay, urgent=urgent)
        self._changed.set()

    async def take(self) -> K:
        """Wait for a key that is due."""
        while True:
            key = self._schedule.take(self._now())
            if key is not None:
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout_at(self._schedule.next_due()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def finish(self, key: K, *, again: float | None = None) -> None:
        """See :meth:`Schedule.finish`."""
        self._schedule.finish(key, now=self._now(), again=again)
        self._changed.set()

    def fail(self, key: K) -> float:
        """See :meth:`Schedule.fail`."""
        delay = self._schedule.fail(key, now=self._now())
        self._changed.set()
        return delay

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
