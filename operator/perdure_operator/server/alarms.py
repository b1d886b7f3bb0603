"""Waking runs when their time has come.

Rows in the store say what is due when; only what is due within the next minute is in memory,
in one heap with one loop timer. An alarm may be stale (the timer was cancelled, the attempt
ended): whoever is woken looks at the run and knows.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from enum import IntEnum

from perdure.protocol.payloads import Millis
from perdure_operator.store.port import Store, StoreError

log = logging.getLogger(__name__)

HORIZON: Millis = 60_000
PAGE = 5_000
STORE_RETRY: Millis = 1_000


class Alarm(IntEnum):
    """Whom to wake."""

    TIMER = 1
    """A timer of a run, its run timeout included."""
    ACTIVITY = 2
    """An activity: it becomes visible, or a timeout passes."""
    TASK = 3
    """A run whose code failed: it is tried again."""


Ring = Callable[[Alarm, str, int, Millis], Awaitable[None]]


class Alarms:
    """The alarms of one server."""

    def __init__(self, store: Store, now: Callable[[], Millis]) -> None:
        self._store = store
        self._now = now
        self._heap: list[tuple[Millis, Alarm, str, int]] = []
        self._known: set[tuple[Millis, Alarm, str, int]] = set()
        """What is in the heap: the same alarm is not in it twice."""
        self._horizon: Millis = -1
        """Everything due until then is in the heap."""
        self._timer: asyncio.TimerHandle | None = None
        self._ringing: asyncio.Task[None] | None = None
        self.ring: Ring | None = None

    async def start(self) -> None:
        """Begin with everything that is due, however long ago."""
        await self._look_ahead()
        self._arm()

    def set(self, due: Millis, alarm: Alarm, run_id: str, seq: int = 0) -> bool:
        """Wake somebody at ``due``; return whether it is seen to.

        What lies far ahead is not: its row in the store must say when it is due.
        """
        if due > self._horizon and alarm is not Alarm.TASK:
            return False
        entry = (due, alarm, run_id, seq)
        if entry not in self._known:
            self._known.add(entry)
            heapq.heappush(self._heap, entry)
            if self._heap[0] == entry:
                self._arm()
        return True

    async def close(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._ringing is not None:
            self._ringing.cancel()
            await asyncio.gather(self._ringing, return_exceptions=True)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        look_ahead = self._horizon - HORIZON // 2
        due = min(self._heap[0][0], look_ahead) if self._heap else look_ahead
        delay = max(0, due - self._now()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        if self._ringing is None:
            self._ringing = asyncio.get_running_loop().create_task(self._ring_due())

    async def _ring_due(self) -> None:
        assert self.ring is not None
        try:
            if self._now() >= self._horizon - HORIZON // 2:
                await self._look_ahead()
            while self._heap and self._heap[0][0] <= self._now():
                due, alarm, run_id, seq = entry = heapq.heappop(self._heap)
                self._known.discard(entry)
                try:
                    await self.ring(alarm, run_id, seq, due)
                except StoreError:
                    self._put([entry])
                    raise
        except StoreError as error:
            log.warning("timers wait for the store: %s", error)
            await asyncio.sleep(STORE_RETRY / 1000)
        finally:
            self._ringing = None
            self._arm()

    async def _look_ahead(self) -> None:
        """Read what is due until a new horizon."""
        after, before = self._horizon, self._now() + HORIZON
        found: list[tuple[Millis, Alarm, str, int]] = []
        found += await self._timers(after, before)
        found += await self._activities(after, before)
        self._horizon = before
        self._put(found)

    def _put(self, found: list[tuple[Millis, Alarm, str, int]]) -> None:
        self._heap += [each for each in found if each not in self._known]
        self._known.update(found)
        heapq.heapify(self._heap)

    async def _timers(self, after: Millis, before: Millis) -> list[tuple[Millis, Alarm, str, int]]:
        due = await self._store.due_timers(after=after, before=before, limit=2**31 - 1)
        return [(each.timer.fires, Alarm.TIMER, each.run_id, each.timer.seq) for each in due]

    async def _activities(
        self, after: Millis, before: Millis
    ) -> list[tuple[Millis, Alarm, str, int]]:
        due = await self._store.waking_activities(after=after, before=before, limit=2**31 - 1)
        return [(e.activity.wake, Alarm.ACTIVITY, e.run_id, e.activity.seq) for e in due]
