"""Real processes for tests: a server and workers that can be killed at any moment.

Each is started in a process group of its own, so that SIGKILL takes it whole, and each is gone
when its context ends, whatever happened in between.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


def process_tree(pid: int) -> list[int]:
    """Return a process and all that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    tree = [pid]
    for each in tree:  # grows while it is read
        tree += children.get(each, ())
    return tree


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        for line in listed.stdout.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
        return
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # pid (name, which may hold anything) state ppid ...
            yield int(entry.parent.name), int(entry.read_text().rpartition(")")[2].split()[1])


class Process:
    """A child process with its output in a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        self._output = log.open("ab")
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._output,
            # A server that is told to stops when this end is closed, by whatever ends the tests.
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.signal(signal.SIGKILL)
        self._process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        if self.is_alive:
            os.killpg(self.pid, number)

    def stop(self) -> int:
        """SIGTERM, and wait for the end; returns the exit code."""
        if self.is_alive:
            self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end; returns the exit code."""
        return self._process.wait(timeout)

    def output(self, timeout: float = PATIENCE) -> str:
        """Wait for the end; returns what it printed, after its first line if that was read."""
        printed, _ = self._process.communicate(timeout=timeout)
        return str(printed.decode())

    def first_line(self, timeout: float = PATIENCE) -> str:
        """Return the first line that it prints; fails with its log if there is none."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], deadline - time.monotonic())
            chunk = os.read(self._process.stdout.fileno(), 1) if ready else b""
            if not chunk:
                raise AssertionError(f"no first line; log:\n{self.log.read_text()}")
            line += chunk
        return line.decode().rstrip("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._output.close()


class Server(Process):
    """A real server over a SQLite file; ``plan`` makes it one that kills (``faulty_server``)."""

    def __init__(
        self, db: Path, *options: str, port: int = 0, log: Path, plan: Path | None = None
    ) -> None:
        module = ["perdure_operator.server.main"]
        if plan is not None:
            module = ["support.faulty_server", str(plan)]
        command = [sys.executable, "-m", *module, "--db", str(db), "--port", str(port), *options]
        command.append("--exit-with-stdin")
        paths = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        super().__init__(command, log, {"PYTHONPATH": os.pathsep.join(paths)})
        try:
            self.address = self.first_line().removeprefix("listening on ")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.address.rpartition(":")[2])


class Worker(Process):
    """A real worker process: ``perdure worker``."""

    def __init__(
        self, address: str, *modules: str, log: Path, env: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        command = [str(Path(sys.executable).with_name("perdure")), "worker", *modules]
        command += ["--address", address, *options]
        super().__init__(command, log, env)
