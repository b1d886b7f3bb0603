"""Two work queues: one for runs, one for pools.

Five hundred Workflows applied at once keep the tasks that look at runs busy for a while; the pool
that is to get workers for them must not wait behind them all.
"""

from __future__ import annotations

from typing import Protocol

from perdure_operator.cluster import WORKER_POOLS
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.workqueue import Schedule, WorkQueue


class Sink(Protocol):
    """Where keys go."""

    def add(self, key: Key, *, delay: float = 0.0, urgent: bool = False) -> None:
        """See :meth:`perdure_operator.controllers.workqueue.Schedule.add`."""


class Lanes:
    """Puts each key into the queue of its kind."""

    def __init__(self) -> None:
        self.runs: WorkQueue[Key] = WorkQueue(Schedule())
        self.pools: WorkQueue[Key] = WorkQueue(Schedule())

    def __len__(self) -> int:
        return len(self.runs) + len(self.pools)

    @property
    def ready(self) -> int:
        """How many keys wait for somebody to take them."""
        return self.runs.ready + self.pools.ready

    def add(self, key: Key, *, delay: float = 0.0, urgent: bool = False) -> None:
        """Have an object looked at."""
        lane = self.pools if key.kind == WORKER_POOLS else self.runs
        lane.add(key, delay=delay, urgent=urgent)
