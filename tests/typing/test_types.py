"""That type checkers see the types of users' activities, steps and workflows through our calls.

mypy runs once, over one file that it must accept and one whose every marked line it must refuse.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
ERROR = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")
REFUSALS = {"arg-type", "assignment", "call-arg", "call-overload"}
"""What mypy calls a wrong argument or a wrong use of a result; not, say, a name that is missing."""

pytestmark = pytest.mark.timeout(300)  # without its cache mypy takes its time


@dataclass(frozen=True, slots=True)
class Finding:
    """What mypy has against a line."""

    file: str
    line: int
    code: str


@pytest.fixture(scope="module")
def findings() -> set[Finding]:
    files = [str(HERE / name) for name in ("accepted.py", "refused.py")]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--show-error-codes", *files]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    matches = [ERROR.match(line) for line in done.stdout.splitlines()]
    return {
        Finding(Path(match["path"]).name, int(match["line"]), match["code"])
        for match in matches
        if match
    }


def refused_statements() -> tuple[dict[int, int], set[int]]:
    """Return the statement that each line belongs to, and those that are marked."""
    text = (HERE / "refused.py").read_text(encoding="utf-8")
    statement_of = {
        line: node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return statement_of, {number for number, line in lines if line.endswith("# refused")}


def test_right_calls_are_accepted_with_the_types_stated(findings: set[Finding]) -> None:
    assert [finding for finding in findings if finding.file != "refused.py"] == []


def test_wrong_calls_are_refused_and_nothing_else_is(findings: set[Finding]) -> None:
    statement_of, marked = refused_statements()
    lines = {finding.line for finding in findings if finding.file == "refused.py"}
    assert {statement_of.get(line, line) for line in lines} == marked


def test_wrong_calls_are_refused_for_their_types(findings: set[Finding]) -> None:
    assert {finding.code for finding in findings} <= REFUSALS
