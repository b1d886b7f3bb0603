"""A local port that leads to the server in the cluster: ``kubectl port-forward``, kept alive.

What goes through it goes through the API server, with the person's own rights, to the pod itself:
that is how the server is known to be the server. When the pod goes, kubectl may hold on to a
connection that leads nowhere; so somebody asks through the tunnel whether the server is there, and
otherwise the tunnel is opened again at the same port: a command that follows a run outlives a move
of the server.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Self

from perdure.cli.errors import EXIT_UNREACHABLE, CommandError
from perdure.cli.kubectl import Kubectl

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_AGAIN = 0.5
"""Seconds between two attempts to open it again."""
_WATCH_EVERY = 2.0
"""Seconds between two questions whether the server is there; short commands ask none."""
_PATIENCE = 3.0
"""Seconds that it may take to answer."""
_STOP_TIMEOUT = 5.0


class Tunnel:
    """A forward to a Service, for the length of a ``with`` block.

    Args:
        kubectl: what opens it.
        namespace: of the Service.
        service: its name.
        port: the Service's port.
        is_secure: whether the server speaks TLS.
    """

    def __init__(
        self, kubectl: Kubectl, namespace: str, service: str, port: int, *, is_secure: bool
    ) -> None:
        self._kubectl = kubectl
        self._target = ("-n", namespace, f"service/{service}")
        self._port = port
        self._is_secure = is_secure
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
        threading.Thread(target=self._watch, name="tunnel-watch", daemon=True).start()
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
            while not self._closed.wait(_AGAIN) and self._open():
                pass  # The next pod is not there yet.
        self._stop()  # It may have been closed while it was being opened.

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_EVERY):
            process = self._process
            if self._is_answered() or self._closed.is_set():
                continue
            if process is not None and process is self._process and process.poll() is None:
                process.terminate()  # Whoever waits on a connection learns that it is lost.

    def _is_answered(self) -> bool:
        """Tell whether the server is there; any answer counts."""
        where = ("127.0.0.1", self._local)
        connection = (
            HTTPSConnection(*where, timeout=_PATIENCE, context=in_tunnel())
            if self._is_secure
            else HTTPConnection(*where, timeout=_PATIENCE)
        )
        with closing(connection):
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, HTTPException):
                return False
            return True

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


def in_tunnel() -> ssl.SSLContext:
    """Return how to speak TLS in a tunnel.

    The API server has led it to the pod: whose certificate it is, is known already.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
