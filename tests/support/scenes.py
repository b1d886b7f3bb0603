"""A scene: servers, workers and commands of one test, gone when the test ends.

A scene may play on a server that several tests share; it then has a namespace of its own, so
that nobody sees the others. Everything that its processes wrote can be read while it lasts.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perdure.client import Client, RetryConfig, WorkflowHandle
from perdure.protocol.events import Event, HistoryEvent, event_name
from support.processes import Process, Server, Worker

PERDURE = str(Path(sys.executable).with_name("perdure"))
PATIENCE = 60.0
PATIENT = RetryConfig(
    max_interval_millis=500, max_retries=1000, max_elapsed_time_millis=int(PATIENCE * 1000)
)
"""A server of these tests may be started again, which takes long on a loaded machine."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Scene:
    """What one test plays with.

    Args:
        folder: The test's own.
        server: A server that others use too; without one the test starts its own.
        namespace: Where everything of this scene is.
    """

    def __init__(
        self, folder: Path, server: Server | None = None, namespace: str = "default"
    ) -> None:
        self.folder = folder
        self.namespace = namespace
        self.db = folder / "perdure.db"
        self.env = {"PYTHONDONTWRITEBYTECODE": "1"}
        """Of every process. A file changed within its second would else be run as it was."""
        self._shared = server
        self._own: Server | None = None
        self._running = ExitStack()
        self._logs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    @property
    def server(self) -> Server:
        """The server that the scene plays on."""
        server = self._own or self._shared
        assert server is not None, "start_server() comes first"
        return server

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.server.address

    def write(self, name: str, code: str) -> Path:
        """Write a file of code."""
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def new_log(self, name: str) -> Path:
        """Return a log file for one more process."""
        self._logs += 1
        return self.folder / f"{self._logs}-{name}.log"

    def start_server(self, *options: str, port: int = 0) -> Server:
        """Start a server over the scene's own database; on the same port as before, say which."""
        server = Server(self.db, *options, port=port, log=self.new_log("server"))
        self._own = self._running.enter_context(server)
        return server

    def restart_server(self, *options: str) -> Server:
        """Start a server in the place of one that has ended."""
        return self.start_server(*options, port=self.server.port)

    def try_server(self, *options: str, db: Path | None = None) -> Finished:
        """Start a server that is to refuse, and return what it said."""
        module = "perdure_operator.server.main"
        return _run([sys.executable, "-m", module, "--db", str(db or self.db), *options])

    def start_worker(self, *modules: Path | str, options: tuple[str, ...] = ()) -> Worker:
        """Start a worker with the code of some files."""
        worker = Worker(
            self.address,
            *map(str, modules),
            log=self.new_log("worker"),
            env=self.env,
            options=("--namespace", self.namespace, *options),
        )
        return self._running.enter_context(worker)

    def start_process(self, *command: str | Path) -> Process:
        """Start anything else."""
        log = self.new_log("process")
        return self._running.enter_context(Process(list(map(str, command)), log, self.env))

    def perdure(self, *words: str | Path, address: str = "") -> Finished:
        """Run a ``perdure`` command to its end."""
        env = {**os.environ, **self.env, "PERDURE_NAMESPACE": self.namespace}
        if address or self._own or self._shared:
            env["PERDURE_ADDRESS"] = address or self.address
        return _run([PERDURE, *map(str, words)], cwd=self.folder, env=env)

    async def perdure_async(self, *words: str | Path) -> Finished:
        """Run a command while the test's own loop goes on."""
        return await asyncio.to_thread(self.perdure, *words)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """A client of the scene's server and namespace."""
        options.setdefault("retry_config", PATIENT)
        client = await Client.connect(self.address, namespace=self.namespace, **options)
        async with client:
            yield client


def _run(command: list[str], **options: Any) -> Finished:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )
    return Finished(done.returncode, done.stdout, done.stderr)


async def events_of(handle: WorkflowHandle[Any, Any]) -> list[Event]:
    """Return what has happened to a run."""
    return [each.event for each in await history_of(handle)]


async def history_of(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """Return a run's history."""
    return list((await handle.fetch_history()).events)


async def names_of(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Return the names of what has happened to a run."""
    return [event_name(event) for event in await events_of(handle)]


def lines_of(file: Path) -> list[str]:
    """Return what was noted in a file so far."""
    return file.read_text().splitlines() if file.exists() else []
