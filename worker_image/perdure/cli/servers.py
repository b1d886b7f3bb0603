"""The server as a child process, for ``perdure dev`` and ``perdure run``.

The command line does not import the control plane: it starts the program. The child stops when
its standard input closes, which the system does for a parent that is killed, so no server is ever
left behind.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perdure.cli.errors import EXIT_UNREACHABLE, CommandError

PROGRAM = "perdure_operator.server.main"
_READY = "listening on "
_STOP_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How to start the server."""

    db: Path
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    lease: float | None = None
    """Seconds of silence after which a worker has lost its work; None for the default."""
    release_leases: bool = False
    """No worker of before is alive: give their work out at once."""
    log_level: str = "info"

    def arguments(self) -> list[str]:
        """Return the program's arguments."""
        given = ["--host", self.host, "--port", str(self.port), "--db", str(self.db)]
        # Whoever says --host to `dev` has decided who may reach it.
        given += ["--exit-with-stdin", "--log-level", self.log_level, "--insecure"]
        given += ["--without-operator"]
        given += ["--lease", f"{self.lease:g}"] if self.lease is not None else []
        given += ["--release-leases"] if self.release_leases else []
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that is ready."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def running_server(
    options: ServerOptions, *, program: Sequence[str] | None = None
) -> Iterator[RunningServer]:
    """Start a server, and stop it at the end of the block.

    Args:
        options: how to start it.
        program: the command instead of the installed server, for tests.

    Raises:
        CommandError: it is not installed, or did not start.
    """
    command = [*(program or _program()), *options.arguments()]
    options.db.absolute().parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for the parent, which stops the server when its work is handed back.
        start_new_session=True,
    )
    try:
        yield RunningServer(address=_wait_until_ready(process, options), process=process)
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a server that was started here, gracefully if it will."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _program() -> list[str]:
    if importlib.util.find_spec("perdure_operator") is None:
        raise CommandError(
            "the server is not installed here: pip install 'perdure[operator]'", EXIT_UNREACHABLE
        )
    return [sys.executable, "-m", PROGRAM]


def _wait_until_ready(process: subprocess.Popen[str], options: ServerOptions) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line.startswith(_READY):
        return line.removeprefix(_READY)
    if process.stdin is not None:
        process.stdin.close()
    code = process.wait(_STOP_TIMEOUT)
    raise CommandError(
        f"the server with the database {options.db} did not start (exit code {code}); what it said "
        "stands above",
        EXIT_UNREACHABLE,
    )
