"""What the server asks of a store.

The one writing method is :meth:`Store.commit`: many runs' transitions in one durable
transaction. Everything else reads. Methods are coroutines for stores that are reached over a
network; SQLite answers on the spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from perdure.protocol.events import HistoryEvent
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import (
    OpenActivity,
    RunRow,
    Timer,
    Transition,
    WaitingResult,
)


class StoreError(Exception):
    """The store could not do what was asked. Nothing of the failed call was recorded."""


class StoreUnavailableError(StoreError):
    """It may work later: the disk is full, the database is locked or away."""


class StoreCorruptError(StoreError):
    """The database is damaged or not ours. Nothing is written to it any more."""


class Outcome(Enum):
    """How one transition of a commit ended."""

    COMMITTED = "committed"
    CONFLICT = "conflict"
    """The run was not at the expected version (or did not exist): nothing of it was written."""
    ALREADY_OPEN = "already open"
    """It would create a run of a workflow id that has an open one: nothing of it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list, newest first; an empty field means any."""

    namespace: str = ""
    status: RunStatus | None = None
    workflow_type: str = ""
    workflow_id: str = ""
    kind: str = ""
    limit: int = 100
    before: tuple[Millis, str] | None = None
    """Keyset page: (started, run_id) of the last row of the page before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimer:
    """A timer row with its run."""

    run_id: str
    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class DueActivity:
    """An open activity with its run."""

    run_id: str
    activity: OpenActivity


class Store(Protocol):
    """The port. Rows are values: changing one changes nothing in the store."""

    async def open(self) -> None:
        """Make the store ready, migrating it to this version's schema.

        Raises:
            StoreCorruptError: the database is damaged, not ours, or of a newer version.
            StoreUnavailableError: it cannot be reached or is in use by another server.
        """

    async def close(self) -> None:
        """Let go of it. May be called twice."""

    async def identity(self) -> str:
        """Return which store this is: an id made with it, which outlives everything but it."""

    async def commit(self, transitions: Sequence[Transition]) -> list[Outcome]:
        """Write transitions in the given order, in one durable transaction.

        When this returns, what is ``COMMITTED`` is on disk. A transition that loses does not
        fail the others, but later ones of the same run in this commit lose too: what was decided
        on a loser could fit the winner's version. For the same reason nothing decided on a
        transition may be committed later, once that has lost.

        What a run was started as (namespace, workflow id, kind, type, queue, start, request)
        is written once. Rows are dropped before others are put.

        Raises:
            StoreUnavailableError: nothing at all was written.
            StoreCorruptError: nothing at all was written.
        """

    async def get_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run."""

    async def find_run(self, namespace: str, workflow_id: str) -> RunRow | None:
        """Return the newest run of a workflow id: the open one if there is one."""

    async def list_runs(self, wanted: RunFilter) -> list[RunRow]:
        """Return the runs that match, newest first (by started, then run id), at most ``limit``."""

    async def read_history(
        self, run_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[HistoryEvent]:
        """Return the run's events with an id above ``after``, in order, at most ``limit``."""

    async def read_activities(self, run_id: str) -> list[OpenActivity]:
        """Return the run's open activities, by seq."""

    async def read_items(self, run_id: str) -> list[WaitingResult]:
        """Return the run's results that wait to be moved into history, by number."""

    async def waking_activities(
        self, *, after: Millis, before: Millis, limit: int
    ) -> list[DueActivity]:
        """Return open activities with ``after < wake <= before``, earliest first.

        About ``limit``: all that share the last one's time come with it, so the next page may
        begin after that time.
        """

    async def started_activities(self) -> list[DueActivity]:
        """Return every open activity with a running attempt: whose worker may be gone."""

    async def due_timers(self, *, after: Millis, before: Millis, limit: int) -> list[DueTimer]:
        """Return timers with ``after < fires <= before``, earliest first.

        About ``limit``, as for :meth:`waking_activities`.
        """

    async def pending_runs(self) -> list[RunRow]:
        """Return every open run with ``task_pending``."""

    async def count_open_runs(self) -> dict[RunStatus, int]:
        """Return how many open runs there are, by status; one that no run has may be missing."""

    async def watched_changes(self, *, cursor: int, limit: int) -> tuple[int, list[RunRow]]:
        """Return watched runs changed after ``cursor``, each once, oldest change first.

        The cursor counts commits of watched runs, only grows, and outlives restarts. The one
        returned is that of the last row given, or ``cursor`` itself when there is none.
        """
