"""Input that cannot be used gets a clear error, and nothing is lost by it."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest

from perdure.client import Client, RPCError, RPCStatusCode, WorkflowFailureError
from perdure.exceptions import ApplicationError, PayloadTooLargeError
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES
from support.processes import Server, Worker
from support.scenes import Scene, names_of
from support.waiting import eventually

QUEUE = "default"
GREETER = """
    from perdure import workflow

    @workflow.defn
    class Greeter:
        @workflow.run
        async def run(self, name: str) -> str:
            return f"hello {name}"
"""


# --- a workflow type that nobody knows --------------------------------------------------------


async def test_a_run_of_an_unknown_type_waits_says_so_and_is_run_by_a_worker_that_knows_it(
    scene: Scene,
) -> None:
    other = GREETER.replace("Greeter", "Other")
    stranger = scene.start_worker(scene.write("other.py", other))
    started = await scene.perdure_async("start", "Greeter", "--id", "g", "-i", '"Ada"')
    assert started.code == 0
    async with scene.client() as client:
        handle = client.get_workflow_handle("g")
        described = await eventually(
            lambda: failing_description(handle), what="the description tells of the failing code"
        )
        assert described.task_failure_cause == "UnknownWorkflowType"
        assert "'Greeter' is not registered on this worker" in described.task_failure.message
        assert "registered are: Other" in described.task_failure.message

        shown = await scene.perdure_async("show", "g")
        assert shown.code == 0
        assert "Its code fails and is tried again (UnknownWorkflowType)" in shown.out
        assert "Give its class to Worker(workflows=[...])" in shown.out

        stranger.kill()
        scene.start_worker(scene.write("greeter.py", GREETER))
        assert await handle.result() == "hello Ada"


async def failing_description(handle: Any) -> Any:
    described = (await handle.describe()).raw_description
    return described if described.task_failure is not None else None


async def test_an_activity_that_nobody_knows_fails_with_the_names_of_those_that_are_known(
    client: Client,
) -> None:
    call = {"activity": "ehco", "start_to_close": 5000}
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow("CallActivity", call, id="no-activity", task_queue=QUEUE)
    cause = caught.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert "'ehco' is not registered" in cause.message
    assert "echo" in cause.message.partition("registered are: ")[2]


# --- input that does not decode ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        pytest.param([{"order_id": "1"}], "amount", id="a-field-is-missing"),
        pytest.param([{"order_id": "1", "amount": "much"}], "amount", id="a-field-of-other-type"),
        pytest.param(["order 1"], "Order", id="another-type"),
        pytest.param([], "got 0", id="too-little"),
        pytest.param([{"order_id": "1", "amount": 1}, 2], "got 2", id="too-much"),
    ],
)
async def test_input_that_does_not_decode_fails_the_run_and_names_what_is_wrong(
    client: Client, given: list[Any], complaint: str, request: pytest.FixtureRequest
) -> None:
    handle = await client.start_workflow(
        "Strict", args=given, id=request.node.name, task_queue=QUEUE
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "InvalidInput"
    assert cause.non_retryable
    assert complaint in cause.message
    assert await names_of(handle) == ["WorkflowStarted", "WorkflowTaskCompleted", "WorkflowFailed"]


def test_the_command_line_tells_a_run_that_failed_by_its_input(
    server: Server, worker: Worker, scene: Scene
) -> None:
    scene.namespace = "default"
    scene.perdure("start", "Strict", "--id", "strict-cli", "-i", '{"order_id": 7}')
    ended = scene.perdure("result", "strict-cli")
    assert ended.code == 1
    assert "strict-cli failed" in ended.err
    assert "InvalidInput" in ended.err
    assert ended.out == ""


# --- values that are too large ----------------------------------------------------------------


async def test_the_client_refuses_a_payload_over_the_limit_before_it_is_sent(
    client: Client,
) -> None:
    with pytest.raises(PayloadTooLargeError, match="2,097,152"):
        await client.start_workflow(
            "Mixed", "x" * MAX_PAYLOAD_BYTES, id="too-large", task_queue=QUEUE
        )
    with pytest.raises(RPCError, match="no run of 'too-large'"):
        await client.get_workflow_handle("too-large").describe()


async def post(server: Server, verb: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Ask without a client that would look first."""
    url = f"http://{server.address}/api/v1/{verb}"
    async with aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=io.BytesIO(body), headers=headers) as response:
            return response.status, json.loads(await response.read())


def start_body(workflow_id: str, **fields: Any) -> bytes:
    request = {
        "namespace": "default",
        "workflow_id": workflow_id,
        "workflow_type": "Mixed",
        "task_queue": "nobody",
        **fields,
    }
    return json.dumps(request).encode()


async def test_the_server_refuses_a_payload_over_the_limit(server: Server, client: Client) -> None:
    payload = {"metadata": {}, "data": "A" * (MAX_PAYLOAD_BYTES // 3 * 4 + 8)}
    status, answer = await post(server, "start", start_body("too-large-raw", input=[payload]))
    assert (status, answer["code"]) == (413, "TooLarge")
    assert "input of 'Mixed': value 1 takes" in answer["message"]
    assert "2,097,152" in answer["message"]
    assert "pass a reference" in answer["message"]
    with pytest.raises(RPCError) as caught:
        await client.get_workflow_handle("too-large-raw").describe()
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_the_server_refuses_a_body_over_16_mib_and_lives_on(server: Server) -> None:
    status, answer = await post(server, "start", b" " * (16 * 2**20 + 1))
    assert (status, answer["code"]) == (413, "TooLarge")
    assert "larger than 16 MiB" in answer["message"]
    assert (await post(server, "list", b"{}"))[0] == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param(b"{", "truncated", id="cut-off"),
        pytest.param(b"[]", "object", id="no-object"),
        pytest.param(start_body(7), "workflow_id", id="a-field-of-other-type"),
        pytest.param(b'{"namespace": "default"}', "missing required field", id="fields-missing"),
        pytest.param(start_body(""), "workflow_id is empty", id="an-empty-id"),
        pytest.param(start_body("x" * 1001), "workflow_id has 1001", id="a-long-id"),
    ],
)
async def test_the_server_says_what_is_wrong_with_a_request(
    server: Server, body: bytes, complaint: str
) -> None:
    status, answer = await post(server, "start", body)
    assert (status, answer["code"]) == (400, "Invalid")
    assert complaint in answer["message"]


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        pytest.param("result", "the result of Large takes", id="a-result"),
        pytest.param("activity", "activity 'echo' takes", id="an-argument-of-an-activity"),
    ],
)
async def test_a_workflow_that_makes_too_large_a_value_waits_for_better_code(
    client: Client, where: str, complaint: str
) -> None:
    handle = await client.start_workflow(
        "Large", args=[where, MAX_PAYLOAD_BYTES], id=f"large-{where}", task_queue=QUEUE
    )
    described = await eventually(
        lambda: failing_description(handle), what="the description tells of the failing code"
    )
    assert complaint in described.task_failure.message
    assert "2,097,152" in described.task_failure.message
    assert described.status == "Running"
    await handle.terminate("it stays too large")


@pytest.mark.parametrize("where", ["step", "activity-result"])
async def test_a_side_effect_with_too_large_a_result_fails_for_good(
    client: Client, where: str
) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow(
            "Large", args=[where, MAX_PAYLOAD_BYTES], id=f"large-{where}", task_queue=QUEUE
        )
    cause = caught.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("PayloadTooLarge", True)
    assert "2,097,152" in cause.message


async def test_a_large_value_below_the_limit_goes_through(client: Client) -> None:
    size = MAX_PAYLOAD_BYTES - 100
    for where in ("activity", "activity-result", "step"):
        assert size == await client.execute_workflow(
            "Large", args=[where, size], id=f"large-ok-{where}", task_queue=QUEUE
        )
    text = "x" * size
    assert text == await client.execute_workflow(
        "Same", text, id="large-ok-input", task_queue=QUEUE
    )
