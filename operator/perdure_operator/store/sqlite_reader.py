"""Reads values back out of SQLite's tables.

Every method returns plain values and leaves no cursor open. Values that do not decode raise
msgspec's errors, which mean a damaged file to the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any, LiteralString

import msgspec

from perdure.protocol.events import HistoryEvent, ItemResult, decode_events
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import OpenActivity, RunRow, Timer, WaitingResult
from perdure_operator.store import sqlite_statements as sql
from perdure_operator.store.port import DueActivity, DueTimer, RunFilter

_decode_activity = msgspec.msgpack.Decoder(OpenActivity).decode
_decode_result = msgspec.msgpack.Decoder(ItemResult).decode


class SqliteReader:
    """The questions of the port, asked of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def get_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run."""
        return self._one_run(sql.GET_RUN, (run_id,))

    def find_run(self, namespace: str, workflow_id: str) -> RunRow | None:
        """Return the open run of a workflow id, or else its newest."""
        open_run = self._one_run(sql.FIND_OPEN_RUN, (namespace, workflow_id))
        return open_run or self._one_run(sql.FIND_NEWEST_RUN, (workflow_id, namespace))

    def list_runs(self, wanted: RunFilter) -> list[RunRow]:
        """Return a page of the runs that match, newest first."""
        conditions: list[LiteralString] = []
        values: list[object] = []

        for condition, value in (
            ("namespace = ?", wanted.namespace),
            ("status = ?", wanted.status and wanted.status.value),
            ("workflow_type = ?", wanted.workflow_type),
            ("workflow_id = ?", wanted.workflow_id),
            ("kind = ?", wanted.kind),
        ):
            if value:
                conditions.append(condition)
                values.append(value)
        if wanted.before is not None:
            conditions.append("(started, run_id) < (?, ?)")
            values.extend(wanted.before)

        return _runs(self._execute(sql.list_runs(conditions), (*values, wanted.limit)))

    def read_history(self, run_id: str, after: int, limit: int | None) -> list[HistoryEvent]:
        """Return a run's events after one, reading no more transitions than it takes."""
        events: list[HistoryEvent] = []
        with closing(self._execute(sql.READ_EVENTS, (run_id, after))) as transitions:
            while limit is None or len(events) < limit:
                found = transitions.fetchone()
                if found is None:
                    break
                events += [event for event in decode_events(found[0]) if event.id > after]
        return events[:limit]

    def read_activities(self, run_id: str) -> list[OpenActivity]:
        """Return a run's open activities."""
        rows = self._execute(sql.READ_ACTIVITIES, (run_id,)).fetchall()
        return [_decode_activity(data) for (data,) in rows]

    def read_items(self, run_id: str) -> list[WaitingResult]:
        """Return a run's waiting results."""
        rows = self._execute(sql.READ_ITEMS, (run_id,)).fetchall()
        return [WaitingResult(item, _decode_result(data)) for item, data in rows]

    def waking_activities(self, after: Millis, before: Millis, limit: int) -> list[DueActivity]:
        """Return activities by when they must be looked at."""
        window = {"after": after, "before": before, "limit": limit}
        return _activities(self._execute(sql.WAKING_ACTIVITIES, window))

    def started_activities(self) -> list[DueActivity]:
        """Return activities with a running attempt."""
        return _activities(self._execute(sql.STARTED_ACTIVITIES))

    def due_timers(self, after: Millis, before: Millis, limit: int) -> list[DueTimer]:
        """Return timers by when they are due."""
        window = {"after": after, "before": before, "limit": limit}
        rows = self._execute(sql.DUE_TIMERS, window).fetchall()
        return [
            DueTimer(run_id=run_id, timer=Timer(seq=seq, fires=fires))
            for run_id, seq, fires in rows
        ]

    def pending_runs(self) -> list[RunRow]:
        """Return runs whose code has something to be told."""
        return _runs(self._execute(sql.PENDING_RUNS))

    def identity(self) -> str:
        """Return which store this is."""
        (found,) = self._execute(sql.STORE_ID).fetchone()
        return str(found)

    def count_open_runs(self) -> dict[RunStatus, int]:
        """Return how many runs have each of the open statuses."""
        open_ = [status.value for status in RunStatus if status.is_open]
        rows = self._execute(sql.COUNT_OPEN_RUNS, open_).fetchall()
        return {RunStatus(status): number for status, number in rows}

    def watched_changes(self, cursor: int, limit: int) -> tuple[int, list[RunRow]]:
        """Return watched runs that changed after ``cursor``, and the cursor of the last."""
        rows = self._execute(sql.WATCHED_CHANGES, (cursor, limit)).fetchall()
        return (rows[-1][-1] if rows else cursor), _runs(row[:-1] for row in rows)

    def _one_run(self, statement: LiteralString, values: tuple[str, ...]) -> RunRow | None:
        runs = _runs(self._execute(statement, values).fetchall())
        return runs[0] if runs else None


def _runs(rows: Iterable[tuple[Any, ...]]) -> list[RunRow]:
    return [
        msgspec.convert(dict(zip(sql.RUN_COLUMNS, row, strict=True)), RunRow, strict=False)
        for row in rows
    ]


def _activities(rows: Iterable[tuple[str, bytes]]) -> list[DueActivity]:
    return [DueActivity(run_id=run_id, activity=_decode_activity(data)) for run_id, data in rows]
