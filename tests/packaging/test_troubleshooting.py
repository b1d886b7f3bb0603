"""The page about what is wrong has every reason that calls for somebody, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from perdure_operator.model import Reason

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "troubleshoot.md"

CALL_FOR_NOBODY = {
    *(Reason.PENDING, Reason.RUNNING, Reason.SUSPENDED, Reason.CANCELING, Reason.DELETING),
    *(Reason.SUCCEEDED, Reason.CANCELED, Reason.TERMINATED, Reason.TIMED_OUT, Reason.RETRIED),
    *(Reason.IDLE, Reason.STARTING, Reason.AVAILABLE, Reason.POD_STARTING),
    *(Reason.SCHEDULED, Reason.PAUSED),
}
"""What goes on as it should, or was asked for."""


def test_every_reason_that_calls_for_somebody_has_what_to_do() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"))

    assert sorted(name for name, _ in rows) == sorted(set(Reason) - CALL_FOR_NOBODY)


def test_every_reason_is_said_by_some_code() -> None:
    folder = Path(__file__).resolve().parents[2] / "operator" / "perdure_operator" / "controllers"
    code = "\n".join(each.read_text(encoding="utf-8") for each in folder.rglob("*.py"))

    assert [each for each in Reason if f"Reason.{each.name}" not in code] == []
