"""What SQLite's errors mean: damage, a hindrance, or a mistake of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from perdure_operator.store.port import StoreCorruptError, StoreUnavailableError
from perdure_operator.store.sqlite_errors import translate

PATH = Path("/data/perdure.db")


def an_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


@pytest.mark.parametrize(
    "name",
    ["SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB", "SQLITE_IOERR_CORRUPTFS"],
)
def test_damage_is_told_with_what_to_do(name: str) -> None:
    meant = translate(an_error(name), PATH)

    assert isinstance(meant, StoreCorruptError)
    assert f"sqlite3 {PATH} .recover" in str(meant)
    assert "it failed" in str(meant)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SQLITE_FULL", "make room"),
        ("SQLITE_IOERR_WRITE", "system's log"),
        ("SQLITE_IOERR_FSYNC", "system's log"),
        ("SQLITE_READONLY_DBMOVED", "writable"),
        ("SQLITE_CANTOPEN", "folder must exist"),
        ("SQLITE_BUSY", "another program"),
        ("SQLITE_NOMEM", "memory"),
    ],
)
def test_a_hindrance_is_told_with_what_to_do(name: str, advice: str) -> None:
    meant = translate(an_error(name), PATH)

    assert isinstance(meant, StoreUnavailableError)
    assert str(PATH) in str(meant)
    assert name in str(meant)
    assert advice in str(meant)


def test_a_value_that_does_not_decode_is_damage() -> None:
    assert isinstance(translate(msgspec.ValidationError("odd"), PATH), StoreCorruptError)


@pytest.mark.parametrize(
    "error", [an_error("SQLITE_CONSTRAINT_UNIQUE"), sqlite3.ProgrammingError()]
)
def test_a_mistake_of_ours_is_not_translated(error: sqlite3.Error) -> None:
    assert translate(error, PATH) is None
