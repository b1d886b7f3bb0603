"""What the server asks of a store.

Runs are written by one method, :meth:`Store.commit`: many runs' transitions in one durable
transaction. Which versions of the code serve a task queue is written by
:meth:`Store.declare_versions`. Everything else reads. Methods are coroutines for stores that are
reached over a network; SQLite answers on the spot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def write_in_turn(
    transitions: Sequence[Transition], write: Callable[[Transition], Outcome]
) -> list[Outcome]:
    """Write each transition that wins, and say how each ended.

    After one of a run has lost, its later ones lose as well: what was decided on a transition
    that lost could fit the winner's version.
    """
    outcomes: list[Outcome] = []
    losers: set[str] = set()
    for transition in transitions:
        run_id = transition.row.run_id
        outcome = Outcome.CONFLICT if run_id in losers else write(transition)
        if outcome is not Outcome.COMMITTED:
            losers.add(run_id)
        outcomes.append(outcome)
    return outcomes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueVersions:
    """Which versions of code there are for a task queue, as somebody declared it."""

    namespace: str
    task_queue: str
    current: str = ""
    """The one for new runs; empty: nothing is declared."""
    kept: tuple[str, ...] = ()
    """Older ones that still serve the runs pinned to them."""


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

    async def count_pinned_runs(self) -> dict[tuple[str, str, str], int]:
        """Return how many open runs are pinned, by namespace, task queue and build id.

        It costs a pass over them: the server asks when it starts, and counts from then on.
        """

    async def declare_versions(self, versions: QueueVersions) -> None:
        """Have these versions of a task queue instead of those before, durably.

        Raises:
            StoreUnavailableError: nothing was written.
            StoreCorruptError: nothing was written.
        """

    async def declared_versions(self) -> list[QueueVersions]:
        """Return what is declared, by namespace and task queue; of a queue without, nothing."""

    async def watched_changes(self, *, cursor: int, limit: int) -> tuple[int, list[RunRow]]:
        """Return watched runs changed after ``cursor``, each once, oldest change first.

        The cursor counts commits of watched runs, only grows, and outlives restarts. The one
        returned is that of the last row given, or ``cursor`` itself when there is none.
        """
