"""Group commit: transitions that are ready together share one transaction.

Whatever was submitted in one turn of the loop goes into one commit; while a commit is on its
way the next batch gathers. One transition that loses its compare-and-swap does not fail the
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter

from perdure_operator.engine.transitions import Transition
from perdure_operator.server.metrics import Metrics
from perdure_operator.store.port import Outcome, Store, StoreError

Done = Callable[[Outcome | StoreError], None]

MAX_BATCH = 500
"""Transitions in one transaction: bounds how long a commit holds up the loop."""


class Committer:
    """Writes transitions in the order submitted, and tells how each ended."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._waiting: list[tuple[Transition, Done]] = []
        self._writer: asyncio.Task[None] | None = None

    def submit(self, transition: Transition, done: Done) -> None:
        """Have ``transition`` written; ``done`` is called once its fate is known."""
        self._waiting.append((transition, done))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def flush(self) -> None:
        """Wait until everything submitted so far has been written or has failed."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._commit(batch)
        finally:
            self._writer = None

    async def _commit(self, batch: list[tuple[Transition, Done]]) -> None:
        began = perf_counter()
        outcomes: Sequence[Outcome | StoreError]
        try:
            outcomes = await self._store.commit([transition for transition, _ in batch])
        except StoreError as error:
            self._metrics.commit_failures.inc()
            outcomes = [error] * len(batch)
        self._metrics.observe_commit(perf_counter() - began, len(batch))
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)
