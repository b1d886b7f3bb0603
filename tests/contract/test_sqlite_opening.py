"""Which files a SQLite store opens, and that one server has a file at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure_operator.store.port import (
    Outcome,
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
)
from perdure_operator.store.sqlite import SqliteStore
from perdure_operator.store.sqlite_database import APPLICATION_ID, migrations
from support.transitions import start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perdure.db"


async def refusal(path: Path) -> StoreError:
    """Open the store, which must fail, and return how; nothing may hold the file then."""
    with pytest.raises(StoreError) as caught:
        await SqliteStore(path, patience=0).open()
    assert str(path) in str(caught.value)
    return caught.value


async def make_store(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert await store.commit([start()]) == [Outcome.COMMITTED]
    await store.close()


async def test_the_file_and_its_folder_are_made(tmp_path: Path) -> None:
    await make_store(tmp_path / "new" / "folder" / "perdure.db")


async def test_a_path_of_any_characters_will_do(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#%41é.db"
    await make_store(path)

    assert path.exists()
    await make_store_again(path)


async def make_store_again(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert len(await store.pending_runs()) == 0
    await store.close()


async def test_a_file_is_marked_as_ours_with_the_number_of_its_schema(path: Path) -> None:
    await make_store(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)


async def test_commits_are_synced_to_the_disk(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert store._opened is not None
    ask = store._opened.connection.execute

    full = 2
    assert ask("PRAGMA synchronous").fetchone() == (full,)
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


async def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE songs (name TEXT); PRAGMA application_id = 7;")
    before = path.read_bytes()

    error = await refusal(path)

    assert isinstance(error, StoreCorruptError)
    assert "not a Perdure database" in str(error)
    assert path.read_bytes() == before


async def test_a_database_without_a_mark_but_with_tables_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")

    assert "not a Perdure database" in str(await refusal(path))


async def test_a_database_of_a_newer_perdure_is_refused_and_left_alone(path: Path) -> None:
    await make_store(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    before = path.read_bytes()

    error = await refusal(path)

    assert isinstance(error, StoreCorruptError)
    assert "upgrade" in str(error)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_a_creation_that_was_cut_off_is_gone_on_with(path: Path, mode: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("VACUUM")

    await make_store(path)


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()

    await make_store(path)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE timers (unexpected)")

    with pytest.raises(sqlite3.OperationalError, match="timers already exists"):
        await SqliteStore(path).open()

    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert tables == [("timers",)]


async def test_a_second_server_is_refused_and_told_who_has_the_file(path: Path) -> None:
    first = SqliteStore(path)
    await first.open()

    error = await refusal(path)
    assert isinstance(error, StoreUnavailableError)
    assert f"pid {os.getpid()} on" in str(error)

    await first.close()
    await make_store(path)


async def test_a_server_waits_for_one_that_is_ending(path: Path) -> None:
    first, second = SqliteStore(path), SqliteStore(path, patience=30)
    await first.open()

    opening = asyncio.create_task(second.open())
    await asyncio.sleep(0)
    assert not opening.done()
    await first.close()
    await opening

    await second.close()


async def test_no_other_program_can_use_the_file_of_a_running_server(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()

    with closing(sqlite3.connect(path, timeout=0)) as other:
        for statement in ("SELECT * FROM runs", "DELETE FROM runs"):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute(statement)

    assert await store.commit([start()]) == [Outcome.COMMITTED]
    await store.close()


async def test_a_file_that_another_program_uses_is_refused(path: Path) -> None:
    await make_store(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT * FROM runs").fetchone()

        error = await refusal(path)

    assert isinstance(error, StoreUnavailableError)
    assert "another program" in str(error)


async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file" / "perdure.db", tmp_path):
        assert isinstance(await refusal(path), StoreUnavailableError)


async def test_the_sizes_of_the_files_are_told(path: Path) -> None:
    store = SqliteStore(path)
    assert store.stats() == {"database_bytes": 0, "wal_bytes": 0}

    await store.open()
    assert store.stats()["wal_bytes"] > 0

    await store.close()
    assert store.stats()["database_bytes"] > 0
