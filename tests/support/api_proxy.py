"""A proxy before the API server that records what is asked, and fails what a test says.

Every client gets one of its own, so that what it asked is told from what others did: the audit
log of one program. It runs in a thread, for tests that are not asynchronous.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import yaml
from aiohttp import web

T = TypeVar("T")
_OWN_HEADERS = {"host", "transfer-encoding", "content-length", "content-encoding", "connection"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    time: float
    """By the monotonic clock."""
    method: str
    path: str
    query: str
    agent: str
    body: bytes = field(repr=False, default=b"")

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_watch(self) -> bool:
        return "watch=true" in self.query or "watch=1" in self.query

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


Fault = Callable[[Asked], web.Response | float | None]
"""An answer instead of the API server's, seconds to wait before it is asked, or None."""


class ApiProxy:
    """One client's way to the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self.asked: list[Asked] = []
        self.fault: Fault = lambda _asked: None
        self.is_cut_off = False
        """Whether the API server cannot be reached: connections are broken."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def write_kubeconfig(self, path: Path) -> Path:
        """Write how a client reaches the proxy."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {"token": "none"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def cut_off(self) -> None:
        """Break every connection and refuse new ones, as a network does that is gone."""
        self.is_cut_off = True
        self.break_connections()

    def break_connections(self) -> None:
        """Break what is under way, as a restart of the API server does."""

        async def break_all() -> None:
            for task in tuple(self._open):
                task.cancel()

        self._do(break_all())

    def writes(self, *, since: float = 0.0, but: str = "/leases/") -> list[Asked]:
        """Return what was to be changed, without what has ``but`` in its path."""
        return [
            asked
            for asked in tuple(self.asked)
            if asked.is_write and asked.time >= since and not (but and but in asked.path)
        ]

    # --- inside ----------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        server, context = _read_kubeconfig(self._kubeconfig)
        self._server = server
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._client = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        )
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for task in tuple(self._open):
            task.cancel()
        await self._client.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            return await self._answer(request)
        except (aiohttp.ClientError, asyncio.CancelledError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)
        finally:
            self._open.discard(task)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            time.monotonic(),
            request.method,
            request.path,
            request.query_string,
            request.headers.get("User-Agent", ""),
            await request.read(),
        )
        if self.is_cut_off:
            raise ConnectionError
        self.asked.append(asked)
        fault = self.fault(asked)
        if isinstance(fault, web.Response):
            return fault
        if fault:
            await asyncio.sleep(fault)
        return await self._forward(request, asked)

    async def _forward(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in {*_OWN_HEADERS, "authorization"}
        }
        url = f"{self._server}{request.raw_path}"
        async with self._client.request(
            asked.method, url, data=asked.body or None, headers=headers
        ) as found:
            answer = web.StreamResponse(status=found.status)
            for name, value in found.headers.items():
                if name.lower() not in _OWN_HEADERS - {"content-encoding"}:
                    answer.headers[name] = value
            await answer.prepare(request)
            async for chunk in found.content.iter_any():
                await answer.write(chunk)
            await answer.write_eof()
            return answer


def _read_kubeconfig(path: Path) -> tuple[str, ssl.SSLContext]:
    """Return the server's address, and the context with its authority and our certificate."""
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = _content(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode())
    context.check_hostname = False
    with TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(_content(user, "client-certificate"))
        key.write_bytes(_content(user, "client-key"))
        context.load_cert_chain(certificate, key)
    return cluster["server"], context


def _content(found: dict[str, str], name: str) -> bytes:
    if f"{name}-data" in found:
        return base64.b64decode(found[f"{name}-data"])
    return Path(found[name]).read_bytes()
