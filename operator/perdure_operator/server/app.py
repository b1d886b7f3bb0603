"""The HTTP port: verbs, the worker stream, health, metrics."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import msgspec
from aiohttp import web

from perdure.protocol.fencing import HEADER
from perdure.protocol.verbs import VERBS, ErrorResponse, TargetRequest
from perdure_operator.cluster import Identity
from perdure_operator.server import scalers
from perdure_operator.server.errors import VerbError
from perdure_operator.server.fencing import Fences
from perdure_operator.server.gates import ANYONE, Gate, OpenGate
from perdure_operator.server.host import Host
from perdure_operator.server.limits import MAX_BODY_BYTES, MAX_TOKEN_BODY_BYTES
from perdure_operator.server.measuring import measure
from perdure_operator.server.rights import WITH_OWN_TOKEN, rights_for
from perdure_operator.server.streams import Streams
from perdure_operator.server.verbs import Verbs
from perdure_operator.store.port import StoreError

log = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
JSON = "application/json"

_TOO_LARGE = {"import": "a longer history cannot be imported: move the database file instead"}
"""What to do instead, by verb."""


def build_app(host: Host, gate: Gate | None = None) -> web.Application:
    """Return the application that serves ``host`` to those whom ``gate`` lets in (all)."""
    gate = gate or OpenGate()
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    verbs, streams, fences = Verbs(host), Streams(host, gate), Fences()
    for request_type, (name, _) in VERBS.items():
        endpoint = _Endpoint(host, gate, name, request_type, verbs, fences)
        app.router.add_post(f"/api/v1/{name}", endpoint.serve)
    app.router.add_get("/api/v1/stream", streams.serve)
    app.router.add_get(scalers.PATH, scalers.QueueLoads(host, gate).serve)
    _add_probes(app, host)

    async def stop(_app: web.Application) -> None:
        host.is_ready = False
        host.changes.end()
        await streams.close()

    app.on_shutdown.append(stop)
    return app


class _Endpoint:
    """One verb over HTTP, in JSON or MessagePack."""

    def __init__(
        self,
        host: Host,
        gate: Gate,
        name: str,
        request_type: type[Any],
        verbs: Verbs,
        fences: Fences,
    ) -> None:
        self._host = host
        self._gate = gate
        self._fences = fences
        self._name = name
        self._request_type = request_type
        self._kind_of = verbs.kind_of
        self._verb: Callable[[Any], Awaitable[object]] = verbs.table[request_type]
        self._decoders = {
            MSGPACK: msgspec.msgpack.Decoder(request_type).decode,
            JSON: msgspec.json.Decoder(request_type).decode,
        }

    async def serve(self, request: web.Request) -> web.Response:
        """Decode, ask, encode; an error becomes a status and a body that says why."""
        began = perf_counter()
        form = MSGPACK if request.content_type == MSGPACK else JSON
        try:
            answer: object = await self._answer(request, form)
            status, outcome = 200, "ok"
        except VerbError as error:
            answer, status, outcome = error.response(), error.status, error.code
        self._host.metrics.verbs.labels(self._name, outcome).observe(perf_counter() - began)
        encode = msgspec.msgpack.encode if form == MSGPACK else msgspec.json.encode
        return web.Response(body=encode(answer), status=status, content_type=form)

    async def _answer(self, request: web.Request, form: str) -> object:
        # Before the body: who is not known here cannot make the server read megabytes.
        identity = ANYONE
        limit = MAX_BODY_BYTES
        if self._request_type in WITH_OWN_TOKEN:
            limit = MAX_TOKEN_BODY_BYTES
        else:
            identity = await self._gate.identify(request.headers.get("Authorization"))
        try:
            body = await request.clone(client_max_size=limit).read()
            asked = self._decoders[form](body)
        except web.HTTPRequestEntityTooLarge:
            raise VerbError(
                "TooLarge",
                f"the request is larger than {limit // 2**20} MiB; "
                + _TOO_LARGE.get(self._name, "keep large data in object storage, pass a reference"),
            ) from None
        except msgspec.DecodeError as error:
            raise VerbError("Invalid", f"request to `{self._name}`: {error}") from error
        if not self._host.is_ready:
            raise VerbError("Unavailable", "the server starts or stops: try again")
        try:
            if self._request_type in WITH_OWN_TOKEN:
                # Nobody knows who this is, so it has no say in who is fenced off.
                return await self._verb(asked)
            if self._gate.asks:
                await self._check(identity, asked)
            # Last, so that nothing is waited for between this and the verb.
            self._fences.check(identity.username, request.headers.get(HEADER))
            return await self._verb(asked)
        except StoreError as error:
            raise VerbError("Unavailable", f"the store failed: {error}") from error

    async def _check(self, identity: Identity, asked: Any) -> None:
        kind = await self._kind_of(asked) if isinstance(asked, TargetRequest) else "workflow"
        await self._gate.check(identity, rights_for(asked, kind=kind))


def _add_probes(app: web.Application, host: Host) -> None:
    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        if host.is_ready:
            return web.Response(text="ok\n")
        return web.Response(text="starting or stopping\n", status=503)

    async def metrics(_request: web.Request) -> web.Response:
        measure(host)
        return web.Response(
            body=host.metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def not_found(request: web.Request) -> web.Response:
        known = ", ".join(sorted(name for name, _ in VERBS.values()))
        error = ErrorResponse(
            code="NotFound",
            message=f"{request.method} {request.path} is nothing here; verbs are POST "
            f"/api/v1/{{verb}} with one of {known}",
        )
        return web.Response(body=msgspec.json.encode(error), status=404, content_type=JSON)

    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_route("*", "/{anything:.*}", not_found)
