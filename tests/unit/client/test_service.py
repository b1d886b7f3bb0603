"""The verbs over HTTP: what is tried again, and what is said when it fails."""

import gc

import pytest
from aiohttp import web

from perdure.client import Client, RetryConfig, RPCError, RPCStatusCode, Service
from perdure.protocol import verbs
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload

TARGET = {"namespace": "shop", "workflow_id": "order-42"}
DESCRIBE = verbs.DescribeRequest(**TARGET)
TERMINATE = verbs.TerminateRequest(**TARGET)
START = verbs.StartRequest(**TARGET, workflow_type="Order", task_queue="orders")
SIGNAL = verbs.SignalRequest(**TARGET, name="approve")
STARTED = verbs.StartResponse(run_id="r1")
EMPTY = verbs.ListResponse()


async def test_a_verb_crosses_the_wire_and_its_answer_comes_back(server, service):
    server.answer("start", STARTED)
    assert await service.call(START) == STARTED
    assert server.asked("start") == [START]


async def test_a_large_request_arrives_whole_and_without_a_warning(server, service):
    start = verbs.StartRequest(
        **TARGET, workflow_type="Order", task_queue="orders", request_id="1",
        input=(Payload(data=b"x" * MAX_PAYLOAD_BYTES),),
    )  # fmt: skip
    server.refuse("start", 503, "Unavailable")
    server.answer("start", STARTED)
    await service.call(start)
    assert server.asked("start") == [start, start]


async def test_the_token_and_further_headers_go_with_every_call(server):
    server.answer("list", EMPTY)
    async with Service(server.address, api_key="secret", headers={"X-Team": "a"}) as service:
        await service.call(verbs.ListRequest())
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert server.headers[0]["X-Team"] == "a"
    assert "secret" not in repr(service.connection)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param("NotFound", RPCStatusCode.NOT_FOUND, id="not-found"),
        pytest.param("AlreadyClosed", RPCStatusCode.NOT_FOUND, id="already-closed"),
        pytest.param("Invalid", RPCStatusCode.INVALID_ARGUMENT, id="invalid"),
        pytest.param("TooLarge", RPCStatusCode.RESOURCE_EXHAUSTED, id="too-large"),
        pytest.param("NoWorker", RPCStatusCode.FAILED_PRECONDITION, id="no-worker"),
        pytest.param("Timeout", RPCStatusCode.DEADLINE_EXCEEDED, id="timeout"),
        pytest.param("Unauthorized", RPCStatusCode.UNAUTHENTICATED, id="unauthorized"),
        pytest.param("Forbidden", RPCStatusCode.PERMISSION_DENIED, id="forbidden"),
        pytest.param("OfTomorrow", RPCStatusCode.UNKNOWN, id="unknown"),
    ],
)
async def test_a_refusal_is_told_once_in_the_server_s_words(server, service, clock, code, status):
    server.refuse("describe", 404, code, "no run of order-42", run_id="r9")
    with pytest.raises(RPCError, match=r"^no run of order-42$") as caught:
        await service.call(DESCRIBE)
    error = caught.value
    assert (error.code, error.status, error.http_status) == (code, status, 404)
    assert error.run_id == "r9"
    assert not clock.slept


@pytest.mark.parametrize(
    "request_", [pytest.param(r, id=type(r).__name__) for r in (TERMINATE, START)]
)
async def test_what_was_certainly_not_done_is_tried_again(server, service, clock, request_):
    verb, response = verbs.VERBS[type(request_)]
    server.refuse(verb, 503, "Unavailable")
    server.answer(verb, STARTED if verb == "start" else response())
    await service.call(request_)
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(DESCRIBE, id="reading"),
        pytest.param(
            verbs.StartRequest(
                **{**TARGET, "workflow_type": "O", "task_queue": "q", "request_id": "1"}
            ),
            id="start-with-an-id",
        ),
        pytest.param(
            verbs.SignalRequest(**TARGET, name="a", signal_id="1"), id="signal-with-an-id"
        ),
        pytest.param(verbs.CancelRequest(**TARGET), id="cancel"),
    ],
)
async def test_what_is_harmless_twice_survives_a_lost_connection(server, service, request_):
    verb, _ = verbs.VERBS[type(request_)]
    server.answer(verb, None)
    server.refuse(verb, 404, "NotFound")
    with pytest.raises(RPCError, match=r"^no$"):
        await service.call(request_)
    assert server.asked(verb) == [request_, request_]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(TERMINATE, id="terminate"),
        pytest.param(START, id="start-without-an-id"),
        pytest.param(SIGNAL, id="signal-without-an-id"),
    ],
)
async def test_what_may_have_been_done_is_not_done_again(server, service, clock, request_):
    verb, _ = verbs.VERBS[type(request_)]
    server.answer(verb, None)
    with pytest.raises(RPCError, match=f"was lost during `{verb}` .* may or may not") as caught:
        await service.call(request_)
    assert caught.value.status is RPCStatusCode.UNAVAILABLE
    assert not clock.slept


async def test_no_server_is_said_with_what_to_do_after_some_patience(nobody, clock):
    with pytest.raises(RPCError, match="`perdure dev` starts one; --address names") as caught:
        await nobody.service.call(TERMINATE)
    address = nobody.service.connection.address
    assert str(caught.value).startswith(f"no server answers at {address} (")
    assert 5 < clock.now <= 10
    assert not nobody.service.answered


async def test_retries_end_after_their_number(server, clock):
    config = RetryConfig(max_retries=2, max_elapsed_time_millis=None, initial_interval_millis=10**6)
    for _ in range(3):
        server.refuse("list", 503, "Unavailable")
    async with Service(
        server.address, retry_config=config, sleep=clock.sleep, clock=clock
    ) as service:
        with pytest.raises(RPCError):
            await service.call(verbs.ListRequest())
    assert len(clock.slept) == 2


async def test_waits_between_attempts_grow_to_their_cap(server, clock):
    config = RetryConfig(
        initial_interval_millis=1000,
        randomization_factor=0,
        multiplier=2,
        max_interval_millis=3000,
        max_elapsed_time_millis=None,
    )
    for _ in range(4):
        server.refuse("list", 503, "Unavailable")
    server.answer("list", EMPTY)
    async with Service(
        server.address, retry_config=config, sleep=clock.sleep, clock=clock
    ) as service:
        await service.call(verbs.ListRequest())
    assert clock.slept == [1, 2, 3, 3]


async def test_something_else_on_the_port_is_recognised(server, service):
    server.answer("describe", web.Response(status=404, text="<h1>nginx</h1>"))
    with pytest.raises(RPCError, match=r"not as a Perdure server does.*nginx") as caught:
        await service.call(DESCRIBE)
    assert caught.value.status is RPCStatusCode.UNIMPLEMENTED


async def test_a_proxy_without_its_server_is_waited_out(server, service, clock):
    server.answer("list", web.Response(status=502, text="bad gateway"), EMPTY)
    assert await service.call(verbs.ListRequest()) == EMPTY
    assert len(clock.slept) == 1


async def test_an_answer_that_cannot_be_read_is_said_so(server, service):
    server.answer("describe", web.Response(body=b"\xc1"))
    with pytest.raises(RPCError, match=r"the answer of .* to `describe` cannot be read") as caught:
        await service.call(DESCRIBE)
    assert caught.value.status is RPCStatusCode.INTERNAL


async def test_a_redirect_is_not_followed(server, service):
    moved = web.Response(status=307, headers={"Location": "http://elsewhere.invalid/"})
    server.answer("list", moved)
    with pytest.raises(RPCError, match="HTTP 307"):
        await service.call(verbs.ListRequest())


async def test_connecting_looks_whether_a_server_is_there(server):
    async with await Client.connect(server.address, namespace="shop"):
        assert server.requests == [("healthz", None)]


async def test_connecting_lazily_does_not_look(unused_tcp_port):
    client = await Client.connect(f"127.0.0.1:{unused_tcp_port}", lazy=True)
    await client.close()


async def test_looking_for_a_server_has_little_patience(nobody, clock):
    with pytest.raises(RPCError, match="no server answers"):
        await nobody.service.probe()
    assert clock.now <= 2


async def test_a_closed_service_opens_again_when_called(server, service):
    server.answer("list", EMPTY, EMPTY)
    await service.call(verbs.ListRequest())
    await service.close()
    assert await service.call(verbs.ListRequest()) == EMPTY


async def test_a_client_that_is_never_closed_makes_no_noise(server, recwarn, caplog):
    server.answer("list", EMPTY)
    service = Service(server.address)
    await service.call(verbs.ListRequest())
    del service
    gc.collect()
    assert not recwarn
    assert not caplog.records
