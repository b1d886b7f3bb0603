"""The tutorial, typed as it stands into a shell, gives the output that it shows."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "tutorial" / "first-workflow.md").read_text(encoding="utf-8")
END = "--- done"
PATIENCE = 30.0

VARYING = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "RUN"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r"\d\d:\d\d:\d\d", "TIME"),
    (r"\b\d+ (?:s|min) ago *", "AGO "),
    (r"took [\dms]+", "took TIME"),
    (r'File ".*/', 'File "'),
    (r"(?m)^(?:\[\d+\]|bash: line \d+:).*(?:\n|\Z)", ""),  # what the shell says of its jobs
    (r" +", " "),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A command and what the page says that it prints."""

    command: str
    output: str

    @property
    def only_looks(self) -> bool:
        """Whether it may be given again until there is something to see."""
        return self.command.startswith(("perdure show", "perdure list", "perdure query", "grep"))

    @property
    def log(self) -> str:
        """Where a command in the background writes."""
        found = re.search(r"> (\S+) 2>&1 &$", self.command)
        return found[1] if found else ""


class Shell:
    """A shell with job control, as a person has it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PERDURE_ADDRESS": f"127.0.0.1:{self._port}",
                "PYTHONUNBUFFERED": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.type("set -m")

    def type(self, command: str) -> str:
        """Give a command and return what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = command.replace("perdure dev", f"perdure dev --port {self._port}")
        self._process.stdin.write(f"{command}\necho; echo '{END}'\n")
        self._process.stdin.flush()
        printed = ""
        while not printed.endswith(f"\n{END}\n"):
            line = self._process.stdout.readline()
            assert line, f"the shell has ended: {printed}"
            printed += line
        return printed.removesuffix(f"\n{END}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.type("kill -9 $(jobs -p) 2>/dev/null; wait 2>/dev/null")
        self._process.communicate("exit\n", timeout=PATIENCE)


def lines() -> Iterator[Line]:
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", PAGE):
        for found in re.finditer(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block):
            yield Line(found[1], found[2])


def plain(output: str) -> str:
    for pattern, word in VARYING:
        output = re.sub(pattern, word, output)
    return output.strip()


def wait_for(log: Path) -> None:
    """Wait until a command in the background has said something."""
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < deadline, f"{log.name} stays empty"
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_the_tutorial_goes_as_it_is_told(tmp_path: Path) -> None:
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE)
    (tmp_path / "leave.py").write_text(code)
    with Shell(tmp_path) as shell:
        for line in lines():
            if line.log:
                (tmp_path / line.log).unlink(missing_ok=True)
            printed = shell.type(line.command)
            deadline = time.monotonic() + PATIENCE
            while plain(printed) != plain(line.output) and line.only_looks:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.1)
                printed = shell.type(line.command)
            assert plain(printed) == plain(line.output), line.command
            if line.log:
                wait_for(tmp_path / line.log)
