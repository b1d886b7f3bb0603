"""Keeping every version for a while after the server has lost its store.

A server with an empty store says of each version that no run needs it, until the runs are there
again that are rebuilt from their checkpoints. What is written down of old versions must not be
gone by then. The server's having lost it shows in that nothing is declared any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from perdure.protocol.verbs import QueueDescription
from perdure_operator.model import WorkerPool

HELD_AFTER_LOSS = timedelta(minutes=10)
"""How long rebuilding may take."""

_REMEMBERED = 10_000
"""Pools; beyond it their statuses are asked again."""


class Holds:
    """Until when no version of a pool may be forgotten; in memory, by the pool's uid."""

    def __init__(self) -> None:
        self._was_declared: dict[str, bool] = {}
        self._until: dict[str, datetime] = {}

    def look(
        self, pool: WorkerPool, queue: QueueDescription | None, now: datetime
    ) -> timedelta | None:
        """Take what the server says now, and return for how long to keep every version."""
        uid = pool.metadata.uid
        if queue is not None:
            # Of what an operator before this one declared, the status tells.
            known = self._was_declared.get(uid, bool(pool.status.versions))
            if known and not queue.current:
                self._until[uid] = now + HELD_AFTER_LOSS
            if len(self._was_declared) > _REMEMBERED:
                self._was_declared.clear()
            self._was_declared[uid] = bool(queue.current)
        until = self._until.get(uid)
        if until is None:
            return None
        if until <= now:
            del self._until[uid]
            return None
        return until - now
