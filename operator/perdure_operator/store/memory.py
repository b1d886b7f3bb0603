"""Runs in memory, with the semantics of a durable store: for tests.

It is held to the same contract suite as the others. What was committed outlives ``close`` and
``open``, but not the object.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TypeVar

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
from perdure_operator.store.port import (
    DueActivity,
    DueTimer,
    Outcome,
    QueueVersions,
    RunFilter,
    StoreUnavailableError,
    write_in_turn,
)

_Due = TypeVar("_Due")


@dataclass(slots=True)
class _Run:
    """All there is of one run."""

    row: RunRow
    change: int = 0
    """The number of its last commit while watched; 0 when there was none."""
    events: list[HistoryEvent] = field(default_factory=list)
    activities: dict[int, OpenActivity] = field(default_factory=dict)
    timers: dict[int, Timer] = field(default_factory=dict)
    items: dict[int, WaitingResult] = field(default_factory=dict)


class MemoryStore:
    """A store that forgets when it is dropped."""

    def __init__(self) -> None:
        self._is_open = False
        self._identity = token_hex(16)
        self._change = 0
        self._runs: dict[str, _Run] = {}
        self._open_runs: dict[tuple[str, str], str] = {}
        self._versions: dict[tuple[str, str], QueueVersions] = {}

    async def open(self) -> None:
        """Make the store ready."""
        self._is_open = True

    async def close(self) -> None:
        """Refuse calls until it is opened again."""
        self._is_open = False

    async def identity(self) -> str:
        """Return which store this is."""
        self._use()
        return self._identity

    async def commit(self, transitions: Sequence[Transition]) -> list[Outcome]:
        """Write transitions in the given order; see :meth:`Store.commit`."""
        self._use()
        return write_in_turn(transitions, self._write)

    async def get_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run."""
        run = self._use().get(run_id)
        return run.row if run else None

    async def find_run(self, namespace: str, workflow_id: str) -> RunRow | None:
        """Return the newest run of a workflow id: the open one if there is one."""
        runs = self._use()
        open_run = self._open_runs.get((namespace, workflow_id))
        if open_run is not None:
            return runs[open_run].row
        wanted = RunFilter(namespace=namespace, workflow_id=workflow_id, limit=1)
        return next(iter(await self.list_runs(wanted)), None)

    async def list_runs(self, wanted: RunFilter) -> list[RunRow]:
        """Return the runs that match, newest first."""
        rows = [run.row for run in self._use().values() if _matches(run.row, wanted)]
        rows.sort(key=lambda row: (row.started, row.run_id), reverse=True)
        return rows[: wanted.limit]

    async def read_history(
        self, run_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[HistoryEvent]:
        """Return the run's events with an id above ``after``, in order."""
        run = self._use().get(run_id)
        if run is None:
            return []
        first = bisect_right(run.events, after, key=lambda event: event.id)
        return run.events[first:][:limit]

    async def read_activities(self, run_id: str) -> list[OpenActivity]:
        """Return the run's open activities, by seq."""
        run = self._use().get(run_id)
        return [run.activities[seq] for seq in sorted(run.activities)] if run else []

    async def read_items(self, run_id: str) -> list[WaitingResult]:
        """Return the run's waiting results, by number."""
        run = self._use().get(run_id)
        return [run.items[item] for item in sorted(run.items)] if run else []

    async def waking_activities(
        self, *, after: Millis, before: Millis, limit: int
    ) -> list[DueActivity]:
        """Return open activities with ``after < wake <= before``, earliest first."""
        due = [(found.activity.wake, found) for found in self._activities()]
        return _window(due, after, before, limit)

    async def started_activities(self) -> list[DueActivity]:
        """Return every open activity with a running attempt."""
        return [found for found in self._activities() if found.activity.is_started]

    async def due_timers(self, *, after: Millis, before: Millis, limit: int) -> list[DueTimer]:
        """Return timers with ``after < fires <= before``, earliest first."""
        due = [
            (run.timers[seq].fires, DueTimer(run_id=run_id, timer=run.timers[seq]))
            for run_id, run in self._use().items()
            for seq in sorted(run.timers)
        ]
        return _window(due, after, before, limit)

    async def pending_runs(self) -> list[RunRow]:
        """Return every open run with ``task_pending``."""
        rows = [run.row for run in self._use().values()]
        return [row for row in rows if row.task_pending and row.closed is None]

    async def count_open_runs(self) -> dict[RunStatus, int]:
        """Return how many open runs there are, by status."""
        statuses = (run.row.status for run in self._use().values())
        return Counter(status for status in statuses if status.is_open)

    async def count_pinned_runs(self) -> dict[tuple[str, str, str], int]:
        """Return how many open runs are pinned, by namespace, task queue and build id."""
        rows = (run.row for run in self._use().values())
        return Counter(
            (row.namespace, row.task_queue, row.build_id)
            for row in rows
            if row.build_id and row.closed is None
        )

    async def declare_versions(self, versions: QueueVersions) -> None:
        """Have these versions of a task queue instead of those before."""
        self._use()
        key = (versions.namespace, versions.task_queue)
        self._versions.pop(key, None)
        if versions.current:
            self._versions[key] = versions

    async def declared_versions(self) -> list[QueueVersions]:
        """Return what is declared, by namespace and task queue."""
        self._use()
        return [self._versions[key] for key in sorted(self._versions)]

    async def watched_changes(self, *, cursor: int, limit: int) -> tuple[int, list[RunRow]]:
        """Return watched runs changed after ``cursor``, oldest change first."""
        runs = self._use().values()
        changed = [run for run in runs if run.row.watched and run.change > cursor]
        changed = sorted(changed, key=lambda run: run.change)[:limit]
        return (changed[-1].change if changed else cursor), [run.row for run in changed]

    def _use(self) -> dict[str, _Run]:
        if not self._is_open:
            raise StoreUnavailableError("the store is not open")
        return self._runs

    def _activities(self) -> list[DueActivity]:
        return [
            DueActivity(run_id=run_id, activity=run.activities[seq])
            for run_id, run in self._use().items()
            for seq in sorted(run.activities)
        ]

    def _write(self, transition: Transition) -> Outcome:
        row = transition.row
        run = self._runs.get(row.run_id)
        if (run.row.version if run else 0) != transition.expected:
            return Outcome.CONFLICT
        if run is not None and _identity(run.row) != _identity(row):
            raise ValueError(f"run {row.run_id} is not what it was started as: {row} != {run.row}")
        key = (row.namespace, row.workflow_id)
        if row.closed is None:
            if self._open_runs.setdefault(key, row.run_id) != row.run_id:
                return Outcome.ALREADY_OPEN
        elif self._open_runs.get(key) == row.run_id:
            del self._open_runs[key]

        if run is None:
            run = self._runs[row.run_id] = _Run(row)
        run.row = row
        if row.watched:
            self._change += 1
            run.change = self._change
        _write_rows(run, transition)
        return Outcome.COMMITTED


def _identity(row: RunRow) -> tuple[object, ...]:
    """Return what never changes of a run; durable stores write it once and never compare it."""
    kind = (row.kind, row.workflow_type, row.task_queue)
    return (row.namespace, row.workflow_id, *kind, row.started, row.request_id)


def _write_rows(run: _Run, transition: Transition) -> None:
    run.events += transition.events
    for seq in transition.drop_activities:
        run.activities.pop(seq, None)
    for seq in transition.drop_timers:
        run.timers.pop(seq, None)
    for item in transition.drop_items:
        run.items.pop(item, None)
    run.items |= {each.item: each for each in transition.put_items}
    run.activities |= {activity.seq: activity for activity in transition.put_activities}
    run.timers |= {timer.seq: timer for timer in transition.put_timers}


def _matches(row: RunRow, wanted: RunFilter) -> bool:
    pairs = (
        (wanted.namespace, row.namespace),
        (wanted.status, row.status),
        (wanted.workflow_type, row.workflow_type),
        (wanted.workflow_id, row.workflow_id),
        (wanted.kind, row.kind),
    )
    if any(want and want != found for want, found in pairs):
        return False
    return wanted.before is None or (row.started, row.run_id) < wanted.before


def _window(
    due: list[tuple[Millis, _Due]], after: Millis, before: Millis, limit: int
) -> list[_Due]:
    """Return what is due in a window, with all that share the last one's time."""
    due = sorted(
        ((when, found) for when, found in due if after < when <= before),
        key=lambda pair: pair[0],
    )
    last = due[limit - 1][0] if len(due) >= limit else before
    return [found for when, found in due if when <= last]
