"""What SQLite's errors mean to those who use the store.

Damage to the file is for good; a full disk or a lock is not; everything else is a mistake of
this program and is left as it is.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from perdure_operator.store.port import StoreCorruptError, StoreError, StoreUnavailableError

# Primary result codes, https://www.sqlite.org/rescode.html; the extended ones have them as their
# low byte.
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# I/O errors that say that what was read is wrong, not that reading failed.
_DAMAGED_EXTENDED: Final = {10 | 32 << 8, 10 | 33 << 8}  # IOERR_DATA, IOERR_CORRUPTFS
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk and the system's log",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be readable and writable",
    sqlite3.SQLITE_PERM: "make the file and its folder writable",
    sqlite3.SQLITE_BUSY: "another program has it open: close that",
    sqlite3.SQLITE_LOCKED: "another program has it open: close that",
    sqlite3.SQLITE_PROTOCOL: "another program has it open: close that",
    sqlite3.SQLITE_NOMEM: "give the server more memory",
}


def damaged(path: Path, found: str) -> StoreCorruptError:
    """Return the error that says that a database is damaged, and what to do."""
    return StoreCorruptError(
        f"the database {path} is damaged: {found}. It is kept as it is. Restore a backup of it,"
        f" or save what can still be read with: sqlite3 {path} .recover | sqlite3 recovered.db"
    )


def translate(error: sqlite3.Error | msgspec.DecodeError, path: Path) -> StoreError | None:
    """Return what ``error`` means in the port's terms; nothing when it is a mistake of ours."""
    if isinstance(error, msgspec.DecodeError):
        return damaged(path, f"a stored value does not decode ({error})")

    code: int = getattr(error, "sqlite_errorcode", 0)
    primary = code & 0xFF
    if primary in _DAMAGED or code in _DAMAGED_EXTENDED:
        return damaged(path, str(error))
    if primary in _ADVICE:
        return StoreUnavailableError(
            f"the database {path} cannot be used now: {error} ({error.sqlite_errorname});"
            f" {_ADVICE[primary]}"
        )
    return None
