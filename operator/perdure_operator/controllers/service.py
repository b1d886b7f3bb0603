"""The adapter of the :class:`Server` port: the client's service, with errors as types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perdure.client import RetryConfig, RPCError, Service
from perdure.protocol.verbs import (
    VERBS,
    DescribeRequest,
    HistoryRequest,
    ListRequest,
    QueuesRequest,
    ResultRequest,
    WatchRequest,
)
from perdure_operator.cluster import NotLeadingError
from perdure_operator.controllers.server import error_for

CALL_TIMEOUT = timedelta(seconds=15)
"""For a call that does not wait; one that does has its wait besides."""

CALLS_AT_ONCE = 32
"""Calls that do not wait, at once; the server has other clients."""

FENCED = "Fenced"
"""The server's word for: an operator that leads now has been heard."""

NO_RETRIES = RetryConfig(max_retries=0)
"""The work queue repeats; a call that repeats itself would hold up a worker of the queue."""

READS = (
    DescribeRequest,
    HistoryRequest,
    ListRequest,
    QueuesRequest,
    ResultRequest,
    WatchRequest,
)
"""What changes nothing; everything else may be asked by the leader only."""

CallObserver = Callable[[str, str], None]
"""Told of every call: the verb, and the code of its error (empty when it went well)."""


class ServiceServer:
    """The server behind a service of :mod:`perdure.client`."""

    def __init__(
        self,
        service: Service,
        *,
        observe: CallObserver = lambda _verb, _code: None,
        may_write: Callable[[str], None] = lambda _request: None,
    ) -> None:
        """``may_write`` is asked when a change is about to be sent, and raises what forbids it."""
        self._service = service
        self._observe = observe
        self._may_write = may_write
        self._at_once = asyncio.Semaphore(CALLS_AT_ONCE)

    async def call(self, request: Any) -> Any:
        """See :meth:`perdure_operator.controllers.server.Server.call`."""
        if getattr(request, "wait", 0):
            return await self._call(request, timedelta(milliseconds=request.wait))
        async with self._at_once:
            return await self._call(request, timedelta())

    async def _call(self, request: Any, wait: timedelta) -> Any:
        verb = VERBS[type(request)][0]
        if not isinstance(request, READS):
            self._may_write(verb)
        try:
            answer = await self._service.call(request, timeout=CALL_TIMEOUT + wait)
        except RPCError as error:
            code = error.code or "Unavailable"
            self._observe(verb, code)
            if code == FENCED:
                raise NotLeadingError(verb, str(error)) from error
            raise error_for(code, str(error), run_id=error.run_id) from error
        self._observe(verb, "")
        return answer
