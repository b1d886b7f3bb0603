"""The stores that are held to the contract, each made afresh for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from perdure_operator.store.memory import MemoryStore
from perdure_operator.store.port import Store
from perdure_operator.store.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "perdure.db"),
}
"""How each store is made; a new adapter is added here and has to pass."""


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = STORES[request.param](tmp_path)
    await made.open()
    yield made
    await made.close()
