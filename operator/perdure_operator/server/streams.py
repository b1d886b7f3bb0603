"""The worker stream's endpoint: a WebSocket for each worker.

A worker's token is looked at when it connects, and its rights as soon as it has said for which
namespace it comes. Both are looked at again now and then: a connection must not outlive what it
was let in by. A worker whose token is renewed shows the new one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from perdure.protocol.messages import (
    PROTOCOL_VERSION,
    FromServer,
    FromWorker,
    Hello,
    NewToken,
    Refused,
    decode_from_worker,
    encode_frame,
)
from perdure_operator.cluster import Identity
from perdure_operator.server.errors import VerbError
from perdure_operator.server.gates import Gate, OpenGate
from perdure_operator.server.host import Host
from perdure_operator.server.limits import MAX_FRAME_BYTES
from perdure_operator.server.rights import rights_to_work
from perdure_operator.server.sessions import Session
from perdure_operator.store.port import StoreError

log = logging.getLogger(__name__)

HELLO_TIMEOUT = 10.0
RIGHTS_INTERVAL = 30.0
"""Seconds between two looks at the token and the rights of a connected worker."""


@dataclass(slots=True, kw_only=True)
class _Caller:
    """Who is connected, and the newest token they have shown."""

    identity: Identity
    authorization: str | None


class Streams:
    """Every worker's connection."""

    def __init__(self, host: Host, gate: Gate | None = None) -> None:
        self._host = host
        self._gate = gate or OpenGate()
        self._sockets: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one worker until it goes."""
        try:
            identity = await self._gate.identify(request.headers.get("Authorization"))
        except VerbError as error:
            log.info("a worker at %s is not let in: %s", request.remote, error)
            return web.Response(
                body=msgspec.json.encode(error.response()),
                status=error.status,
                content_type="application/json",
            )
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            caller = _Caller(identity=identity, authorization=request.headers.get("Authorization"))
            await self._serve(socket, request, caller)
        except msgspec.DecodeError as error:
            log.warning("a worker at %s sent what cannot be read: %s", request.remote, error)
            await _say(socket, Refused(reason=f"message cannot be read: {error}"))
        except StoreError as error:
            log.warning("a worker's message could not be served: %s", error)
        finally:
            self._sockets.discard(socket)
            await socket.close()
        return socket

    async def _serve(
        self, socket: web.WebSocketResponse, request: web.Request, caller: _Caller
    ) -> None:
        first = await socket.receive(HELLO_TIMEOUT)
        if first.type is not WSMsgType.BINARY:
            return
        hello, *others = decode_from_worker(first.data)
        refusal = _refuse(hello)
        if refusal:
            await _say(socket, Refused(reason=refusal))
            return
        assert isinstance(hello, Hello)
        if not await self._may_work(socket, caller.identity, hello):
            return
        session = Session(hello, socket.send_bytes, lambda: _break(request), self._host.now())
        log.info("worker %s is there for task queue %r", hello.identity, hello.task_queue)
        loop = asyncio.get_running_loop()
        helpers = [loop.create_task(session.pump())]
        if self._gate.asks:
            helpers.append(loop.create_task(self._watch_rights(socket, caller, hello)))
        try:
            await self._host.connect(session)
            for message in others:
                await self._hear(session, caller, message)
            await self._read(socket, session, caller)
        finally:
            self._host.disconnect(session)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            log.info("worker %s is gone", hello.identity)

    async def _may_work(
        self, socket: web.WebSocketResponse, identity: Identity, hello: Hello
    ) -> bool:
        """Return whether a worker may take tasks, after having told it if it may not."""
        try:
            await self._gate.check(identity, rights_to_work(hello))
        except VerbError as error:
            if error.code == "Forbidden":
                log.warning("worker %s is refused: %s", hello.identity, error)
                await _say(socket, Refused(reason=str(error)))
            else:  # It comes back by itself, and then there may be a verdict.
                await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"no verdict")
            return False
        return True

    async def _watch_rights(
        self, socket: web.WebSocketResponse, caller: _Caller, hello: Hello
    ) -> None:
        """Break with a worker that has lost its rights; without a verdict all stays as it is."""
        while True:
            await asyncio.sleep(RIGHTS_INTERVAL)
            try:
                await self._look_again(caller, hello)
            except VerbError as error:
                if error.code not in ("Forbidden", "Unauthorized"):
                    continue
                log.warning("worker %s has lost its rights: %s", hello.identity, error)
                if error.code == "Forbidden":
                    await _say(socket, Refused(reason=str(error)))
                # Whose token has ended may come back with a good one.
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"no right to work")
                return

    async def _look_again(self, caller: _Caller, hello: Hello) -> None:
        found = await self._gate.identify(caller.authorization)
        if (found.username, found.uid) != (caller.identity.username, caller.identity.uid):
            raise VerbError("Unauthorized", f"its token is {found.username}'s by now")
        await self._gate.check(found, rights_to_work(hello))

    async def _hear(self, session: Session, caller: _Caller, message: FromWorker) -> None:
        if isinstance(message, NewToken):
            caller.authorization = f"Bearer {message.token}"
        else:
            await self._host.on_message(session, message)

    async def _read(self, socket: web.WebSocketResponse, session: Session, caller: _Caller) -> None:
        async for frame in socket:
            if frame.type is not WSMsgType.BINARY:
                return
            for message in decode_from_worker(frame.data):
                await self._hear(session, caller, message)
            if not session.is_open:
                return

    async def close(self) -> None:
        """Let every worker go: they come back when a server is there again."""
        for socket in list(self._sockets):
            await socket.close(message=b"the server stops")


def _refuse(hello: object) -> str:
    if not isinstance(hello, Hello):
        return "the first message is Hello"
    if hello.version != PROTOCOL_VERSION:
        return (
            f"this server speaks version {PROTOCOL_VERSION} of the worker stream, the worker "
            f"version {hello.version}: use the same release of Perdure on both sides"
        )
    if not (hello.worker_id and hello.namespace and hello.task_queue):
        return "Hello needs worker_id, namespace and task_queue"
    return ""


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _say(socket: web.WebSocketResponse, message: FromServer) -> None:
    if not socket.closed:
        await socket.send_bytes(encode_frame([message]))
