"""A server that answers verbs as it is told to, in this process, and a client of it."""

import asyncio
from collections import defaultdict, deque

import msgspec
import pytest
from aiohttp import web

from perdure.client import Client, Service
from perdure.protocol.verbs import VERBS, ErrorResponse

REQUEST_OF = {verb: request for request, (verb, _) in VERBS.items()}


class FakeServer:
    """Answers each verb with what is next in its queue.

    An answer is a response, an ErrorResponse with its HTTP status, a ready ``web.Response``,
    ``None`` to drop the connection, or ``silence``.
    """

    def __init__(self):
        self.answers = defaultdict(deque)
        self.requests = []
        self.headers = []
        self.address = ""
        self.silence = object()
        self.stopping = asyncio.Event()

    def answer(self, verb, *answers):
        self.answers[verb].extend(answers)

    def refuse(self, verb, status, code, message="no", **more):
        self.answer(verb, (status, ErrorResponse(code=code, message=message, **more)))

    def asked(self, verb):
        """Return the requests of one verb."""
        return [request for name, request in self.requests if name == verb]

    async def handle_verb(self, request):
        verb = request.match_info["verb"]
        asked = msgspec.msgpack.decode(await request.read(), type=REQUEST_OF[verb])
        self.requests.append((verb, asked))
        self.headers.append(request.headers)
        if not self.answers[verb]:
            return self.respond(500, ErrorResponse(code="Unscripted", message=f"{verb}?"))
        answer = self.answers[verb].popleft()
        if answer is self.silence:
            await self.stopping.wait()
        if answer in (None, self.silence):
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if isinstance(answer, web.Response):
            return answer
        return self.respond(*(answer if isinstance(answer, tuple) else (200, answer)))

    async def handle_health(self, request):
        self.requests.append(("healthz", None))
        return web.Response(text="ok")

    @staticmethod
    def respond(status, body):
        return web.Response(
            status=status, body=msgspec.msgpack.encode(body), content_type="application/msgpack"
        )


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
async def server():
    fake = FakeServer()
    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_post("/api/v1/{verb}", fake.handle_verb)
    app.router.add_get("/healthz", fake.handle_health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    fake.address = f"{host}:{port}"
    yield fake
    fake.stopping.set()
    await runner.cleanup()
    assert not any(fake.answers.values()), f"never asked for: {dict(fake.answers)}"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def service(server, clock):
    async with Service(server.address, sleep=clock.sleep, clock=clock) as service:
        yield service


@pytest.fixture
async def client(service):
    return Client(service, namespace="shop", identity="tester")


@pytest.fixture
async def nobody(clock, unused_tcp_port):
    """A client of an address where nothing listens."""
    async with Service(f"127.0.0.1:{unused_tcp_port}", sleep=clock.sleep, clock=clock) as service:
        yield Client(service)
