"""Runs in one SQLite file, for one server: the default store.

Every call runs on the caller's thread and returns when it is done: a commit blocks for one sync
of the disk, and what comes meanwhile makes the next batch
(docs/decisions/0002-sqlite-commits-on-the-loop.md). The file is looked after by
:mod:`.sqlite_database`, written by :mod:`.sqlite_writer` and read by :mod:`.sqlite_reader`; all
SQL is in :mod:`.sqlite_statements`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perdure.protocol.events import HistoryEvent
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import (
    OpenActivity,
    RunRow,
    Transition,
    WaitingResult,
)
from perdure_operator.store.port import (
    DueActivity,
    DueTimer,
    Outcome,
    RunFilter,
    StoreCorruptError,
    StoreUnavailableError,
)
from perdure_operator.store.sqlite_database import connect, inspect, size_of, wal_of
from perdure_operator.store.sqlite_errors import translate
from perdure_operator.store.sqlite_lock import ServerLock
from perdure_operator.store.sqlite_reader import SqliteReader
from perdure_operator.store.sqlite_writer import SqliteWriter


@dataclass(frozen=True, slots=True)
class _Opened:
    """The database while it is open."""

    connection: sqlite3.Connection
    writer: SqliteWriter
    reader: SqliteReader


class SqliteStore:
    """A store in the file at ``path``.

    Args:
        path: the database; it and its folder are made when they are missing.
        patience: seconds that ``open`` waits for another server to let go of the file.
    """

    def __init__(self, path: Path, *, patience: float = 5.0) -> None:
        self._path = path.absolute()
        self._patience = patience
        self._lock = ServerLock(self._path)
        self._opened: _Opened | None = None
        self._damage = ""

    async def open(self) -> None:
        """Make the store ready; see :meth:`Store.open`."""
        if self._opened is not None:
            return
        await self._lock.acquire(patience=self._patience)
        try:
            with self._translated():
                inspect(self._path)
                connection = connect(self._path, patience=self._patience)
            self._opened = _Opened(connection, SqliteWriter(connection), SqliteReader(connection))
        except BaseException:
            self._lock.release()
            raise

    async def close(self) -> None:
        """Let go of the file. May be called twice."""
        opened, self._opened = self._opened, None
        try:
            if opened is not None:
                with self._translated():
                    opened.connection.close()
        finally:
            self._lock.release()

    async def commit(self, transitions: Sequence[Transition]) -> list[Outcome]:
        """Write transitions in one durable transaction; see :meth:`Store.commit`."""
        if self._damage:
            raise StoreCorruptError(self._damage)
        opened = self._use()
        if not transitions:
            return []

        try:
            return _write(opened, transitions)
        except sqlite3.Error as error:
            self._raise_translated(error)
            raise

    async def get_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run."""
        with self._translated():
            return self._use().reader.get_run(run_id)

    async def find_run(self, namespace: str, workflow_id: str) -> RunRow | None:
        """Return the newest run of a workflow id: the open one if there is one."""
        with self._translated():
            return self._use().reader.find_run(namespace, workflow_id)

    async def list_runs(self, wanted: RunFilter) -> list[RunRow]:
        """Return the runs that match, newest first."""
        with self._translated():
            return self._use().reader.list_runs(wanted)

    async def read_history(
        self, run_id: str, *, after: int = 0, limit: int | None = None
    ) -> list[HistoryEvent]:
        """Return the run's events with an id above ``after``, in order."""
        with self._translated():
            return self._use().reader.read_history(run_id, after, limit)

    async def read_activities(self, run_id: str) -> list[OpenActivity]:
        """Return the run's open activities, by seq."""
        with self._translated():
            return self._use().reader.read_activities(run_id)

    async def read_items(self, run_id: str) -> list[WaitingResult]:
        """Return the run's waiting results, by number."""
        with self._translated():
            return self._use().reader.read_items(run_id)

    async def waking_activities(
        self, *, after: Millis, before: Millis, limit: int
    ) -> list[DueActivity]:
        """Return open activities with ``after < wake <= before``, earliest first."""
        with self._translated():
            return self._use().reader.waking_activities(after, before, limit)

    async def started_activities(self) -> list[DueActivity]:
        """Return every open activity with a running attempt."""
        with self._translated():
            return self._use().reader.started_activities()

    async def due_timers(self, *, after: Millis, before: Millis, limit: int) -> list[DueTimer]:
        """Return timers with ``after < fires <= before``, earliest first."""
        with self._translated():
            return self._use().reader.due_timers(after, before, limit)

    async def pending_runs(self) -> list[RunRow]:
        """Return every open run with ``task_pending``."""
        with self._translated():
            return self._use().reader.pending_runs()

    async def identity(self) -> str:
        """Return which store this is."""
        with self._translated():
            return self._use().reader.identity()

    async def count_open_runs(self) -> dict[RunStatus, int]:
        """Return how many open runs there are, by status."""
        with self._translated():
            return self._use().reader.count_open_runs()

    async def watched_changes(self, *, cursor: int, limit: int) -> tuple[int, list[RunRow]]:
        """Return watched runs changed after ``cursor``, oldest change first."""
        with self._translated():
            return self._use().reader.watched_changes(cursor, limit)

    def stats(self) -> dict[str, int]:
        """Return the sizes of the files, in bytes."""
        return {
            "database_bytes": size_of(self._path),
            "wal_bytes": size_of(wal_of(self._path)),
        }

    def _use(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailableError(f"the database {self._path} is not open")
        return self._opened

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the port's errors for SQLite's, and remember damage: no commit after it."""
        try:
            yield
        except (sqlite3.Error, msgspec.DecodeError) as error:
            self._raise_translated(error)
            raise

    def _raise_translated(self, error: sqlite3.Error | msgspec.DecodeError) -> None:
        meant = translate(error, self._path)
        if isinstance(meant, StoreCorruptError):
            self._damage = str(meant)
        if meant is not None:
            raise meant from error


def _write(opened: _Opened, transitions: Sequence[Transition]) -> list[Outcome]:
    """Write a batch in a transaction of its own, or nothing of it."""
    execute = opened.connection.execute
    try:
        execute("BEGIN IMMEDIATE")
        outcomes = opened.writer.write(transitions)
        execute("COMMIT")
    except BaseException:
        opened.writer.forget()
        # The error that made it fail is the one to tell.
        with suppress(sqlite3.Error):
            if opened.connection.in_transaction:
                execute("ROLLBACK")
        raise
    return outcomes
