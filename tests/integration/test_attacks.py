"""Somebody of another namespace, or nobody at all, tries what is not theirs. Over real sockets."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from yarl import URL

from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure_operator.server.app import build_app
from perdure_operator.server.certificates import Certificates
from perdure_operator.server.gates import KubernetesGate
from support.hosts import World
from support.pki import write_pair
from support.reviewing import FakeReviewer

ORDER = {"namespace": "shop", "workflow_id": "order-42"}
START = vb.StartRequest(**ORDER, workflow_type="Order", task_queue="q")


class Place:
    """A server; ann may do everything in shop, bob in bank."""

    def __init__(self, world: World, url: str, session: aiohttp.ClientSession) -> None:
        self.world = world
        self.url = url
        self._session = session

    async def call(self, user: str | None, request: Any) -> tuple[int, bytes]:
        """Send a request, and return the status and what was answered."""
        name = vb.VERBS[type(request)][0]
        body = msgspec.json.encode(request)
        return await self.send("POST", f"/api/v1/{name}", user, body)

    async def send(
        self, method: str, path: str, user: str | None, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """Send it as it stands: nothing is made tidy on the way."""
        sent = {"Authorization": f"Bearer {user}"} if user else {}
        url = URL(self.url + path, encoded=True)
        async with self._session.request(
            method, url, data=io.BytesIO(body), headers={**sent, **headers}
        ) as got:
            return got.status, await got.read()

    @asynccontextmanager
    async def stream(self, user: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a worker's stream."""
        headers = {"Authorization": f"Bearer {user}"}
        async with self._session.ws_connect(f"{self.url}/api/v1/stream", headers=headers) as socket:
            yield socket


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    rules = (("ann", "*", "*", "shop"), ("bob", "*", "*", "bank"))
    async with World() as world, aiohttp.ClientSession() as session:
        gate = KubernetesGate(FakeReviewer(*rules), workers_at_home=True)
        runner = web.AppRunner(build_app(world.host, gate), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield Place(world, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
        finally:
            await runner.cleanup()


def one_of_each() -> list[Any]:
    """Return a request of every verb, about somebody else's run or namespace."""
    special = {
        vb.StartRequest: START,
        vb.ImportRequest: vb.ImportRequest(**ORDER, run_id="r", events=()),
        vb.ListRequest: vb.ListRequest(namespace="shop"),
        vb.WatchRequest: vb.WatchRequest(namespace="shop"),
        vb.QueuesRequest: vb.QueuesRequest(namespace="shop"),
        vb.SetCurrentVersionRequest: vb.SetCurrentVersionRequest(
            namespace="shop", task_queue="q", build_id="evil"
        ),
        vb.TakeActivityRequest: vb.TakeActivityRequest(**ORDER, seq=1),
        vb.SignalRequest: vb.SignalRequest(**ORDER, name="go"),
        vb.QueryRequest: vb.QueryRequest(**ORDER, name="state"),
    }
    with_token = {vb.ReportActivityRequest, vb.BeatActivityRequest}
    return [
        special[each] if each in special else each(**ORDER)
        for each in vb.VERBS
        if each not in with_token
    ]


async def test_no_verb_does_anything_in_another_namespace(place: Place) -> None:
    assert (await place.call("ann", START))[0] == 200
    before = await place.call("ann", vb.HistoryRequest(**ORDER))
    for request in one_of_each():
        assert (await place.call("bob", request))[0] == 403, request
        assert (await place.call(None, request))[0] == 401, request
        assert (await place.call("eve", request))[0] == 401, request
    assert await place.call("ann", vb.HistoryRequest(**ORDER)) == before


async def test_a_run_is_not_found_by_its_id_from_another_namespace(place: Place) -> None:
    """Neither one that is guessed nor one that is known: the answers are the same."""
    _, started = await place.call("ann", START)
    run_id = msgspec.json.decode(started)["run_id"]

    def asked(which: str) -> vb.DescribeRequest:
        return vb.DescribeRequest(namespace="bank", workflow_id="order-42", run_id=which)

    found = await place.call("bob", asked(run_id))
    absent = await place.call("bob", asked("0" * len(run_id)))
    assert found[0] == absent[0] == 404
    assert found[1].replace(run_id.encode(), b"") == absent[1].replace(b"0" * len(run_id), b"")


async def test_a_run_id_of_another_namespace_cannot_be_taken_by_an_import(place: Place) -> None:
    _, started = await place.call("ann", START)
    run_id = msgspec.json.decode(started)["run_id"]
    _, answer = await place.call("ann", vb.HistoryRequest(**ORDER))
    events = msgspec.json.decode(answer, type=vb.HistoryResponse).events
    theft = vb.ImportRequest(namespace="bank", workflow_id="mine", run_id=run_id, events=events)
    status, said = await place.call("bob", theft)
    assert status == 409, said
    assert b"order-42" not in said
    described = await place.call("ann", vb.DescribeRequest(**ORDER))
    assert described[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "//api/v1/list"),
        ("POST", "/api/v1/list/"),
        ("POST", "/api/v1/list%2f"),
        ("POST", "/api/v1/./list"),
        ("POST", "/api/v1/../v1/list"),
        ("POST", "/healthz/../api/v1/list"),
        ("POST", "/api/v1/%6cist"),
        ("POST", "/API/V1/LIST"),
        ("POST", "/api/v1/list;a=b"),
        ("GET", "/api/v1/list"),
        ("PUT", "/api/v1/list"),
        ("HEAD", "/api/v1/queues/shop/q"),
        ("GET", "/api/v1/queues/bank/..%2f..%2fqueues%2fshop%2fq"),
        ("GET", "/api/v1/queues/bank%2f..%2fshop/q"),
        ("GET", "/api/v1/queues/shop/q?namespace=bank"),
        ("GET", "/api/v1/stream"),
        ("GET", "/metrics/../api/v1/queues/shop/q"),
    ],
)
async def test_no_way_of_writing_a_path_leads_past_the_gate(
    place: Place, method: str, path: str
) -> None:
    body = b'{"namespace": "shop"}' if method != "GET" else b""
    for user in (None, "eve", "bob"):
        status, said = await place.send(method, path, user, body)
        assert status in {400, 401, 403, 404, 405} or (
            # A queue of bank's own, which may be named like this.
            user == "bob" and msgspec.json.decode(said)["namespace"] == "bank"
        ), (user, status, said)


async def test_what_a_proxy_would_set_says_nothing_about_who_calls(place: Place) -> None:
    headers = {
        "X-Remote-User": "ann", "X-Remote-Group": "system:masters", "X-Forwarded-User": "ann",
        "Impersonate-User": "ann", "X-HTTP-Method-Override": "GET",
    }  # fmt: skip
    body = msgspec.json.encode(vb.ListRequest(namespace="shop"))
    for user, status in ((None, 401), ("bob", 403)):
        assert (await place.send("POST", "/api/v1/list", user, body, **headers))[0] == status


async def test_headers_and_bodies_without_an_end_are_refused_before_they_are_read(
    place: Place,
) -> None:
    assert (await place.send("POST", "/api/v1/list", "x" * 7000))[0] == 401
    assert (await place.send("POST", "/api/v1/list", "x" * 100_000))[0] == 400
    assert (await place.send("POST", "/api/v1/list", "ann", b"", **{"X-A": "x" * 100_000}))[
        0
    ] == 400
    huge = b" " * (17 * 2**20)
    try:
        status, _ = await place.send("POST", "/api/v1/list", None, huge)
    except aiohttp.ClientError:
        status = 401  # it was answered and closed while the rest was still on its way
    assert status == 401
    status, said = await place.send("POST", "/api/v1/list", "ann", huge)
    assert (status, b"TooLarge" in said) == (413, True)
    token = msgspec.json.encode(vb.BeatActivityRequest(token="x" * (5 * 2**20)))
    assert (await place.send("POST", "/api/v1/beat-activity", None, token))[0] == 413
    deep = b"[" * 100_000
    assert (await place.send("POST", "/api/v1/list", "ann", deep))[0] == 400


@pytest.mark.parametrize(
    "hello",
    [
        {"namespace": "shop"},
        {"namespace": "shop", "worker_id": "bank/w"},
        {"namespace": ""},
        {"namespace": "bank/../shop"},
        {"namespace": "shop\0bank"},
        {"namespace": "*"},
    ],
    ids=["another", "by-the-workers-id", "none", "path", "nul", "star"],
)
async def test_no_hello_opens_another_namespace(place: Place, hello: dict[str, str]) -> None:
    await place.call("ann", START)
    given = {"worker_id": "w", "identity": "w", "task_queue": "q", **hello}
    async with place.stream("bob") as socket:
        message = msg.Hello(**given, workflow_types=("Order",))
        await socket.send_bytes(msg.encode_frame([message]))
        (answer,) = msg.decode_from_server(await socket.receive_bytes(timeout=10))
        assert isinstance(answer, msg.Refused)


async def test_nothing_is_done_for_who_says_more_before_the_answer_to_hello(place: Place) -> None:
    """Messages behind the Hello in its frame count only if the Hello does."""
    _, started = await place.call("ann", START)
    run_id = msgspec.json.decode(started)["run_id"]
    before = await place.call("ann", vb.HistoryRequest(**ORDER))
    report = msg.ActivityReport(attempt=msg.AttemptRef(run_id, 1, 1))
    async with place.stream("bob") as socket:
        hello = msg.Hello(worker_id="w", identity="w", namespace="shop", task_queue="q")
        await socket.send_bytes(msg.encode_frame([hello, report, msg.RunEvicted(run_id=run_id)]))
        (answer,) = msg.decode_from_server(await socket.receive_bytes(timeout=10))
        assert isinstance(answer, msg.Refused)
    assert await place.call("ann", vb.HistoryRequest(**ORDER)) == before


async def test_a_worker_does_nothing_to_runs_of_another_namespace_by_their_ids(
    place: Place,
) -> None:
    _, started = await place.call("ann", START)
    run_id = msgspec.json.decode(started)["run_id"]
    honest = await place.world.worker("w", namespace="shop", task_queue="q",
                                      workflow_types=("Order",))  # fmt: skip
    task = await honest.take(msg.WorkflowTask)
    attempt = msg.AttemptRef(run_id, 1, 1)
    async with place.stream("bob") as socket:
        hello = msg.Hello(
            worker_id="w", identity="w", namespace="bank", task_queue="q",
            workflow_types=("Order",), activity_types=("charge",), held=(attempt,),
        )  # fmt: skip
        said = [
            hello,
            msg.TaskProgress(task=task.task, number=1, done=True),
            msg.TaskFailed(task=task.task, cause="x", failure=msg.Failure(message="x")),
            msg.ActivityReport(attempt=attempt),
            msg.ActivityHeartbeat(attempt=attempt),
            msg.QueryAnswer(query=1),
            msg.RunEvicted(run_id=run_id),
            msg.Ping(),
        ]
        await socket.send_bytes(msg.encode_frame(said))
        heard: list[Any] = []
        async with asyncio.timeout(10):
            while not any(isinstance(each, msg.Pong) for each in heard):
                heard += msg.decode_from_server(await socket.receive_bytes())
    assert not [each for each in heard if isinstance(each, msg.WorkflowTask | msg.TaskEvents)]
    _, answer = await place.call("ann", vb.HistoryRequest(**ORDER))
    history = msgspec.json.decode(answer, type=vb.HistoryResponse)
    assert [type(each.event).__name__ for each in history.events] == ["WorkflowStarted"]


async def test_the_open_pages_name_no_namespace_and_no_run(place: Place) -> None:
    await place.call("ann", START)
    for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
        _, said = await place.send("GET", path, None)
        assert b"shop" not in said
        assert b"order-42" not in said


def test_an_old_tls_is_not_spoken(tmp_path: Path) -> None:
    context = Certificates(*write_pair(tmp_path)).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
