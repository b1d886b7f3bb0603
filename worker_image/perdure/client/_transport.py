"""One HTTP request, and what its failure means: was anything done, may it be tried again?"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from perdure.client._connection import Connection
from perdure.client._errors import STATUS_OF_CODE, STATUS_OF_HTTP, RPCError, RPCStatusCode
from perdure.exceptions import UsageError
from perdure.protocol.verbs import ErrorResponse

_MSGPACK = "application/msgpack"
_CONNECT_TIMEOUT = 5.0
_MAX_QUOTED = 300
_PORTION = 2**18


@dataclass(eq=False)
class CallFailed(Exception):  # noqa: N818 - not an error but its judgement; callers see RPCError
    """A request failed."""

    error: RPCError
    """What the caller is told if it is not tried again."""
    nothing_done: bool
    """The server certainly did nothing, so that anything may be tried again."""
    may_pass: bool
    """It may work later."""


class Transport:
    """Sends requests over kept-alive connections of the running loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: bytes, timeout: float) -> bytes:
        """Send a body and return the one that is answered.

        Raises:
            CallFailed: there is no answer, or it is a refusal.
        """
        headers = {"Content-Type": _MSGPACK, "Accept": _MSGPACK}
        return await self._send("POST", path, timeout, body, headers)

    async def get(self, path: str, timeout: float) -> bytes:
        """Return what is at a path.

        Raises:
            CallFailed: there is no answer, or it is a refusal.
        """
        return await self._send("GET", path, timeout)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def __del__(self) -> None:
        # Code that never closes its client must not be scolded at exit.
        if self._session is not None:
            self._session.detach()

    async def _send(
        self,
        method: str,
        path: str,
        timeout: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        session = self._current_session()
        sent = {**self._own_headers(), **(headers or {})}
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_TIMEOUT)
        try:
            async with session.request(
                method,
                f"{self._connection.base_url}{path}",
                data=_in_portions(body),
                headers=sent,
                timeout=limits,
                server_hostname=self._connection.server_hostname,
                allow_redirects=False,
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._no_answer(path, error, timeout) from error
        if response.status >= 300:
            raise self._refusal(path, response.status, response.content_type, answer)
        return answer

    def _current_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            if self._session is not None:
                self._session.detach()
            # No bound on connections: each awaited result holds one.
            connector = _Connector(limit=0, ssl=self._connection.ssl_context or True)
            self._session = aiohttp.ClientSession(connector=connector)
            self._loop = loop
        return self._session

    def _own_headers(self) -> Mapping[str, str]:
        try:
            return self._connection.headers
        except UsageError as error:
            # It may be written just now, or be mounted in a moment.
            status = RPCStatusCode.UNAUTHENTICATED
            raise _failed(str(error), status=status, nothing_done=True) from error

    def _no_answer(self, path: str, error: Exception, timeout: float) -> CallFailed:
        address = self._connection.address
        what = path.rpartition("/")[2]
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)):
            message = (
                f"no trust in the server at {address}: {error}; see the tls option, or --tls-ca on "
                "the command line"
            )
            status = RPCStatusCode.UNAUTHENTICATED
            return _failed(message, status=status, nothing_done=True, may_pass=False)
        if isinstance(error, aiohttp.InvalidURL):
            message = f"{self._connection.base_url} is no address of a server"
            status = RPCStatusCode.INVALID_ARGUMENT
            return _failed(message, status=status, nothing_done=True, may_pass=False)
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            message = (
                f"no server answers at {address} ({reason}): is it running there? Without a "
                "cluster `perdure dev` starts one; --address names another"
            )
            return _failed(message, nothing_done=True, may_pass=True)
        if isinstance(error, TimeoutError):
            message = f"the server at {address} did not answer `{what}` within {timeout:g} s"
            return _failed(message, status=RPCStatusCode.DEADLINE_EXCEEDED, may_pass=False)
        reason = str(error) or type(error).__name__
        return _failed(f"the connection to {address} was lost during `{what}` ({reason})")

    def _refusal(self, path: str, status: int, content_type: str, body: bytes) -> CallFailed:
        try:
            decode = msgspec.msgpack.decode if content_type == _MSGPACK else msgspec.json.decode
            answer = decode(body, type=ErrorResponse)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._foreign_refusal(path, status, body)
        error = RPCError(
            answer.message,
            STATUS_OF_CODE.get(answer.code, RPCStatusCode.UNKNOWN),
            code=answer.code,
            http_status=status,
            run_id=answer.run_id,
        )
        unavailable = answer.code == "Unavailable"
        return CallFailed(error, nothing_done=unavailable, may_pass=unavailable)

    def _foreign_refusal(self, path: str, status: int, body: bytes) -> CallFailed:
        """Judge an answer that is not the server's: a proxy's, or of something else there."""
        text = " ".join(body[:_MAX_QUOTED].decode(errors="replace").split())
        message = (
            f"{self._connection.address}{path} answered HTTP {status}, not as a Perdure server "
            f"does: is the address right? It says: {text or 'nothing'}"
        )
        code = STATUS_OF_HTTP.get(status, RPCStatusCode.UNKNOWN)
        error = RPCError(message, code, http_status=status)
        may_pass = code is RPCStatusCode.UNAVAILABLE
        return CallFailed(error, nothing_done=False, may_pass=may_pass)


class _Connector(aiohttp.TCPConnector):
    """Closes its idle connections without a word when it is forgotten."""

    def __del__(self, _unused: Any = None) -> None:
        if not self.closed:
            self._close()


def _in_portions(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return a body such that a large one does not hold up the loop while it is sent."""
    return io.BytesIO(body) if body is not None and len(body) > _PORTION else body


def _failed(
    message: str,
    *,
    status: RPCStatusCode = RPCStatusCode.UNAVAILABLE,
    nothing_done: bool = False,
    may_pass: bool = True,
) -> CallFailed:
    return CallFailed(RPCError(message, status), nothing_done=nothing_done, may_pass=may_pass)
