"""The connection to the server: one WebSocket, made anew whenever it breaks.

The idea is few wake-ups. A frame is read, its messages are handled at once in the reading task
(workflow code runs right there), and what they gave rise to leaves in one frame before the next
one is read. What comes up at other times (a step has finished, a heartbeat) is put into the outbox
and leaves together with all else that comes up in the same round of the loop.

What the messages mean is the :class:`Handler`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

import aiohttp
import msgspec

from perdure.exceptions import PayloadTooLargeError, PerdureError, UsageError
from perdure.protocol.messages import (
    FromServer,
    FromWorker,
    NewToken,
    Refused,
    Welcome,
    decode_from_server,
    encode_frame,
)
from perdure.worker._codec import CodecBorder
from perdure.worker._outbox import Outbox
from perdure.worker._ports import Address, Handler

logger = logging.getLogger("perdure.worker")

MAX_FRAME = 64 * 1024 * 1024
"""The largest frame in bytes, both ways."""
_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0
_CONNECT_TIMEOUT = _WELCOME_TIMEOUT = 10.0
# Nobody answers at the address of a pod that is gone, and a Service may lead there for a moment:
# only another attempt comes to the pod that took its place.
_REACH_TIMEOUT = 2.0
_OPEN_STREAM = "/api/v1/stream"
_AUTHORIZATION, _BEARER = "Authorization", "Bearer "


class WorkerRefusedError(PerdureError):
    """The server will not serve this worker; trying again cannot help."""


class StreamBrokenError(Exception):
    """What is at the other end does not speak as a server does, or nothing can be said to it."""


class ConnectionEndedError(Exception):
    """The connection is over."""


_TRANSIENT = (
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    StreamBrokenError,
    ConnectionEndedError,
)


def _ignore(_limit: float | None) -> None:
    """Nobody watches."""


class Stream:
    """Keeps a handler connected.

    Args:
        address: Where the server is.
        handler: Told what happens.
        outbox: What the handler sends.
        border: Where a codec does its work; None without one.
        jitter: Spreads reconnections, so that a thousand workers do not come back at once.
        beat: Called with each ping, with the seconds after which the next one would be too late
            for the lease; with None when the connection is over.
    """

    def __init__(
        self,
        *,
        address: Address,
        handler: Handler,
        outbox: Outbox,
        border: CodecBorder | None = None,
        jitter: Callable[[], float] = random.random,
        beat: Callable[[float | None], None] = _ignore,
    ) -> None:
        self._address = address
        self._handler = handler
        self._outbox = outbox
        self._border = border
        self._sending = asyncio.Lock()
        self._jitter = jitter
        self._beat = beat
        self._heard = 0.0
        self._shown: str | None = None
        self._failures = 0
        self._told = False
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._closing = False

    @property
    def is_connected(self) -> bool:
        """Whether the server knows the worker now."""
        return self._socket is not None

    async def run(self) -> None:
        """Stay connected until :meth:`close`.

        Raises:
            WorkerRefusedError: the server will not have this worker.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_REACH_TIMEOUT)
        async with aiohttp.ClientSession(timeout=limits) as session:
            while not self._closing:
                try:
                    await self._connect(session)
                except _TRANSIENT as error:
                    self._tell(error)
                    await asyncio.sleep(self._delay())

    async def close(self) -> None:
        """Send what waits and end the connection for good."""
        self._closing = True
        if self._socket is not None:
            with suppress(aiohttp.ClientError, OSError):  # it may be breaking just now
                await self._flush(self._socket)
            await self._socket.close()

    def _headers(self) -> dict[str, str]:
        try:
            return dict(self._address.headers)
        except UsageError as error:
            raise StreamBrokenError(str(error)) from error  # the token's file may come

    async def _connect(self, session: aiohttp.ClientSession) -> None:
        headers = self._headers()
        self._shown = headers.get(_AUTHORIZATION)
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            socket = await session.ws_connect(
                self._address.base_url + _OPEN_STREAM,
                headers=headers,
                ssl=self._address.ssl_context or True,
                server_hostname=self._address.server_hostname,
                compress=0,
                max_msg_size=MAX_FRAME,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        async with socket:
            first = await self._greet(socket)
            try:
                await self._serve(socket, first)
            finally:
                self._socket = None
                self._beat(None)
                self._outbox.close()
                self._handler.disconnected()
        if not self._closing:
            raise ConnectionEndedError(f"closed by the server, code {socket.close_code}")

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> Sequence[FromServer]:
        await socket.send_bytes(encode_frame([self._handler.hello()]))
        async with asyncio.timeout(_WELCOME_TIMEOUT):
            frame = await socket.receive()
        if frame.type is not aiohttp.WSMsgType.BINARY:
            raise StreamBrokenError(f"no answer to hello, but {frame.type.name} {frame.data!r}")
        messages = self._decode(frame.data)
        match messages[:1]:
            case [Welcome()]:
                return messages
            case [Refused(reason=reason)]:
                raise WorkerRefusedError(f"The server refuses this worker: {reason}")
            case other:
                raise StreamBrokenError(f"no answer to hello, but {other}")

    async def _serve(
        self, socket: aiohttp.ClientWebSocketResponse, first: Sequence[FromServer]
    ) -> None:
        welcome = first[0]
        assert isinstance(welcome, Welcome)
        if self._told:
            logger.warning("Connected to the server at %s", self._address.base_url)
        self._failures, self._told = 0, False
        self._outbox.open()
        self._socket = socket
        self._handler.connected(welcome)
        for message in first[1:]:
            await self._handle(message)

        woken = asyncio.Event()
        self._outbox.on_wake(woken.set)
        helpers = [
            asyncio.create_task(self._pump(socket, woken), name="perdure stream sender"),
            asyncio.create_task(self._ping(socket, welcome.lease / 1000), name="perdure pings"),
        ]
        try:
            await self._flush(socket)
            await self._read(socket, woken)
        finally:
            for helper in helpers:
                helper.cancel()
            ends = await asyncio.gather(*helpers, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, woken: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await socket.receive()
            self._heard = loop.time()
            if frame.type is aiohttp.WSMsgType.BINARY:
                # No wake-up of the sender for what is sent from here.
                self._outbox.on_wake(None)
                try:
                    for message in self._decode(frame.data):
                        await self._handle(message)
                finally:
                    self._outbox.on_wake(woken.set)
                await self._flush(socket)
            elif frame.type is aiohttp.WSMsgType.ERROR:
                raise ConnectionEndedError(f"{frame.data!r}")
            elif frame.type is not aiohttp.WSMsgType.TEXT:
                return

    async def _handle(self, message: FromServer) -> None:
        if isinstance(message, Refused):
            raise WorkerRefusedError(f"The server refuses this worker: {message.reason}")
        if self._border is not None:
            try:
                message = await self._border.decode(message)
            except Exception as error:  # noqa: BLE001 - the border of the user's codec
                self._handler.unreadable(message, error)
                return
        self._handler.receive(message)

    def _decode(self, data: bytes) -> list[FromServer]:
        try:
            return decode_from_server(data)
        except msgspec.DecodeError as error:
            raise StreamBrokenError(
                f"the server sent what this version does not understand ({error}): "
                "bring server and worker to versions that fit together"
            ) from error

    async def _pump(self, socket: aiohttp.ClientWebSocketResponse, woken: asyncio.Event) -> None:
        while True:
            await woken.wait()
            woken.clear()
            try:
                await self._flush(socket)
            except (aiohttp.ClientError, OSError):
                return  # the reader sees it too, and says so
            except Exception:
                # A fault of our own. Let the reader end, so that it comes out.
                await socket.close()
                raise

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse, lease: float) -> None:
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        while True:
            self._beat(lease / 2)
            self._handler.ping()
            self._show_new_token()
            await asyncio.sleep(lease / 5)
            if loop.time() - self._heard > lease:
                logger.warning("No sign of the server for %.1f s: connecting anew", lease)
                await socket.close()
                return

    def _show_new_token(self) -> None:
        """Tell the server of a token that was renewed since it was shown one."""
        try:
            held = self._address.headers.get(_AUTHORIZATION)
        except UsageError:
            return  # it is being written
        if held is not None and held != self._shown:
            self._shown = held
            self._outbox.put(NewToken(token=held.removeprefix(_BEARER)))

    async def _flush(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        if self._border is None:
            self._handler.collect()
            messages = self._outbox.take()
            if messages:
                await self._send(socket, messages)
            return
        # A codec may wait, and what was said first must leave first.
        async with self._sending:
            self._handler.collect()
            encoded = await self._encode(self._outbox.take(), self._border)
            if encoded:
                await self._send(socket, encoded)

    async def _encode(
        self, messages: Sequence[FromWorker], border: CodecBorder
    ) -> list[FromWorker]:
        encoded: list[FromWorker] = []
        for message in messages:
            try:
                encoded.append(await border.encode(message))
            except Exception as error:  # noqa: BLE001 - the border of the user's codec
                self._handler.unsendable(message, error)
        return encoded

    async def _send(
        self, socket: aiohttp.ClientWebSocketResponse, messages: Sequence[FromWorker]
    ) -> None:
        frame = encode_frame(messages)
        if len(frame) <= MAX_FRAME:
            await socket.send_bytes(frame)
        elif len(messages) == 1:
            kind = f"a {type(messages[0]).__name__}"
            self._handler.unsendable(messages[0], PayloadTooLargeError(len(frame), MAX_FRAME, kind))
        else:
            half = len(messages) // 2
            await self._send(socket, messages[:half])
            await self._send(socket, messages[half:])

    def _tell(self, error: BaseException) -> None:
        """Log a failure once, not each time that it is met again."""
        if self._closing or self._told:
            return
        if isinstance(error, ConnectionEndedError):
            logger.info("The connection to the server is over (%s): connecting anew", error)
            return
        self._told = True
        logger.warning(
            "No connection to the server at %s (%s). %s Trying again until it is there",
            self._address.base_url,
            str(error) or type(error).__name__,
            _remedy(error),
        )

    def _delay(self) -> float:
        self._failures += 1
        longest = min(_LAST_DELAY, _FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + self._jitter() / 2)


def _remedy(error: BaseException) -> str:
    status = getattr(error, "status", 0)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return (
            "Give the client a token (api_key, PERDURE_TOKEN_FILE) that may run workers in this "
            "namespace."
        )
    if status:
        return f"It answers with HTTP {status}: is the address that of a Perdure server?"
    return "Is it running, and is the address right?"
