"""A local port that leads to the server in the cluster: ``kubectl port-forward``, kept alive.

What goes through it goes through the API server, with the person's own rights, to the pod itself:
that is how the server is known to be the server. A forward ends when its pod does; it is opened
again at the same port, so that a command which follows a run outlives a restart of the server.
"""

from __future__ import annotations

import re
import subprocess
import threading
from types import TracebackType
from typing import Self

from perdure.cli.errors import EXIT_UNREACHABLE, CommandError
from perdure.cli.kubectl import Kubectl

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_AGAIN = 0.5
"""Seconds between two attempts to open it again."""
_STOP_TIMEOUT = 5.0


class Tunnel:
    """A forward to a Service, for the length of a ``with`` block.

    Args:
        kubectl: what opens it.
        namespace: of the Service.
        service: its name.
        port: the Service's port.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, service: str, port: int) -> None:
        self._kubectl = kubectl
        self._target = ("-n", namespace, f"service/{service}")
        self._port = port
        self._local = 0
        self._closed = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._keeping: threading.Thread | None = None
        self._reader = threading.current_thread()
        """Who reads what kubectl says."""

    @property
    def address(self) -> str:
        """Where it begins, ``host:port``."""
        return f"127.0.0.1:{self._local}"

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            CommandError: kubectl could not, and says why.
        """
        said = self._open()
        if said:
            raise CommandError(
                f"no way to the server in the cluster: {said}. It takes the right to create "
                "pods/portforward in the server's namespace; with --address the server is reached "
                "in another way",
                EXIT_UNREACHABLE,
            )
        self._keeping = threading.Thread(target=self._keep, name="tunnel", daemon=True)
        self._reader = self._keeping
        self._keeping.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._closed.set()
        self._stop()
        if self._keeping is not None:
            self._keeping.join(_STOP_TIMEOUT)

    def _open(self) -> str:
        """Start kubectl and wait until it listens; return what it said if it does not."""
        process = self._process = self._kubectl.start(
            "port-forward", *self._target, f"{self._local or ''}:{self._port}"
        )
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            found = _FORWARDING.match(line)
            if found:
                self._local = int(found[1])
                return ""
            said.append(line.strip())
        self._stop()
        return " ".join(said) or "kubectl port-forward ended without a word"

    def _keep(self) -> None:
        while not self._closed.is_set():
            process = self._process
            assert process is not None
            assert process.stdout is not None
            for _line in process.stdout:
                pass  # It says a line for each connection; unread, they would hold it up.
            self._stop()
            if self._closed.wait(_AGAIN):
                return
            self._open()
            if self._closed.is_set():
                self._stop()  # Closed while it was being opened.

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Whoever reads it has come to its end, or is this thread.
        if process.stdout is not None and threading.current_thread() is self._reader:
            process.stdout.close()
