import asyncio
import logging
import socket

import pytest

from perdure.client import Connection
from perdure.protocol.messages import (
    Drain,
    EvictRun,
    Hello,
    Ping,
    Pong,
    Refused,
    RunEvicted,
)
from perdure.worker import _stream
from perdure.worker._outbox import Outbox
from perdure.worker._stream import Stream, WorkerRefusedError
from support.stream_server import StreamServer


class Recorder:
    """A handler that notes what it is told."""

    def __init__(self, outbox) -> None:
        self.outbox = outbox
        self.told: list[object] = []
        self.waiting: list[object] = []
        self.news = asyncio.Event()

    def _note(self, *what) -> None:
        self.told += what
        self.news.set()

    def hello(self):
        return Hello(worker_id="w", identity="me", namespace="default", task_queue="orders")

    def connected(self, welcome):
        self._note("connected", welcome.lease)

    def disconnected(self):
        self._note("disconnected")

    def receive(self, message):
        if isinstance(message, Pong):
            return
        self._note(message)
        self.outbox.put(RunEvicted(run_id=f"answer to {message.run_id}"))

    def ping(self):
        self.outbox.put(Ping())

    def collect(self):
        for message in self.waiting:
            self.outbox.put(message)
        self.waiting.clear()

    def unsendable(self, message, error):
        self._note("unsendable", type(message).__name__, str(error))

    def unreadable(self, message, error):
        self._note("unreadable", type(message).__name__, str(error))

    async def until(self, what):
        async with asyncio.timeout(20):
            while what not in self.told:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
async def recorder(outbox):
    return Recorder(outbox)


@pytest.fixture
async def connect(recorder, outbox):
    """Begin a stream to an address; what it ends with can be awaited."""
    tasks = []

    def make(address, **options):
        stream = Stream(
            address=Connection.to(address, headers={"X-Test": "yes"}),
            handler=recorder,
            outbox=outbox,
            **options,
        )
        stream.task = asyncio.create_task(stream.run())
        tasks.append(stream.task)
        return stream

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_address_at_which_nobody_answers_is_tried_anew_soon(connect, monkeypatch, caplog):
    monkeypatch.setattr(_stream, "_REACH_TIMEOUT", 0.01)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, socket.socket() as first:
        first.connect(silent.getsockname())  # what comes behind it gets no answer
        host, port = silent.getsockname()
        connect(f"{host}:{port}")
        async with asyncio.timeout(5):
            while "No connection to the server" not in caplog.text:
                await asyncio.sleep(0.01)


async def test_messages_of_a_frame_are_answered_in_one_frame(connect, recorder):
    async with StreamServer() as server:
        connect(server.address)
        peer = await server.accept()
        assert peer.hello.worker_id == "w"
        await peer.say(EvictRun(run_id="a"), EvictRun(run_id="b"))
        await peer.hear(RunEvicted)
        await peer.hear(RunEvicted)
        assert [len(frame) for frame in peer.frames if Ping() not in frame] == [2]
        assert recorder.told == ["connected", 8_000, EvictRun(run_id="a"), EvictRun(run_id="b")]


async def test_what_comes_up_in_one_round_of_the_loop_leaves_in_one_frame(
    connect, recorder, outbox
):
    async with StreamServer() as server:
        connect(server.address)
        peer = await server.accept()
        await recorder.until("connected")
        await asyncio.sleep(0)
        outbox.put(Drain())
        outbox.put(Drain())
        recorder.waiting.append(RunEvicted(run_id="collected"))
        await peer.hear(Drain)
        await peer.hear(Drain)
        await peer.hear(RunEvicted)
        assert len([each for each in peer.frames[-1] if each != Ping()]) == 3


async def test_what_waits_at_the_start_leaves_at_once(connect, recorder):
    recorder.waiting.append(RunEvicted(run_id="early"))
    async with StreamServer() as server:
        connect(server.address)
        peer = await server.accept()
        assert (await peer.hear(RunEvicted)).run_id == "early"


async def test_pings_are_sent_at_a_fifth_of_the_lease(connect, recorder):
    beats = []
    async with StreamServer(lease=50) as server:
        connect(server.address, beat=beats.append)
        peer = await server.accept()
        while len(peer.frames) < 3:
            await asyncio.sleep(0.001)
        assert beats[:3] == [0.025, 0.025, 0.025]
    await recorder.until("disconnected")
    assert beats[-1] is None


async def test_a_broken_connection_is_made_anew_as_the_same_worker(connect, recorder, caplog):
    caplog.set_level(logging.INFO)
    async with StreamServer() as server:
        connect(server.address, jitter=lambda: 0.0)
        peer = await server.accept()
        await recorder.until("connected")
        await peer.close()
        await recorder.until("disconnected")
        again = await server.accept()
        assert again.hello.worker_id == peer.hello.worker_id
    assert "The connection to the server is over" in caplog.text


async def test_a_server_that_says_nothing_for_a_lease_is_left(connect, recorder, caplog):
    async with StreamServer(lease=20) as server:
        connect(server.address, jitter=lambda: 0.0)
        peer = await server.accept()
        peer.answers_pings = False
        await server.accept()
    assert "No sign of the server" in caplog.text


async def test_a_refusal_ends_the_worker(connect):
    async with StreamServer(first=Refused(reason="too old")) as server:
        stream = connect(server.address)
        with pytest.raises(WorkerRefusedError, match="refuses this worker: too old"):
            await stream.task


async def test_a_later_refusal_ends_the_worker_too(connect):
    async with StreamServer() as server:
        stream = connect(server.address)
        peer = await server.accept()
        await peer.say(Refused(reason="the namespace is gone"))
        with pytest.raises(WorkerRefusedError, match="the namespace is gone"):
            await stream.task


async def test_an_address_without_a_server_is_said_once(connect, recorder, caplog):
    async with StreamServer() as server:
        address = server.address
    stream = connect(address, jitter=lambda: 0.0)
    while stream._failures < 3:
        await asyncio.sleep(0.001)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert f"No connection to the server at http://{address}" in caplog.text
    assert "is the address right" in caplog.text
    assert not stream.is_connected


async def test_the_end_of_an_outage_is_said(connect, recorder, caplog):
    async with StreamServer() as server:
        await server.silence()
        stream = connect(server.address, jitter=lambda: 0.0)
        while stream._failures < 2:
            await asyncio.sleep(0.001)
        await server.listen()
        await recorder.until("connected")
    assert [record.message.split(" at ")[0] for record in caplog.records] == [
        "No connection to the server",
        "Connected to the server",
    ]


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        pytest.param(401, "Give the client a token", id="unauthorized"),
        pytest.param(404, "is the address that of a Perdure server?", id="something-else"),
    ],
)
async def test_what_an_answer_means_is_said(connect, caplog, status, remedy):
    async with StreamServer(status=status) as server:
        stream = connect(server.address, jitter=lambda: 0.0)
        while not stream._failures:
            await asyncio.sleep(0.001)
    assert remedy in caplog.text


async def test_delays_grow_to_two_seconds(connect):
    stream = Stream(address=Connection.to(), handler=None, outbox=Outbox(), jitter=lambda: 1.0)
    assert [stream._delay() for _ in range(8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


async def test_what_is_not_understood_is_not_taken_for_a_server(connect, caplog):
    async with StreamServer(first=EvictRun(run_id="x")) as server:
        connect(server.address, jitter=lambda: 0.0)
        await server.accept()
        await server.accept()
    assert "no answer to hello" in caplog.text


async def test_a_message_that_fits_into_no_frame_is_told_to_its_sender(
    connect, recorder, outbox, monkeypatch
):
    monkeypatch.setattr("perdure.worker._stream.MAX_FRAME", 100)
    async with StreamServer() as server:
        connect(server.address)
        peer = await server.accept()
        await recorder.until("connected")
        await asyncio.sleep(0)
        for name in ("a" * 40, "b" * 200, "c" * 40):
            outbox.put(RunEvicted(run_id=name))
        assert (await peer.hear(RunEvicted)).run_id == "a" * 40
        assert (await peer.hear(RunEvicted)).run_id == "c" * 40
    assert recorder.told[2:4] == ["unsendable", "RunEvicted"]
    assert "a RunEvicted takes 2" in recorder.told[4]


async def test_closing_sends_what_waits(connect, recorder, outbox):
    async with StreamServer() as server:
        stream = connect(server.address)
        peer = await server.accept()
        await recorder.until("connected")
        assert stream.is_connected
        recorder.waiting.append(RunEvicted(run_id="last words"))
        await stream.close()
        assert (await peer.hear(RunEvicted)).run_id == "last words"
        await stream.task
    assert recorder.told[-1] == "disconnected"


async def test_an_outbox_without_a_connection_keeps_nothing():
    outbox = Outbox()
    outbox.put(Drain())
    outbox.wake()
    assert outbox.take() == []
    outbox.open()
    outbox.put(Drain())
    outbox.close()
    assert outbox.take() == []


async def test_a_fault_of_our_own_while_sending_ends_the_worker(connect, recorder, outbox):
    async with StreamServer() as server:
        stream = connect(server.address)
        await server.accept()
        await recorder.until("connected")
        recorder.waiting = None
        outbox.wake()
        with pytest.raises(TypeError):
            await stream.task


class SlowFirst:
    """A border that takes longer over the first message than over the second."""

    def __init__(self) -> None:
        self.slow = asyncio.Event()

    async def encode(self, message):
        if message == RunEvicted(run_id="first"):
            await self.slow.wait()
        return message

    async def decode(self, message):
        if message == EvictRun(run_id="bad"):
            raise ValueError("no key")
        return message


async def test_what_was_said_first_leaves_first_however_long_its_codec_takes(
    connect, recorder, outbox
):
    border = SlowFirst()
    async with StreamServer() as server:
        connect(server.address, border=border)
        peer = await server.accept()
        await recorder.until("connected")
        outbox.put(RunEvicted(run_id="first"))
        await asyncio.sleep(0)
        await peer.say(EvictRun(run_id="second"))
        await recorder.until(EvictRun(run_id="second"))
        border.slow.set()
        assert (await peer.hear(RunEvicted)).run_id == "first"
        assert (await peer.hear(RunEvicted)).run_id == "answer to second"


async def test_what_cannot_be_decoded_is_told_to_the_handler(connect, recorder):
    async with StreamServer() as server:
        connect(server.address, border=SlowFirst())
        peer = await server.accept()
        await peer.say(EvictRun(run_id="bad"))
        await recorder.until("unreadable")
    assert "no key" in recorder.told
