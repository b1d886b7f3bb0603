"""The main job before a newcomer's eyes: an order, killed in the middle and gone on with.

``make demo`` runs it. Everything is real: the ``perdure`` command, the server and the worker that
it starts, SIGKILL, the database. What is promised is checked on the way, and the exit code is
not 0 when something is not as it should be. All of it happens in a temporary folder.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from support.processes import ROOT, process_tree

ORDER = "order-42"
EXAMPLE = Path("worker_image") / "examples" / "order.py"
PERDURE = Path(sys.executable).with_name("perdure")
PATIENCE = 20.0
PAUSE = 1.0
"""Seconds between the acts, for the reader."""
RESULT = {"order_id": "42", "payment_id": "pay_42", "tracking": "track_42"}
WAITING = "TimerStarted: wait-for-warehouse"


class BrokenPromiseError(Exception):
    """Something did not happen as it must."""


class Screen:
    """What the reader sees."""

    def __init__(self) -> None:
        self._has_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, text: str, colour: int = 0) -> None:
        """Print lines, in a colour where there are any."""
        if self._has_colour and colour:
            text = f"\033[{colour}m{text}\033[0m"
        print(text, flush=True)

    def act(self, text: str) -> None:
        """Say what comes next, and let it be read."""
        self.say(f"\n{text}", 1)
        time.sleep(PAUSE)

    def command(self, words: list[str]) -> None:
        """Show a command as it would be typed."""
        self.say(f"$ {shlex.join(words)}", 36)

    def line(self, text: str) -> None:
        """Show a line of a command's own."""
        self.say(f"    {text}")


class RunningCommand:
    """A ``perdure`` command whose lines are shown as they come."""

    def __init__(self, screen: Screen, words: list[str], folder: Path) -> None:
        screen.command(["perdure", *words])
        self._screen = screen
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [str(PERDURE), *words],
            cwd=ROOT,
            env={**os.environ, "ORDER_LEDGER": str(folder / "ledger.jsonl")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._screen.line(line.rstrip("\n"))
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, text: str) -> str:
        """Wait until a line holds ``text`` and return it."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._news:
            self._news.wait_for(lambda: found() or not self._reader.is_alive(), PATIENCE)
            line = found()
        if line is None:
            raise BrokenPromiseError(f"{text!r} was never said")
        return line.rstrip("\n")

    def count(self, text: str) -> int:
        """Return how many lines so far hold ``text``."""
        return sum(text in line for line in self._lines)

    def kill(self) -> None:
        """SIGKILL for the command and everything that it started, as when the power fails."""
        for pid in reversed(process_tree(self._process.pid)):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def result(self) -> str:
        """Wait for the end and return the last line of standard output."""
        code = self._process.wait(PATIENCE)
        self._reader.join()
        assert self._process.stdout is not None
        lines = self._process.stdout.read().splitlines()
        if code != 0 or not lines:
            raise BrokenPromiseError(f"the command ended with exit code {code}")
        return lines[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        self._reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


def play(screen: Screen, folder: Path) -> None:
    """Show it all.

    Raises:
        BrokenPromiseError: it did not go as promised.
    """
    command = ["run", str(EXAMPLE), "--id", ORDER, "--db", str(folder / "perdure.db")]
    command += ["--input", json.dumps({"order_id": "42"})]

    screen.act("1. A customer orders. The card is charged, then the warehouse has two hours.")
    with RunningCommand(screen, command, folder) as first:
        first.wait_for(WAITING)
        time.sleep(PAUSE)
        first.kill()
    screen.say("    Killed", 31)
    screen.say("The command, its worker and its server are gone: kill -9, in the middle.", 31)

    screen.act("2. The same command again: it goes on where it stopped.")
    with RunningCommand(screen, command, folder) as second:
        address = second.wait_for("server on ").rpartition(" ")[2]
        second.wait_for(WAITING)
        screen.act("3. The warehouse answers, from another terminal.")
        answer_for_warehouse(screen, address)
        result = second.result()
        charges = second.count("ActivityCompleted: charge-payment")
    screen.line(result)
    if json.loads(result) != RESULT:
        raise BrokenPromiseError(f"the result should be {json.dumps(RESULT)}")
    if charges != 1:
        raise BrokenPromiseError(f"history has {charges} charges")

    screen.act("4. What the outside world saw: the ledger of every call that was made.")
    check_ledger(screen, folder / "ledger.jsonl")
    screen.say("\nOne order, one charge, one key; a crash in between that nobody noticed.", 32)


def answer_for_warehouse(screen: Screen, address: str) -> None:
    """Send the signal that the order waits for."""
    words = ["signal", ORDER, "warehouse_answered", "--input", "true", "--address", address]
    screen.command(["perdure", *words])
    done = subprocess.run(
        [str(PERDURE), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode != 0:
        raise BrokenPromiseError(f"the signal was not taken: {done.stderr.strip()}")


def check_ledger(screen: Screen, ledger: Path) -> None:
    """Show the ledger: everything in it must have happened once, and under a key of its own."""
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    for entry in entries:
        screen.line(f"{entry['effect']:<8} key {entry['key']}  attempt {entry['attempt']}")
    effects = [entry["effect"] for entry in entries]
    if effects != ["charge", "ship", "receipt"]:
        raise BrokenPromiseError(
            f"the ledger should hold a charge, a parcel and a receipt: {effects}"
        )
    if len({entry["key"] for entry in entries}) != len(entries):
        raise BrokenPromiseError("two effects share a key")


def main() -> int:
    """Show the demo and return the exit code."""
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as folder:
        try:
            play(screen, Path(folder))
        except (BrokenPromiseError, subprocess.TimeoutExpired) as error:
            screen.say(f"\nThe demo FAILED: {error}", 31)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
