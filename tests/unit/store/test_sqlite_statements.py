"""The statements fit the tables: each is used, each is planned over an index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure_operator.engine.transitions import RunRow
from perdure_operator.store import sqlite_statements as sql
from perdure_operator.store.sqlite_database import migrations

STATEMENTS = {name: text for name, text in vars(sql).items() if re.fullmatch("[A-Z][A-Z_]+", name)}
del STATEMENTS["RUN_COLUMNS"]
SCANS = {"STARTED_ACTIVITIES", "PENDING_RUNS", "LAST_CHANGE", "STORE_ID"}
"""These read a whole table or a whole partial index, once after a start."""


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in migrations():
            connection.executescript(script)
        yield connection


def plan(tables: sqlite3.Connection, statement: str) -> str:
    named = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
    values = named or [1] * statement.count("?")
    return " | ".join(row[3] for row in tables.execute("EXPLAIN QUERY PLAN " + statement, values))


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_used(name: str) -> None:
    folder = Path(sql.__file__).parent
    users = [folder / "sqlite_writer.py", folder / "sqlite_reader.py"]

    assert any(f"sql.{name}" in user.read_text() for user in users)


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_finds_its_rows_by_an_index(tables: sqlite3.Connection, name: str) -> None:
    found = plan(tables, STATEMENTS[name])

    assert name in SCANS or "SCAN" not in found
    assert "TEMP B-TREE" not in found or name in {"WAKING_ACTIVITIES", "DUE_TIMERS"}


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        pytest.param([], "runs_by_start", id="all"),
        pytest.param(["namespace = ?"], "runs_by_start", id="namespace"),
        pytest.param(["status = ?"], "runs_by_status", id="status"),
        pytest.param(["workflow_id = ?", "namespace = ?"], "runs_by_workflow", id="workflow"),
        pytest.param(["(started, run_id) < (?, ?)"], "runs_by_start ((started,run_id)<", id="page"),
    ],
)
def test_lists_come_in_order_out_of_an_index(
    tables: sqlite3.Connection, conditions: list[str], index: str
) -> None:
    found = plan(tables, sql.list_runs(conditions))

    assert f"INDEX {index}" in found
    assert "TEMP B-TREE" not in found


def test_the_columns_of_a_run_are_the_fields_of_its_row(tables: sqlite3.Connection) -> None:
    columns = [row[1] for row in tables.execute("PRAGMA table_info (runs)")]

    assert RunRow.__struct_fields__ == sql.RUN_COLUMNS
    assert set(columns) == {"id", *sql.RUN_COLUMNS, "change"}
    for statement in (sql.GET_RUN, sql.CREATE_RUN):
        assert ", ".join(sql.RUN_COLUMNS) in statement
