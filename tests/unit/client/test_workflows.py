"""Starting workflows and using their handles."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from perdure import workflow
from perdure.client import (
    Client,
    RPCError,
    WorkflowAlreadyStartedError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.common import (
    QueryRejectCondition,
    RetryPolicy,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.converter import DataConverter, PayloadCodec, default
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    ConversionError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's name
    UsageError,
)
from perdure.protocol import verbs
from perdure.protocol.events import HistoryEvent, SignalReceived, WorkflowStarted
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import IdConflictPolicy, IdReusePolicy, RunStatus

WHERE = {"id": "order-42", "task_queue": "orders"}
STARTED = verbs.StartResponse(run_id="r1")


@dataclass
class Order:
    qty: int


@dataclass
class Receipt:
    total: int


@workflow.defn(name="OrderWorkflow")
class OrderFlow:
    @workflow.run
    async def run(self, order: Order) -> Receipt:
        return Receipt(order.qty)

    @workflow.signal
    async def approve(self, by: str) -> None: ...

    @workflow.query
    def receipt(self) -> Receipt:
        return Receipt(0)


def closed(status, **more):
    return verbs.ResultResponse(run_id="r1", status=status, **more)


def description(status=RunStatus.RUNNING, **more):
    return verbs.RunDescription(
        namespace="shop",
        workflow_id="order-42",
        run_id="r1",
        workflow_type="OrderWorkflow",
        task_queue="orders",
        status=status,
        started=1_000,
        **more,
    )


RUNNING = closed(RunStatus.RUNNING)
COMPLETED = closed(RunStatus.COMPLETED, result=default().to_payload(Receipt(7)))


@pytest.fixture
def handle(client):
    return client.get_workflow_handle_for(OrderFlow.run, "order-42")


async def test_a_start_says_everything_that_was_given(server, client):
    server.answer("start", STARTED)
    handle = await client.start_workflow(
        OrderFlow.run,
        Order(3),
        **WHERE,
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=2),
        task_timeout=timedelta(seconds=3),
        retry_policy=RetryPolicy(maximum_attempts=2),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        memo={"owner": "ann"},
        start_signal=OrderFlow.approve,
        start_signal_args=["bob"],
        request_id="mine",
    )
    to_payloads = default().to_payloads
    assert server.asked("start") == [
        verbs.StartRequest(
            namespace="shop",
            workflow_id="order-42",
            workflow_type="OrderWorkflow",
            task_queue="orders",
            input=to_payloads([Order(3)]),
            execution_timeout=3_600_000,
            run_timeout=120_000,
            task_timeout=3_000,
            retry_policy=RetryPolicy(maximum_attempts=2).to_protocol(),
            memo={"owner": default().to_payload("ann")},
            id_reuse_policy=IdReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=IdConflictPolicy.USE_EXISTING,
            request_id="mine",
            identity="tester",
            start_signal="approve",
            start_signal_input=to_payloads(["bob"]),
        )
    ]
    assert (handle.id, handle.run_id) == ("order-42", None)
    assert (handle.result_run_id, handle.first_execution_run_id) == ("r1", "r1")


async def test_each_start_is_a_request_of_its_own(server, client):
    server.answer("start", STARTED, STARTED)
    await client.start_workflow("Order", **WHERE)
    await client.start_workflow("Order", **WHERE)
    first, second = server.asked("start")
    assert first.request_id != second.request_id
    assert first.request_id


async def test_a_start_whose_answer_is_lost_is_repeated_as_the_same_request(server, client):
    server.answer("start", None, STARTED)
    await client.start_workflow("Order", **WHERE)
    first, second = server.asked("start")
    assert first == second


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        pytest.param({}, [], id="none"),
        pytest.param({"arg": None}, [None], id="one-that-is-none"),
        pytest.param({"args": [1, "b"]}, [1, "b"], id="several"),
    ],
)
async def test_arguments_are_given_as_one_or_as_several(server, client, given, arguments):
    server.answer("start", STARTED)
    await client.start_workflow("Order", **given, **WHERE)
    assert server.asked("start")[0].input == default().to_payloads(arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"arg": 1, "args": [2]}, "not both", id="arguments-both-ways"),
        pytest.param({"id": ""}, "must not be empty", id="no-id"),
        pytest.param({"task_queue": ""}, "must not be empty", id="no-queue"),
        pytest.param({"start_signal_args": [1]}, "name the signal", id="signal-without-a-name"),
        pytest.param(
            {
                "id_reuse_policy": WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
                "id_conflict_policy": WorkflowIDConflictPolicy.FAIL,
            },
            "TERMINATE_EXISTING",
            id="policies-that-clash",
        ),
    ],
)
async def test_a_start_that_makes_no_sense_never_leaves(server, client, options, message):
    with pytest.raises(UsageError, match=message):
        await client.start_workflow("Order", **{**WHERE, **options})
    assert not server.requests


async def test_an_argument_that_cannot_be_encoded_is_named(client):
    with pytest.raises(TypeError, match=r"^argument 2 of Order: cannot write"):
        await client.start_workflow("Order", args=[1, object()], **WHERE)


async def test_terminate_if_running_is_a_way_to_say_terminate_existing(server, client):
    server.answer("start", STARTED)
    policy = WorkflowIDReusePolicy.TERMINATE_IF_RUNNING
    await client.start_workflow("Order", id_reuse_policy=policy, **WHERE)
    request = server.asked("start")[0]
    assert request.id_reuse_policy is IdReusePolicy.ALLOW_DUPLICATE
    assert request.id_conflict_policy is IdConflictPolicy.TERMINATE_EXISTING


async def test_an_id_that_is_taken_is_an_error_of_its_own(server, client):
    server.refuse("start", 409, "AlreadyStarted", run_id="r0")
    with pytest.raises(WorkflowAlreadyStartedError, match="order-42") as caught:
        await client.start_workflow(OrderFlow.run, Order(1), **WHERE)
    error = caught.value
    assert (error.workflow_id, error.workflow_type, error.run_id) == (
        "order-42",
        "OrderWorkflow",
        "r0",
    )


async def test_another_refusal_of_a_start_stays_what_it_is(server, client):
    server.refuse("start", 400, "Invalid", "task queue is too long")
    with pytest.raises(RPCError, match="too long"):
        await client.start_workflow("Order", **WHERE)


async def test_executing_starts_and_waits_for_the_typed_result(server, client):
    server.answer("start", STARTED)
    server.answer("result", RUNNING, COMPLETED)
    assert await client.execute_workflow(OrderFlow.run, Order(7), **WHERE) == Receipt(7)
    assert [request.run_id for request in server.asked("result")] == ["r1", "r1"]


async def test_a_result_type_can_be_given_with_a_name(server, client):
    server.answer("start", STARTED)
    server.answer("result", COMPLETED)
    result = await client.execute_workflow("Order", result_type=Receipt, **WHERE)
    assert result == Receipt(7)


async def test_a_result_of_the_wrong_type_is_refused(server, client):
    server.answer("result", COMPLETED)
    handle = client.get_workflow_handle("order-42", result_type=int)
    with pytest.raises(ConversionError, match=r"^the result: expected int, got object"):
        await handle.result()


async def test_no_result_is_none(server, handle):
    server.answer("result", closed(RunStatus.COMPLETED))
    assert await handle.result() is None


async def test_the_run_that_is_waited_for_is_not_changed_under_way(server, handle):
    server.answer("result", RUNNING, COMPLETED)
    await handle.result()
    assert [request.run_id for request in server.asked("result")] == ["", "r1"]


async def test_a_result_is_waited_for_through_a_long_outage(server, handle, clock, caplog):
    server.answer("result", RUNNING)
    for _ in range(40):
        server.refuse("result", 503, "Unavailable", "starting")
    server.answer("result", COMPLETED)
    with caplog.at_level(logging.WARNING, "perdure.client"):
        assert await handle.result() == Receipt(7)
    assert clock.now > 20
    assert "Still waiting for the end of 'order-42': starting" in caplog.messages


async def test_a_server_that_never_answered_is_not_waited_for(nobody):
    with pytest.raises(RPCError, match="no server answers"):
        await nobody.get_workflow_handle("order-42").result()


async def test_a_result_of_nothing_is_refused_at_once(server, handle):
    server.refuse("result", 404, "NotFound", "no workflow order-42")
    with pytest.raises(RPCError, match="no workflow order-42"):
        await handle.result()


async def test_the_time_for_one_call_bounds_the_long_poll(server, handle):
    server.answer("result", COMPLETED, COMPLETED)
    await handle.result(rpc_timeout=timedelta(seconds=10))
    await handle.result()
    assert [request.wait for request in server.asked("result")] == [8_000, 20_000]


async def test_a_silent_server_is_given_up_within_the_time_for_one_call(server, handle):
    server.answer("describe", server.silence)
    with pytest.raises(RPCError, match=r"did not answer `describe` within 0\.2 s"):
        await handle.describe(rpc_timeout=timedelta(milliseconds=200))


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        pytest.param(RunStatus.CANCELED, CancelledError, id="canceled"),
        pytest.param(RunStatus.TERMINATED, TerminatedError, id="terminated"),
        pytest.param(RunStatus.TIMED_OUT, TimeoutError, id="timed-out"),
        pytest.param(RunStatus.FAILED, FailureError, id="failed"),
    ],
)
async def test_another_end_than_a_result_is_raised_with_its_cause(server, handle, status, cause):
    server.answer("result", closed(status))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert type(caught.value.cause) is cause


async def test_a_failure_is_raised_as_the_workflow_raised_it(server, handle):
    failure = default().to_failure(ApplicationError("sold out", 3, type="SoldOut"))
    server.answer("result", closed(RunStatus.FAILED, failure=failure))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    cause = caught.value.cause
    assert (cause.type, cause.message, list(cause.details)) == ("SoldOut", "sold out", [3])


@pytest.mark.parametrize(
    "signal", [pytest.param(OrderFlow.approve, id="method"), pytest.param("approve", id="name")]
)
async def test_a_signal_is_delivered_once_however_often_it_is_sent(server, handle, signal):
    server.answer("signal", None, verbs.Done())
    await handle.signal(signal, "ann")
    first, second = server.asked("signal")
    assert first == second
    assert first.signal_id
    assert (first.name, first.identity) == ("approve", "tester")
    assert first.input == default().to_payloads(["ann"])


async def test_a_query_is_answered_in_its_type(server, handle):
    server.answer("query", verbs.QueryResponse(result=default().to_payload(Receipt(2))))
    assert await handle.query(OrderFlow.receipt) == Receipt(2)
    assert server.asked("query")[0].timeout == 30_000


async def test_a_query_by_name_is_answered_in_the_type_that_is_asked_for(server, handle):
    answer = verbs.QueryResponse(result=default().to_payload(Receipt(2)))
    server.answer("query", answer, answer)
    assert await handle.query("receipt", 1, result_type=Receipt) == Receipt(2)
    assert await handle.query("receipt", rpc_timeout=timedelta(seconds=1)) == {"total": 2}
    first, second = server.asked("query")
    assert first.input == default().to_payloads([1])
    assert second.timeout == 1_000


async def test_a_query_that_raised_says_so(server, handle):
    failure = default().to_failure(ValueError("no such item"))
    server.answer("query", verbs.QueryResponse(failure=failure))
    with pytest.raises(WorkflowQueryFailedError, match="ValueError: no such item") as caught:
        await handle.query("receipt")
    assert isinstance(caught.value.cause, ApplicationError)


@pytest.mark.parametrize(
    ("condition", "status", "rejected"),
    [
        pytest.param("NOT_OPEN", RunStatus.RUNNING, False, id="open"),
        pytest.param("NOT_OPEN", RunStatus.COMPLETED, True, id="closed"),
        pytest.param("NOT_COMPLETED_CLEANLY", RunStatus.RUNNING, False, id="open-and-clean"),
        pytest.param("NOT_COMPLETED_CLEANLY", RunStatus.COMPLETED, False, id="clean"),
        pytest.param("NOT_COMPLETED_CLEANLY", RunStatus.FAILED, True, id="unclean"),
    ],
)
async def test_runs_in_the_wrong_state_are_not_asked(server, handle, condition, status, rejected):
    server.answer("describe", description(status))
    reject_condition = QueryRejectCondition[condition]
    if rejected:
        with pytest.raises(WorkflowQueryRejectedError, match=status.name) as caught:
            await handle.query("receipt", reject_condition=reject_condition)
        assert caught.value.status is WorkflowExecutionStatus[status.name]
    else:
        server.answer("query", verbs.QueryResponse())
        assert await handle.query("receipt", reject_condition=reject_condition) is None


async def test_cancel_and_terminate_touch_only_the_run_that_was_started(server, client):
    server.answer("start", STARTED)
    server.answer("cancel", verbs.Done())
    server.answer("terminate", verbs.Done())
    server.answer("signal", verbs.Done())
    handle = await client.start_workflow("Order", **WHERE)
    await handle.cancel(reason="changed my mind")
    await handle.terminate("why", reason="enough")
    await handle.signal("approve")
    target = {"namespace": "shop", "workflow_id": "order-42", "run_id": "r1"}
    assert server.asked("cancel") == [
        verbs.CancelRequest(**target, reason="changed my mind", identity="tester")
    ]
    assert server.asked("terminate") == [
        verbs.TerminateRequest(
            **target, reason="enough", details=default().to_payloads(["why"]), identity="tester"
        )
    ]
    assert server.asked("signal")[0].run_id == ""


async def test_a_description_speaks_python(server, handle):
    memo = {"owner": default().to_payload("ann"), "order": default().to_payload(Order(1))}
    raw = description(RunStatus.COMPLETED, closed=61_000, events=12, memo=memo, current_step="ship")
    server.answer("describe", raw)
    found = await handle.describe()
    assert (found.id, found.run_id, found.workflow_type) == ("order-42", "r1", "OrderWorkflow")
    assert found.status is WorkflowExecutionStatus.COMPLETED
    assert found.start_time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert found.close_time - found.start_time == timedelta(minutes=1)
    assert (found.history_length, found.current_step) == (12, "ship")
    assert found.raw_description == raw
    assert await found.memo() == {"owner": "ann", "order": {"qty": 1}}
    assert await found.memo_value("order", type_hint=Order) == Order(1)
    assert await found.memo_value("none", 5) == 5


def events(*ids):
    payload = Payload({"encoding": b"x"}, b"\xff")
    return tuple(
        HistoryEvent(i, 1_000 + i, SignalReceived(name=f"s{i}", input=(payload,))) for i in ids
    )


def page(*ids, last, closed=False):
    return verbs.HistoryResponse(
        run_id="r1", workflow_type="Order", events=events(*ids), last_event=last, closed=closed
    )


async def test_a_history_is_fetched_page_by_page(server, handle):
    server.answer("history", page(1, 2, last=3), page(3, last=3))
    history = await handle.fetch_history()
    assert list(history.events) == list(events(1, 2, 3))
    assert (history.run_id, history.workflow_type) == ("r1", "Order")
    assert [(r.after, r.run_id, r.wait) for r in server.asked("history")] == [
        (0, "", 0),
        (2, "r1", 0),
    ]


async def test_new_events_are_waited_for_until_the_run_is_closed(server, handle):
    server.answer("history", page(1, last=1), page(last=1), None, page(2, 3, last=3, closed=True))
    seen = [event.id async for event in handle.fetch_history_events(wait_new_event=True)]
    assert seen == [1, 2, 3]
    assert [request.after for request in server.asked("history")] == [0, 1, 1, 1]
    assert all(request.wait == 20_000 for request in server.asked("history"))


async def test_a_page_at_the_end_of_a_closed_run_may_not_be_its_last(server, handle):
    server.answer("history", page(1, last=2, closed=True), page(2, last=2, closed=True))
    seen = [
        event.id async for event in handle.fetch_history_events(page_size=1, wait_new_event=True)
    ]
    assert seen == [1, 2]


def test_a_history_survives_json():
    started = WorkflowStarted(workflow_type="Order", task_queue="q", run_id="r1")
    history = WorkflowHistory("a", [HistoryEvent(1, 5, started), *events(2)], "r1", "Order")
    assert WorkflowHistory.from_json("a", history.to_json()) == history
    assert WorkflowHistory.from_json("b", history.to_json()).workflow_id == "b"


class Reversing(PayloadCodec):
    async def encode(self, payloads):
        return [Payload({"encoding": b"reversed"}, p.data[::-1]) for p in payloads]

    async def decode(self, payloads):
        return [Payload({"encoding": b"json/plain"}, p.data[::-1]) for p in payloads]


async def test_a_codec_is_applied_both_ways(server, service):
    client = Client(service, data_converter=DataConverter(payload_codec=Reversing()))
    server.answer("start", STARTED)
    server.answer("result", closed(RunStatus.COMPLETED, result=Payload({}, b"24")))
    handle = await client.start_workflow("Order", "ab", memo={"k": "cd"}, **WHERE)
    assert await handle.result() == 42
    request = server.asked("start")[0]
    assert request.input == (Payload({"encoding": b"reversed"}, b'"ba"'),)
    assert request.memo["k"].data == b'"dc"'


def test_a_handle_asks_nothing_until_it_is_used(client):
    handle = client.get_workflow_handle("order-42", run_id="r5", first_execution_run_id="r1")
    assert isinstance(handle, WorkflowHandle)
    assert (handle.run_id, handle.result_run_id) == ("r5", "r5")
    assert handle.first_execution_run_id == "r1"


async def test_a_client_can_be_made_anew_with_changes(client):
    other = Client(**{**client.config(), "namespace": "other"})
    assert (other.namespace, other.identity) == ("other", "tester")
    assert other.service is client.service
