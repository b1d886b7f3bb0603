"""Group commit: transitions that are ready together share one transaction.

Whatever was submitted in one turn of the loop goes into one commit; while a commit is on its
way the next batch gathers. One transition that loses its compare-and-swap does not fail the
others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from perdure_operator.engine.transitions import Transition
from perdure_operator.server.metrics import Metrics
from perdure_operator.store.port import Outcome, Store, StoreError

log = logging.getLogger(__name__)

Done = Callable[[Outcome | StoreError], None]

MAX_BATCH = 500
"""Transitions in one transaction: bounds how long a commit holds up the loop."""


@dataclass(frozen=True, slots=True, eq=False)
class _Submission:
    transition: Transition
    done: Done
    is_void: Callable[[], bool]
    submitted: float


class Committer:
    """Writes transitions in the order submitted, and tells how each ended."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._waiting: list[_Submission] = []
        self._writer: asyncio.Task[None] | None = None

    def submit(
        self, transition: Transition, done: Done, *, is_void: Callable[[], bool] = lambda: False
    ) -> None:
        """Have ``transition`` written; ``done`` is called once its fate is known.

        Args:
            transition: What to write.
            done: Told how it ended.
            is_void: Asked just before: what was decided on something that was itself never
                written must not be written either.
        """
        self._waiting.append(_Submission(transition, done, is_void, perf_counter()))
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

    async def _commit(self, batch: list[_Submission]) -> None:
        void = [each for each in batch if each.is_void()]
        live = [each for each in batch if each not in void] if void else batch
        outcomes = await self._outcomes(live) if live else []
        for each, outcome in zip(live, outcomes, strict=True):
            _tell(each, outcome)
        for each in void:
            _tell(each, Outcome.CONFLICT)

    async def _outcomes(self, batch: list[_Submission]) -> Sequence[Outcome | StoreError]:
        began = perf_counter()
        try:
            outcomes = await self._store.commit([each.transition for each in batch])
        except StoreError as error:
            self._metrics.commit_failures.inc()
            return [error] * len(batch)
        except Exception as error:  # what one run wants to write cannot be written at all
            if len(batch) == 1:
                log.critical("run %s: %s", batch[0].transition.row.run_id, error, exc_info=True)
                return [StoreError(f"it cannot be written: {error}")]
            return [outcome for each in batch for outcome in await self._outcomes([each])]
        ended = perf_counter()
        self._metrics.observe_commit(ended - began, len(batch))
        for each in batch:
            self._metrics.append_seconds.observe(ended - each.submitted)
        return outcomes


def _tell(submission: _Submission, outcome: Outcome | StoreError) -> None:
    try:
        submission.done(outcome)
    except Exception:  # one run's trouble must not keep the others from their answers
        run_id = submission.transition.row.run_id
        log.critical("run %s: what follows failed", run_id, exc_info=True)
