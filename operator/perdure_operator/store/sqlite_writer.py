"""Writes transitions into SQLite's tables, inside one transaction of the caller's.

The statement with the compare-and-swap comes first, so a transition that loses has written
nothing. Most transitions change nothing that is indexed; the writer remembers what it wrote of
each run last and then uses a statement that leaves the indexes' pages alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perdure.protocol.events import encode_events
from perdure.protocol.payloads import Millis
from perdure_operator.engine.transitions import RunRow, Transition
from perdure_operator.store import sqlite_statements as sql
from perdure_operator.store.port import Outcome, QueueVersions, write_in_turn

_encode = msgspec.msgpack.Encoder().encode

_Indexed = tuple[str, Millis | None, bool, bool, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a run."""

    run: int
    indexed: _Indexed


class SqliteWriter:
    """Writes batches; ``forget`` must be called when a batch's transaction is rolled back.

    Args:
        connection: where to; its transactions are the caller's business.
        remembered: of how many runs to remember what was written last.
    """

    def __init__(self, connection: sqlite3.Connection, *, remembered: int = 20_000) -> None:
        self._remembered = remembered
        cursor = connection.cursor()
        self._execute = cursor.execute
        self._execute_many = cursor.executemany
        self._known: dict[str, _Known] = {}
        self._change: int | None = None

    def write(self, transitions: Sequence[Transition]) -> list[Outcome]:
        """Write each transition that wins, and say how each ended."""
        return write_in_turn(transitions, self._write)

    def write_versions(self, versions: QueueVersions) -> None:
        """Write which versions a task queue has, in place of those that it had."""
        queue = (versions.namespace, versions.task_queue)
        self._execute(sql.DROP_VERSIONS, queue)
        declared = (versions.current, *versions.kept) if versions.current else ()
        for place, build_id in enumerate(declared):
            self._execute(sql.PUT_VERSION, (*queue, place, build_id))

    def forget(self) -> None:
        """Drop what is remembered: it may tell of what was never committed."""
        self._known.clear()
        self._change = None

    def _write(self, transition: Transition) -> Outcome:
        try:
            run = self._create(transition) if transition.expected == 0 else self._move(transition)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            return self._explain(transition)
        if run is None:
            return Outcome.CONFLICT
        self._write_rows(run, transition)
        return Outcome.COMMITTED

    def _create(self, transition: Transition) -> int:
        row = transition.row
        change = self._next_change() if row.watched else None
        values = [getattr(row, column) for column in sql.RUN_COLUMNS]
        run = self._execute(sql.CREATE_RUN, (*values, change)).lastrowid
        assert run is not None
        self._change = change or self._change
        self._remember(run, row)
        return run

    def _move(self, transition: Transition) -> int | None:
        row = transition.row
        known = self._known.get(row.run_id) or self._look_up(row.run_id)
        if known is None:
            return None

        head = (row.version, row.last_event, row.history_bytes, row.digest, row.current_step)
        where = (known.run, transition.expected)
        indexed = _indexed(row)
        if indexed == known.indexed and not row.watched:
            return known.run if self._execute(sql.ADVANCE_RUN, head + where).rowcount else None

        change = self._next_change() if row.watched else None
        if not self._execute(sql.CHANGE_RUN, (*head, *indexed, change, *where)).rowcount:
            return None
        self._change = change or self._change
        self._remember(known.run, row)
        return known.run

    def _write_rows(self, run: int, transition: Transition) -> None:
        if transition.events:
            events = transition.events
            self._execute(sql.APPEND_EVENTS, (run, events[-1].id, encode_events(events)))
        for seq in transition.drop_activities:
            self._execute(sql.DROP_ACTIVITY, (run, seq))
        for seq in transition.drop_timers:
            self._execute(sql.DROP_TIMER, (run, seq))
        if transition.drop_items:
            dropped = [(run, item) for item in transition.drop_items]
            self._execute_many(sql.DROP_ITEM, dropped)
        for activity in transition.put_activities:
            data = _encode(activity)
            row = (run, activity.seq, activity.wake, activity.is_started, data)
            self._execute(sql.PUT_ACTIVITY, row)
        for timer in transition.put_timers:
            self._execute(sql.PUT_TIMER, (run, timer.seq, timer.fires))
        for each in transition.put_items:
            self._execute(sql.PUT_ITEM, (run, each.item, _encode(each.result)))

    def _explain(self, transition: Transition) -> Outcome:
        """Say why a unique index refused: the run itself is there, or another open one."""
        found = self._execute(sql.VERSION_OF_RUN, (transition.row.run_id,)).fetchone()
        version = 0 if found is None else found[0]
        return Outcome.ALREADY_OPEN if version == transition.expected else Outcome.CONFLICT

    def _look_up(self, run_id: str) -> _Known | None:
        found = self._execute(sql.KNOW_RUN, (run_id,)).fetchone()
        if found is None:
            return None
        run, status, closed, task_pending, watched, build_id = found
        return _Known(run, (status, closed, bool(task_pending), bool(watched), build_id))

    def _remember(self, run: int, row: RunRow) -> None:
        if row.closed is not None:
            self._known.pop(row.run_id, None)
            return
        if row.run_id not in self._known and len(self._known) >= self._remembered:
            del self._known[next(iter(self._known))]
        self._known[row.run_id] = _Known(run, _indexed(row))

    def _next_change(self) -> int:
        if self._change is None:
            (last,) = self._execute(sql.LAST_CHANGE).fetchone()
            self._change = last or 0
        return self._change + 1


def _indexed(row: RunRow) -> _Indexed:
    return (row.status.value, row.closed, row.task_pending, row.watched, row.build_id)
