"""The program as a whole: help, version, wrong usage."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from perdure.cli.app import build_app
from perdure.cli.verbs import run

VERBS = [
    "run", "dev", "worker", "start", "list", "show", "logs", "result", "signal", "query",
    "suspend", "resume",
    "retry", "cancel", "terminate",
]  # fmt: skip


def test_every_verb_is_there():
    assert [command.name for command in build_app().registered_commands] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(perdure, verb):
    told = perdure(verb, "--help")
    assert told.code == 0
    assert f"perdure {verb}" in told.out.partition("Example: ")[2]


def test_help_names_the_exit_codes(perdure):
    told = perdure("--help")
    assert "Exit codes: 0 done; 1 the run (or query) failed; 2 wrong usage" in told.out


def test_the_version_is_the_distributions(perdure):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert perdure("--version").out == f"perdure {project['project']['version']}\n"


@pytest.mark.parametrize(
    "words",
    [("frobnicate",), ("signal", "x"), ("list", "--limit", "0"), ("show", "x", "-o", "xml")],
)
def test_wrong_usage_exits_with_2(perdure, words):
    told = perdure(*words)
    assert told.code == 2
    assert told.err


def test_help_imports_nothing_that_it_does_not_need():
    code = (
        "import sys\n"
        "try:\n    from perdure.cli import main\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'aiohttp', 'asyncio', 'pydantic', 'perdure.client', 'perdure.worker'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("order.py", ("order.py", "")),
        ("order.py:Order", ("order.py", "Order")),
        ("a/b.py:Order", ("a/b.py", "Order")),
        ("shop.orders:Order", ("shop.orders", "Order")),
        ("c:/order.py", ("c:/order.py", "")),
    ],
)
def test_the_type_is_split_from_the_file(given, expected):
    assert run.split_type(given) == expected
