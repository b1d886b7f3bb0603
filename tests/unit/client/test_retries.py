"""``handle.retry``: what is asked, and what there is then."""

import pytest

from perdure.client import RPCError
from perdure.protocol import verbs
from perdure.protocol.retries import Effect, RetryPoint, RetryResponse

REFUND = Effect(event=12, name="refund")
ANSWER = RetryResponse(run_id="r2", retried_run_id="r1", event=9, effects=(REFUND,))


async def test_a_retry_gives_the_new_run_and_what_the_earlier_one_did_afterwards(server, client):
    server.answer("retry", ANSWER)
    handle = client.get_workflow_handle("order-42", result_type=str)
    retry = await handle.retry(reason="mended", request_id="again")

    assert (retry.handle.id, retry.handle.run_id) == ("order-42", "r2")
    assert (retry.event, retry.effects) == (9, (REFUND,))
    assert server.asked("retry") == [
        verbs.RetryRequest(
            namespace="shop",
            workflow_id="order-42",
            reason="mended",
            request_id="again",
            identity="tester",
        )
    ]


async def test_a_retry_from_the_start_of_a_certain_run(server, client):
    server.answer("retry", ANSWER, ANSWER)
    handle = client.get_workflow_handle("order-42", run_id="r1")
    await handle.retry(from_start=True)
    await handle.retry(from_start=True)

    first, second = server.asked("retry")
    assert (first.point, first.run_id) == (RetryPoint.START, "r1")
    assert first.request_id != second.request_id


async def test_a_call_that_broke_off_is_repeated_as_the_same_retry(server, client):
    server.answer("retry", None, ANSWER)
    await client.get_workflow_handle("order-42").retry()

    first, second = server.asked("retry")
    assert first.request_id == second.request_id != ""


async def test_a_refusal_is_an_error(server, client):
    server.refuse("retry", 400, "Invalid", "no step of it failed")
    with pytest.raises(RPCError, match="no step of it failed"):
        await client.get_workflow_handle("order-42").retry()
