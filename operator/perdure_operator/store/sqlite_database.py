"""The SQLite file: whether it is ours and sound, and how it is opened.

``inspect`` looks without changing a byte, so that a damaged or foreign file stays as it was
found. ``connect`` opens for the one server that holds the lock (:mod:`.sqlite_lock`) and brings
the tables to this version. The settings and what they were measured to do are in
docs/decisions/0002-sqlite-commits-on-the-loop.md.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from perdure_operator.store.port import StoreCorruptError, StoreUnavailableError
from perdure_operator.store.sqlite_errors import damaged

APPLICATION_ID: Final = 1347568725
"""What marks a database as Perdure's: the bytes ``PRDU``."""

CHECKED_BYTES: Final = 64 * 1024 * 1024
"""A file up to this size is checked whole when it is opened (1.4 ms a MiB)."""

_PAGE_BYTES: Final = 4096
_WAL_PAGES: Final = 1000
# A frame of the log is a page behind a header of 24 bytes, the file's header has 32.
_WAL_BYTES: Final = 32 + _WAL_PAGES * (24 + _PAGE_BYTES)

_SETTINGS: Final = (
    f"PRAGMA page_size = {_PAGE_BYTES}",
    # Nobody else can read or write while we are there: no shared memory, no lock per commit.
    "PRAGMA locking_mode = EXCLUSIVE",
    # Each commit is on disk when it returns.
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}",
    # A log that one large commit blew up gives its space back.
    f"PRAGMA journal_size_limit = {_WAL_BYTES}",
    "PRAGMA cache_size = -32768",
    # Mapped files turn an I/O error into a signal that kills the server.
    "PRAGMA mmap_size = 0",
    # Overwriting what is deleted with zeros costs writes and protects nobody here.
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)


def inspect(path: Path) -> None:
    """Look whether the file at ``path`` can be used, changing nothing in it.

    Raises:
        StoreCorruptError: it is damaged, another program's, or of a newer version.
    """
    if not path.exists() or path.stat().st_size == 0:
        if size_of(wal_of(path)):
            raise damaged(path, "its log is there, but the file itself is missing or empty")
        return

    # A creation that was cut off leaves a journal, which only a writer can roll back.
    mode = "rw" if size_of(path.with_name(path.name + "-journal")) else "ro"
    uri = f"file:{quote(str(path))}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        _check_owner(connection, path)
        _check_pages(connection, path)


def connect(path: Path, *, patience: float) -> sqlite3.Connection:
    """Open the database for writing, creating or migrating it as needed.

    Raises:
        StoreUnavailableError: its file system cannot hold it.
        sqlite3.Error: whatever else SQLite finds.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=patience, cached_statements=128
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        mode = _pragma(connection, "journal_mode = WAL")
        if mode != "wal":
            raise StoreUnavailableError(
                f"the database {path} cannot have a write-ahead log here (journal mode {mode}):"
                " put it on a local file system"
            )
        _migrate(connection)
        _give_wal_its_size(wal_of(path))
    except BaseException:
        connection.close()
        raise
    return connection


def wal_of(path: Path) -> Path:
    """Return where the write-ahead log of ``path`` is."""
    return path.with_name(path.name + "-wal")


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def migrations() -> list[str]:
    """Return the scripts that make the tables, by number from 1."""
    folder = files("perdure_operator.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    owner = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID:
        if (owner, version, tables) == (0, 0, 0):
            return  # a creation that was cut off before it made anything
        raise StoreCorruptError(
            f"{path} is not a Perdure database (application id {owner}, expected"
            f" {APPLICATION_ID}; {tables} tables and indexes): it is left alone, use another file"
        )

    known = len(migrations())
    if version > known:
        raise StoreCorruptError(
            f"the database {path} was written by a newer Perdure (schema {version}; this one"
            f" knows up to {known}): upgrade this server. The file is left as it is"
        )


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    pages: int = _pragma(connection, "page_count")
    page_bytes: int = _pragma(connection, "page_size")
    if pages * page_bytes > CHECKED_BYTES:
        return
    found = _pragma(connection, "quick_check(1)")
    if found != "ok":
        raise damaged(path, " ".join(str(found).split()))


def _migrate(connection: sqlite3.Connection) -> None:
    version: int = _pragma(connection, "user_version")
    for number, script in enumerate(migrations(), start=1):
        if number <= version:
            continue
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _give_wal_its_size(wal: Path) -> None:
    """Grow the log to its usual size at once.

    A commit that makes a file longer also has to write the file's length: the sync costs up to
    twice as much. What lies behind the last valid frame is never read, so zeros are as good
    as the old frames that are there after the first checkpoint
    (https://www.sqlite.org/fileformat2.html#wal_file_format).
    """
    missing = _WAL_BYTES - size_of(wal)
    if missing <= 0:
        return
    with wal.open("ab") as log:
        log.write(bytes(missing))
        log.flush()
        os.fsync(log.fileno())


def _pragma(connection: sqlite3.Connection, pragma: str) -> Any:
    row = connection.execute(f"PRAGMA {pragma}").fetchone()
    return None if row is None else row[0]
