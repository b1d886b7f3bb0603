"""What the writer remembers of runs never changes what it writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from perdure_operator.engine.transitions import Transition
from perdure_operator.store.port import Outcome
from perdure_operator.store.sqlite_database import migrations
from perdure_operator.store.sqlite_reader import SqliteReader
from perdure_operator.store.sqlite_writer import SqliteWriter
from support.transitions import finish, signal, start


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in migrations():
            connection.executescript(script)
        yield connection


def write(writer: SqliteWriter, *transitions: Transition) -> None:
    assert writer.write(transitions) == [Outcome.COMMITTED] * len(transitions)


@pytest.mark.parametrize("remembered", [1, 2, 100])
def test_runs_that_were_forgotten_move_on_like_the_others(
    tables: sqlite3.Connection, remembered: int
) -> None:
    writer = SqliteWriter(tables, remembered=remembered)
    latest = [start(f"w{number}") for number in range(4)]
    write(writer, *latest)

    for change in ({}, {"task_pending": True}, {}, {"task_pending": False}, {"watched": True}):
        latest = [signal(before.row, **change) for before in latest]
        write(writer, *latest)
    write(writer, *(ends := [finish(before.row) for before in latest]))

    reader = SqliteReader(tables)
    assert [reader.get_run(end.row.run_id) for end in ends] == [end.row for end in ends]
    assert len(reader.read_history(ends[0].row.run_id, 0, None)) == 7


def test_what_was_rolled_back_is_forgotten(tables: sqlite3.Connection) -> None:
    writer = SqliteWriter(tables)
    made = start()
    write(writer, made)
    moved = signal(made.row, task_pending=True)
    watched = start("other", watched=True)

    tables.execute("BEGIN")
    write(writer, moved, watched)
    tables.execute("ROLLBACK")
    writer.forget()
    write(writer, moved, watched)

    reader = SqliteReader(tables)
    assert reader.get_run(made.row.run_id) == moved.row
    assert reader.pending_runs() == [moved.row]
    assert reader.watched_changes(0, 9) == (1, [watched.row])


def test_a_step_leaves_the_pages_of_the_indexes_alone(tables: sqlite3.Connection) -> None:
    """One commit of a step costs three pages: the run, its events, their index."""
    writer = SqliteWriter(tables)
    write(writer, made := start(task_pending=True))
    statements: list[str] = []
    tables.set_trace_callback(statements.append)

    write(writer, signal(made.row, current_step="x"))

    tables.set_trace_callback(None)
    assert [statement.split(" ")[0] for statement in statements] == ["UPDATE", "INSERT"]
    assert "task_pending" not in statements[0]


def test_events_that_are_there_already_are_a_mistake_that_is_told(
    tables: sqlite3.Connection,
) -> None:
    writer = SqliteWriter(tables)
    write(writer, made := start())
    wrong = signal(made.row)
    wrong = Transition(expected=1, row=wrong.row, events=made.events)

    with pytest.raises(sqlite3.IntegrityError, match=r"events\.last"):
        writer.write([wrong])
