"""What users may import, pinned: a name appears or goes only on purpose.

``public_names.txt`` has one line a name. Whoever adds a name adds its line; whoever takes one
away says so in the CHANGELOG.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

MODULES = ("activity", "client", "common", "converter", "exceptions", "worker", "workflow")
PINNED = (Path(__file__).parent / "public_names.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("module", MODULES)
def test_the_public_names_are_those_that_are_pinned(module: str) -> None:
    full = f"perdure.{module}"
    exported = {f"{full}.{name}" for name in importlib.import_module(full).__all__}
    pinned = {line for line in PINNED if line.rpartition(".")[0] == full}
    assert exported == pinned, "public_names.txt is to say what the module exports"


@pytest.mark.parametrize("module", MODULES)
def test_every_exported_name_is_there(module: str) -> None:
    loaded = importlib.import_module(f"perdure.{module}")
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_documented(module: str) -> None:
    loaded = importlib.import_module(f"perdure.{module}")
    silent = [
        name
        for name in loaded.__all__
        if isinstance(getattr(loaded, name), type) or callable(getattr(loaded, name))
        if not (getattr(loaded, name).__doc__ or "").strip()
    ]
    assert silent == []


def test_the_pinned_names_are_sorted_and_of_known_modules() -> None:
    assert sorted(PINNED, key=str.lower) == PINNED
    assert {line.rpartition(".")[0] for line in PINNED} == {f"perdure.{name}" for name in MODULES}
