"""What the client and its handles share: the service, who is asking, how values are converted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from perdure.client._errors import RPCError, RPCStatusCode
from perdure.client._service import Service
from perdure.converter import DataConverter
from perdure.protocol.payloads import Payload

_logger = logging.getLogger("perdure.client")
_PAUSE = 1.0
"""Seconds between the rounds of a call that waits an outage out."""

R = TypeVar("R")


class Target(TypedDict):
    """The fields of :class:`perdure.protocol.verbs.TargetRequest`."""

    namespace: str
    workflow_id: str
    run_id: str


class ClientBase:
    """A namespace of a server."""

    def __init__(
        self,
        service: Service,
        *,
        namespace: str,
        data_converter: DataConverter,
        identity: str,
    ) -> None:
        self._service = service
        self._namespace = namespace
        self._data_converter = data_converter
        self._identity = identity

    @property
    def service(self) -> Service:
        """The verbs underneath."""
        return self._service

    @property
    def namespace(self) -> str:
        """Where this client starts and looks."""
        return self._namespace

    @property
    def data_converter(self) -> DataConverter:
        """What values are converted with."""
        return self._data_converter

    @property
    def identity(self) -> str:
        """Who is asking, for people who read histories."""
        return self._identity

    def target(self, workflow_id: str, run_id: str | None) -> Target:
        """Return what names a run to the server; without a run id it is the newest."""
        return {"namespace": self.namespace, "workflow_id": workflow_id, "run_id": run_id or ""}

    async def decode(self, payload: Payload | None, hint: Any, what: str) -> Any:
        """Return a value from the server; ``what`` names it in errors."""
        if payload is None:
            return None
        decoded = await self._data_converter.decode_payloads([payload])
        return self._data_converter.from_payload(decoded[0], hint, what)

    async def encode_memo(self, memo: Mapping[str, Any] | None) -> dict[str, Payload]:
        """Return a memo as it travels."""
        keys: Sequence[str] = list(memo or ())
        values = await self._data_converter.encode([(memo or {})[key] for key in keys], "the memo")
        return dict(zip(keys, values, strict=True))

    async def through_outages(self, call: Callable[[], Awaitable[R]], waiting_for: str) -> R:
        """Call until there is an answer, however long the server is away.

        A server that has never answered is not waited for: the address may be wrong.
        """
        while True:
            try:
                return await call()
            except RPCError as error:
                outage = error.status in (
                    RPCStatusCode.UNAVAILABLE,
                    RPCStatusCode.DEADLINE_EXCEEDED,
                )
                if not (outage and self._service.answered):
                    raise
                _logger.warning("Still waiting for %s: %s", waiting_for, error)
            await self._service.sleep(_PAUSE)
