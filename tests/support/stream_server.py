"""A server's end of the worker stream that says and hears what a test wants.

:class:`Wire` is the end of a worker without a network between them; :class:`StreamServer` is a
WebSocket server on a port of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from aiohttp import WSMsgType, web

from perdure.client import Connection
from perdure.converter import DataConverter
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.messages import (
    FromServer,
    FromWorker,
    Hello,
    Ping,
    Pong,
    RunRef,
    Welcome,
    decode_from_worker,
    encode_frame,
)

RUN = RunRef("default", "order-42", "run-1")
LEASE = 8_000
PATIENCE = 20.0
"""Seconds after which a test that waits for a message fails."""

M = TypeVar("M", bound=FromWorker)


@dataclass
class FakeService:
    """Knows where the server is."""

    connection: Connection = field(default_factory=Connection.to)


@dataclass
class FakeClient:
    """What a worker wants of a client."""

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    identity: str = "tests"
    data_converter: DataConverter = DataConverter.default

    @property
    def service(self) -> FakeService:
        """Where the server is."""
        return FakeService(Connection.to(self.address))


class History:
    """A run's events, numbered; a second passes between two portions."""

    def __init__(self) -> None:
        self.events: list[HistoryEvent] = []
        self.now = 1_000_000

    def add(self, *events: Event) -> tuple[HistoryEvent, ...]:
        """Record events and return them as they are told."""
        self.now += 1_000
        first = len(self.events) + 1
        portion = [HistoryEvent(first + i, self.now, each) for i, each in enumerate(events)]
        self.events += portion
        return tuple(portion)


class Wire:
    """The stream of a worker's session, without the network."""

    def __init__(self, session: Any, outbox: Any) -> None:
        self._session = session
        self._outbox = outbox
        self._heard: list[FromWorker] = []
        self._news = asyncio.Event()
        self.connect()

    def connect(self) -> None:
        """Let the worker be connected."""
        self.hello: Hello = self._session.hello()
        self._outbox.open()
        self._outbox.on_wake(self._news.set)
        self._session.connected(Welcome(lease=LEASE))

    def disconnect(self) -> None:
        """Break the connection."""
        self._outbox.close()
        self._session.disconnected()

    def say(self, *messages: FromServer) -> list[FromWorker]:
        """Send messages in one frame, and return what is answered at once."""
        for message in messages:
            self._session.receive(message)
        return self.take()

    def take(self) -> list[FromWorker]:
        """Return the next frame of the worker, as it is now."""
        self._session.collect()
        return self._outbox.take()

    async def hear(self, kind: type[M]) -> M:
        """Return the next message, which must be of that kind."""
        async with asyncio.timeout(PATIENCE):
            while not self._heard:
                self._heard += self.take()
                if not self._heard:
                    await self._news.wait()
                    self._news.clear()
        message = self._heard.pop(0)
        assert isinstance(message, kind), message
        return message


class Peer:
    """One connection of a worker, seen from the server."""

    def __init__(self, socket: web.WebSocketResponse, hello: Hello) -> None:
        self.hello = hello
        self.frames: list[list[FromWorker]] = []
        self._socket = socket
        self._messages: asyncio.Queue[FromWorker | None] = asyncio.Queue()
        self.answers_pings = True
        self.is_closed = asyncio.Event()

    async def say(self, *messages: FromServer) -> None:
        """Send messages in one frame."""
        await self._socket.send_bytes(encode_frame(messages))

    async def hear(self, kind: type[M]) -> M:
        """Return the next message but for pings, which must be of that kind."""
        async with asyncio.timeout(PATIENCE):
            message = await self._messages.get()
        assert isinstance(message, kind), message
        return message

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()

    def break_off(self, transport: asyncio.BaseTransport | None) -> None:
        """Cut the connection without a word."""
        assert transport is not None
        transport.abort()

    async def read(self) -> None:
        """Take what comes, until the worker is gone."""
        async for frame in self._socket:
            if frame.type is not WSMsgType.BINARY:
                break
            messages = decode_from_worker(frame.data)
            self.frames.append(messages)
            for message in messages:
                if isinstance(message, Ping):
                    if self.answers_pings:
                        await self.say(Pong())
                else:
                    self._messages.put_nowait(message)
        self.is_closed.set()


class StreamServer:
    """Listens on a free port of the loopback.

    Args:
        lease: What workers are told.
        first: What is answered to Hello instead of a Welcome.
        status: Answer with this HTTP status instead of a WebSocket.
    """

    def __init__(
        self, *, lease: int = LEASE, first: FromServer | None = None, status: int = 0
    ) -> None:
        self._status = status
        self.first = first or Welcome(lease=lease)
        self.address = ""
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        app = web.Application()
        app.router.add_get("/api/v1/stream", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        self._port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def listen(self) -> None:
        """Take connections, after a silence at the same address."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.address = f"127.0.0.1:{self._port}"

    async def silence(self) -> None:
        """Take no connections for a while."""
        await self._site.stop()

    async def accept(self) -> Peer:
        """Return the next worker that says Hello."""
        async with asyncio.timeout(PATIENCE):
            return await self._peers.get()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._status:
            return web.Response(status=self._status)
        socket = web.WebSocketResponse(compress=False, max_msg_size=2**26)
        await socket.prepare(request)
        hello, *others = decode_from_worker((await socket.receive()).data)
        assert isinstance(hello, Hello)
        assert not others
        peer = Peer(socket, hello)
        await peer.say(self.first)
        self._peers.put_nowait(peer)
        await peer.read()
        return socket
