"""The demo that the README begins with keeps its promises, and notices when they are broken."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from support import demo
from support.processes import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(demo.tempfile, "tempdir", str(folder))
    monkeypatch.setattr(demo, "PAUSE", 0.0)
    return folder


def test_the_demo_kills_an_order_goes_on_with_it_and_leaves_nothing_behind(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = demo.main()

    shown = capsys.readouterr().out
    assert code == 0, shown
    before, killed, after = shown.partition("kill -9, in the middle")
    assert "ActivityCompleted: charge-payment" in before
    assert killed
    assert "going on with order-42" in after
    assert "$ perdure signal order-42 warehouse_answered --input true" in after
    assert "WorkflowCompleted" in after
    assert shown.count("charge   key") == 1
    assert "\033[" not in shown, "no colours where there is no terminal"
    assert list(folder.iterdir()) == []
    assert processes_that_name(str(folder)) == []


def test_the_demo_fails_when_a_customer_is_charged_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = 'write_to_ledger("charge", order.order_id)'
    code = (ROOT / demo.EXAMPLE).read_text()
    assert honest in code
    greedy = tmp_path / "greedy.py"
    greedy.write_text(code.replace(honest, f"{honest}\n    {honest}"))
    monkeypatch.setattr(demo, "EXAMPLE", greedy)

    assert demo.main() == 1

    assert "The demo FAILED: the ledger should hold a charge" in capsys.readouterr().out


def processes_that_name(text: str) -> list[str]:
    """Return the command lines of processes that have ``text`` in theirs (where /proc tells)."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            lines.append(file.read_bytes().decode(errors="replace"))
    return [line for line in lines if text in line]
