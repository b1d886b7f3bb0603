"""What every store promises about versions of code: who is pinned, and what is declared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from perdure_operator.store.port import Outcome, QueueVersions, Store
from perdure_operator.store.sqlite import SqliteStore
from perdure_operator.store.sqlite_database import migrations
from support.transitions import finish, follow, signal, start

HERE = {"namespace": "default", "task_queue": "orders"}


def versions(current: str = "", *kept: str, **where: str) -> QueueVersions:
    return QueueVersions(**(HERE | where), current=current, kept=kept)


async def test_open_runs_are_counted_by_the_version_that_they_are_pinned_to(store: Store) -> None:
    free, first, second = start("a"), start("b", build_id="v1"), start("c", build_id="v1")
    elsewhere = start("d", build_id="v1", task_queue="others")
    await store.commit([free, first, second, elsewhere])
    assert await store.count_pinned_runs() == {
        ("default", "orders", "v1"): 2,
        ("default", "others", "v1"): 1,
    }

    moved, over = signal(first.row, build_id="v2"), finish(elsewhere.row)
    pinned = follow(free.row, build_id="v2")
    assert await store.commit([moved, over, pinned]) == [Outcome.COMMITTED] * 3
    assert await store.count_pinned_runs() == {
        ("default", "orders", "v1"): 1,
        ("default", "orders", "v2"): 2,
    }
    row = await store.get_run(first.row.run_id)
    assert row == moved.row


async def test_what_was_declared_last_is_what_there_is(store: Store) -> None:
    assert await store.declared_versions() == []
    await store.declare_versions(versions("v1"))
    await store.declare_versions(versions("x", namespace="another"))
    await store.declare_versions(versions("v3", "v2", "v1"))

    assert await store.declared_versions() == [
        versions("x", namespace="another"),
        versions("v3", "v2", "v1"),
    ]
    await store.declare_versions(versions())
    assert await store.declared_versions() == [versions("x", namespace="another")]


async def test_what_is_declared_and_pinned_outlives_the_server(store: Store) -> None:
    await store.commit([start(build_id="v1")])
    await store.declare_versions(versions("v2", "v1"))
    await store.close()
    await store.open()

    assert await store.declared_versions() == [versions("v2", "v1")]
    assert await store.count_pinned_runs() == {("default", "orders", "v1"): 1}


async def test_a_database_from_before_versions_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript("".join(migrations()[:-1]))
        old.execute(f"PRAGMA user_version = {len(migrations()) - 1}")
        old.execute(
            "INSERT INTO runs VALUES (1, 'r1', 'default', 'a', 'workflow', 'T', 'orders',"
            " 'Running', 1, 5, NULL, 1, 10, x'00', '', 0, 0, '', NULL)"
        )
        old.commit()
    store = SqliteStore(path)
    await store.open()
    try:
        row = await store.get_run("r1")
        assert row is not None
        assert row.build_id == ""
        moved = follow(row, build_id="v1")
        assert await store.commit([moved]) == [Outcome.COMMITTED]
        assert await store.count_pinned_runs() == {("default", "orders", "v1"): 1}
    finally:
        await store.close()
