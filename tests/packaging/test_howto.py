"""The files of the how-to about tests, put into a folder as they stand, pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "how-to" / "test-a-workflow.md"


def test_the_tests_of_the_how_to_pass(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    shop, tests = re.findall(r"(?ms)^```python\n(.*?)^```", text)
    (command,) = re.findall(r"(?m)^pytest (.*)$", text)
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "test_shop.py").write_text(tests)
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command.split()]
    done = subprocess.run(pytest, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
