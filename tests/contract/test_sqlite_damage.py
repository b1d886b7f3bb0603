"""What a SQLite store does about a damaged file, a full disk and failing I/O."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from perdure_operator.engine.transitions import Transition
from perdure_operator.store.port import Outcome, StoreCorruptError, StoreUnavailableError
from perdure_operator.store.sqlite import SqliteStore
from perdure_operator.store.sqlite_database import wal_of
from support.transitions import signal, start, timer

COMMITTED = [Outcome.COMMITTED]
PAGE = 4096


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A sound store of some hundred pages."""
    path = tmp_path / "perdure.db"
    store = SqliteStore(path)
    await store.open()
    made = [start(f"order-{n}", run_id=f"r{n}", put_timers=(timer(1),)) for n in range(500)]
    assert set(await store.commit(made)) == {Outcome.COMMITTED}
    await store.close()
    return path


async def refuse(path: Path) -> str:
    """Open the store, which must find damage and leave the file alone."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreCorruptError) as caught:
        await SqliteStore(path).open()
    assert (path.read_bytes() if path.exists() else None) == before
    assert str(path) in str(caught.value)
    assert "Restore a backup" in str(caught.value)
    return str(caught.value)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def blob(before: Transition, size: int) -> Transition:
    """A transition of about ``size`` bytes."""
    return signal(before.row, f"{size}" + "x" * size)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    for content in (b"hello", b"hello" * 5000):
        path.write_bytes(content)
        assert "not a database" in await refuse(path)


async def test_a_damaged_header_is_found(path: Path) -> None:
    overwrite(path, 0, bytes(50))
    await refuse(path)


async def test_a_truncated_file_is_found(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)
    await refuse(path)


@pytest.mark.parametrize("seed", range(8))
async def test_a_damaged_page_is_found(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    page = chance.randrange(2, path.stat().st_size // PAGE)
    overwrite(path, page * PAGE, chance.randbytes(PAGE))

    await refuse(path)


async def test_a_file_whose_log_alone_is_left_is_not_begun_anew(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    shutil.copy(wal_of(path), path.with_name("kept"))
    await store.close()
    path.unlink()
    path.with_name("kept").rename(wal_of(path))

    assert "its log is there" in await refuse(path)


async def test_damage_beside_a_log_leaves_both_as_they_were(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert await store.commit([start("new")]) == COMMITTED
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    shutil.copy(wal_of(path), wal_of(copy))
    await store.close()
    overwrite(copy, 9 * PAGE, random.Random(1).randbytes(8 * PAGE))
    log = wal_of(copy).read_bytes()

    await refuse(copy)

    assert wal_of(copy).read_bytes() == log


async def test_damage_that_comes_up_in_a_read_stops_all_writing(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    size = path.stat().st_size
    overwrite(path, PAGE, random.Random(1).randbytes(size - PAGE))

    with pytest.raises(StoreCorruptError, match=r"sqlite3 .* \.recover"):
        await store.read_history("r250")
    with pytest.raises(StoreCorruptError, match="damaged"):
        await store.commit([start("new")])

    await store.close()


async def test_damage_that_comes_up_in_a_commit_writes_nothing(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    overwrite(path, PAGE, random.Random(1).randbytes(path.stat().st_size - PAGE))

    with pytest.raises(StoreCorruptError, match="damaged"):
        await store.commit([start("new")])
    with pytest.raises(StoreCorruptError, match="damaged"):
        await store.commit([start("newer")])
    await store.close()


@pytest.mark.parametrize("data", [b"\xc1", b"\x91\x93\x01\x01\x80", b""])
async def test_an_event_that_does_not_decode_is_damage(path: Path, data: bytes) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE events SET data = ?", (data,))
    store = SqliteStore(path)
    await store.open()

    with pytest.raises(StoreCorruptError, match="does not decode"):
        await store.read_history("r1")
    with pytest.raises(StoreCorruptError, match="does not decode"):
        await store.commit([start("new")])
    await store.close()


async def test_a_row_that_is_no_run_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET status = 'Dancing'")
    store = SqliteStore(path)
    await store.open()

    with pytest.raises(StoreCorruptError, match="Dancing"):
        await store.get_run("r1")
    await store.close()


async def test_a_full_disk_refuses_the_whole_commit_and_later_ones_work(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "perdure.db")
    await store.open()
    made = start(watched=True, task_pending=True)
    assert await store.commit([made]) == COMMITTED
    small = signal(made.row, task_pending=False)
    large = blob(start("other"), 20_000_000)

    with no_file_above(9_000_000), pytest.raises(StoreUnavailableError) as caught:
        await store.commit([small, start("other", run_id=large.row.run_id), large])

    assert str(tmp_path) in str(caught.value)
    assert await store.get_run(made.row.run_id) == made.row
    assert await store.get_run(large.row.run_id) is None
    assert await store.watched_changes(cursor=0, limit=9) == (1, [made.row])
    assert await store.commit([small]) == COMMITTED
    await store.close()
    await store.open()
    assert await store.get_run(made.row.run_id) == small.row
    assert await store.watched_changes(cursor=1, limit=9) == (2, [small.row])
    await store.close()


async def test_a_database_at_its_largest_says_that_room_is_needed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "perdure.db")
    await store.open()
    made = start()
    assert await store.commit([made]) == COMMITTED
    small = signal(made.row)
    opened = store._opened
    assert opened is not None
    opened.connection.execute("PRAGMA max_page_count = 50")

    with pytest.raises(StoreUnavailableError, match="make room on the disk"):
        await store.commit([small, start("other"), blob(small, 400_000)])

    assert await store.commit([small]) == COMMITTED
    assert len(await store.read_history(made.row.run_id)) == 2
    await store.close()


async def test_a_mistake_in_a_commit_undoes_it_and_is_told_as_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "perdure.db")
    await store.open()
    made = start(watched=True)
    beyond = signal(made.row, put_timers=(timer(fires=2**63),))

    with pytest.raises(OverflowError):
        await store.commit([made, beyond])

    assert await store.get_run(made.row.run_id) is None
    assert await store.commit([made]) == COMMITTED
    assert await store.watched_changes(cursor=0, limit=9) == (1, [made.row])
    await store.close()


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let every write behind ``size`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
