"""The server's verbs as one typed method, with retries where they are harmless.

What may have been done is repeated only if doing it twice is the same as once: reading, starting
with a request id, signalling with a signal id, asking to cancel. What certainly was not done may
always be repeated.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, overload

import msgspec

from perdure.client._connection import DEFAULT_ADDRESS, Connection, RetryConfig, TLSConfig
from perdure.client._errors import RPCError, RPCStatusCode
from perdure.client._tokens import TokenFile
from perdure.client._transport import CallFailed, Transport
from perdure.protocol import verbs
from perdure.protocol.retries import RetryResponse

_TIMEOUT = 30.0
"""Seconds for one attempt, beside the time that the request asks the server to wait."""
_PROBE_PATIENCE_MILLIS = 2000


class Service:
    """Calls the verbs of :mod:`perdure.protocol.verbs`.

    Args:
        address: ``host:port``, or a URL.
        api_key: a bearer token, or the file in which it is.
        tls: True, or how.
        headers: sent with every call.
        retry_config: how long to try again.
        sleep: how to wait between attempts.
        clock: what measures them, in seconds.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | TokenFile | None = None,
        tls: bool | TLSConfig | ssl.SSLContext = False,
        headers: Mapping[str, str] | None = None,
        retry_config: RetryConfig | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = Connection.to(address, api_key=api_key, tls=tls, headers=headers)
        """How the server is reached."""
        self.retry_config = retry_config or RetryConfig()
        self.sleep = sleep
        self.answered = False
        """Whether a server has answered yet: then an outage is worth waiting out."""
        self._clock = clock
        self._transport = Transport(self.connection)

    async def probe(self, *, patience: timedelta | None = None) -> None:
        """Find out whether a server is there.

        Raises:
            RPCError: none is, or not within ``patience`` (2 s).
        """
        limit = _PROBE_PATIENCE_MILLIS
        if patience is not None:
            limit = patience // timedelta(milliseconds=1)
        await self._repeat(
            lambda: self._transport.get("/healthz", _TIMEOUT), harmless=True, limit_millis=limit
        )

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @overload
    async def call(
        self, request: verbs.StartRequest, *, timeout: timedelta | None = None
    ) -> verbs.StartResponse: ...
    @overload
    async def call(
        self,
        request: verbs.SignalRequest
        | verbs.CancelRequest
        | verbs.TerminateRequest
        | verbs.SuspendRequest
        | verbs.ResumeRequest,
        *,
        timeout: timedelta | None = None,
    ) -> verbs.Done: ...
    @overload
    async def call(
        self, request: verbs.RetryRequest, *, timeout: timedelta | None = None
    ) -> RetryResponse: ...
    @overload
    async def call(
        self, request: verbs.QueryRequest, *, timeout: timedelta | None = None
    ) -> verbs.QueryResponse: ...
    @overload
    async def call(
        self, request: verbs.ResultRequest, *, timeout: timedelta | None = None
    ) -> verbs.ResultResponse: ...
    @overload
    async def call(
        self, request: verbs.DescribeRequest, *, timeout: timedelta | None = None
    ) -> verbs.RunDescription: ...
    @overload
    async def call(
        self, request: verbs.HistoryRequest, *, timeout: timedelta | None = None
    ) -> verbs.HistoryResponse: ...
    @overload
    async def call(
        self, request: verbs.ImportRequest, *, timeout: timedelta | None = None
    ) -> verbs.ImportResponse: ...
    @overload
    async def call(
        self, request: verbs.ListRequest, *, timeout: timedelta | None = None
    ) -> verbs.ListResponse: ...
    @overload
    async def call(
        self, request: verbs.WatchRequest, *, timeout: timedelta | None = None
    ) -> verbs.WatchResponse: ...
    @overload
    async def call(
        self, request: verbs.TakeActivityRequest, *, timeout: timedelta | None = None
    ) -> verbs.TakeActivityResponse: ...
    @overload
    async def call(
        self, request: verbs.ReportActivityRequest, *, timeout: timedelta | None = None
    ) -> verbs.Done: ...
    @overload
    async def call(
        self, request: verbs.BeatActivityRequest, *, timeout: timedelta | None = None
    ) -> verbs.BeatActivityResponse: ...
    @overload
    async def call(
        self, request: verbs.QueuesRequest, *, timeout: timedelta | None = None
    ) -> verbs.QueuesResponse: ...
    async def call(self, request: Any, *, timeout: timedelta | None = None) -> Any:
        """Ask the server and return its answer.

        Args:
            request: one of the requests of :data:`perdure.protocol.verbs.VERBS`.
            timeout: for one attempt; 30 s, and what the request lets the server wait, by default.

        Raises:
            RPCError: the server refused, or could not be reached for long enough.
        """
        verb, response_type = verbs.VERBS[type(request)]
        body = msgspec.msgpack.encode(request)
        seconds = _TIMEOUT + _waiting(request) if timeout is None else timeout.total_seconds()
        answer = await self._repeat(
            lambda: self._transport.post(f"/api/v1/{verb}", body, seconds),
            harmless=_harmless_twice(request),
            limit_millis=self.retry_config.max_elapsed_time_millis,
        )
        try:
            return msgspec.msgpack.decode(answer, type=response_type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RPCError(
                f"the answer of {self.connection.address} to `{verb}` cannot be read: {error}; is "
                "it a Perdure server of this version?",
                RPCStatusCode.INTERNAL,
            ) from error

    async def _repeat(
        self,
        attempt: Callable[[], Awaitable[bytes]],
        *,
        harmless: bool,
        limit_millis: int | None,
    ) -> bytes:
        began = self._clock()
        for delay in itertools.chain(delays(self.retry_config), [None]):
            try:
                answer = await attempt()
            except CallFailed as failed:
                repeatable = failed.may_pass and (harmless or failed.nothing_done)
                elapsed = (self._clock() - began + (delay or 0)) * 1000
                in_time = limit_millis is None or elapsed <= limit_millis
                if delay is None or not (repeatable and in_time):
                    raise _told(failed, harmless) from failed.__cause__
                await self.sleep(delay)
            else:
                self.answered = True
                return answer
        raise AssertionError("the last attempt returns or raises")


def delays(config: RetryConfig) -> Iterator[float]:
    """Return the seconds to wait after each failed attempt but the last."""
    millis = float(config.initial_interval_millis)
    for _ in range(config.max_retries):
        spread = 1 + config.randomization_factor * random.uniform(-1, 1)  # noqa: S311 - no secret
        yield millis * spread / 1000
        millis = min(millis * config.multiplier, config.max_interval_millis)


def _told(failed: CallFailed, harmless: bool) -> RPCError:
    """Return the error for the caller, who must know if it cannot be known what was done."""
    error = failed.error
    if harmless or failed.nothing_done or error.http_status is not None:
        return error
    return RPCError(
        f"{error.message}: it may or may not have been done; look, then repeat it", error.status
    )


def _waiting(request: Any) -> float:
    """Return for how many seconds a request lets the server wait."""
    millis = request.timeout if isinstance(request, verbs.QueryRequest) else 0
    return float(getattr(request, "wait", millis)) / 1000


def _harmless_twice(request: Any) -> bool:
    match request:
        case verbs.StartRequest(request_id=identifier) | verbs.RetryRequest(request_id=identifier):
            return bool(identifier)
        case verbs.SignalRequest(signal_id=identifier):
            return bool(identifier)
        case _:
            # To terminate twice could end a run that was started in between.
            return not isinstance(request, verbs.TerminateRequest)
