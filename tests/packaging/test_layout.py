"""Where things lie, and how large they may get."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = (CHECKOUT / "operator" / "perdure_operator", CHECKOUT / "worker_image" / "perdure")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TEST_MODULES = sorted((CHECKOUT / "tests").rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def longer_than(limit: int, modules: Iterable[Path]) -> dict[str, int]:
    """Return the modules with more than ``limit`` lines, with their lines."""
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in modules}
    return {module: count for module, count in lines.items() if count > limit}


def test_the_source_root_operator_is_no_package() -> None:
    # As a package it would shadow the standard library's `operator` for whoever starts Python in
    # the checkout, and mypy would resolve the wrong module.
    assert not (CHECKOUT / "operator" / "__init__.py").exists()


def test_each_source_root_holds_one_import_package() -> None:
    for package in PACKAGES:
        assert [path.parent for path in package.parent.glob("*/__init__.py")] == [package]


def test_the_standard_library_works_with_the_checkout_in_front() -> None:
    code = "import collections, operator; print(operator.add(1, 1))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_type_checkers_are_told_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()


def test_modules_are_short_enough_to_read() -> None:
    assert longer_than(400, MODULES) == {}, "split a module where its ideas part"


def test_test_modules_are_short_enough_to_read() -> None:
    assert longer_than(650, TEST_MODULES) == {}, "split a test module by what it is about"


def test_every_module_says_what_it_is_for() -> None:
    texts = {name(path): path.read_text(encoding="utf-8") for path in MODULES}
    silent = [where for where, text in texts.items() if not text.lstrip().startswith('"""')]
    assert silent == []
