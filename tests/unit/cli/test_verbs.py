"""What each verb asks the server, what it prints and how it exits."""

import json

import pytest
import yaml

from perdure.client import RPCError, RPCStatusCode
from perdure.protocol import events as ev
from perdure.protocol import verbs
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.payloads import Payload

BEGIN = 1_700_000_000_000
SUMMARY = {
    "namespace": "default",
    "workflow_id": "order-42",
    "run_id": "run-1",
    "workflow_type": "Order",
    "task_queue": "orders",
    "status": verbs.RunStatus.RUNNING,
    "started": BEGIN,
    "events": 2,
}
NOT_FOUND = RPCError("no run of 'x'", RPCStatusCode.NOT_FOUND, code="NotFound", http_status=404)
AWAY = RPCError("no server answers at 127.0.0.1:7233", RPCStatusCode.UNAVAILABLE)


def value(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


def closed(status: verbs.RunStatus, **rest) -> verbs.ResultResponse:
    return verbs.ResultResponse(run_id="run-1", status=status, **rest)


# --- start -----------------------------------------------------------------------------------


STARTED = {verbs.StartRequest: verbs.StartResponse(run_id="run-1")}


def test_start_asks_for_a_run_and_says_its_id(perdure):
    told = perdure(
        "start",
        "Order",
        "--id",
        "order-42",
        "-q",
        "orders",
        "-i",
        "1",
        "-i",
        '"a"',
        answers=STARTED,
    )
    assert told.code == 0
    assert told.out == "started order-42 (run run-1)\n"
    assert told.request.workflow_type == "Order"
    assert told.request.task_queue == "orders"
    assert [each.data for each in told.request.input] == [b"1", b'"a"']
    assert told.request.request_id
    assert (told.address, told.request.namespace) == ("127.0.0.1:7233", "default")


def test_start_makes_an_id_up(perdure):
    told = perdure("start", "Order", "-o", "name", answers=STARTED)
    assert told.out.strip() == told.request.workflow_id
    assert told.request.workflow_id.startswith("Order-")


def test_start_can_be_read_by_programs(perdure):
    told = perdure("start", "Order", "--id", "x", "-o", "json", answers=STARTED)
    assert json.loads(told.out) == {"workflowId": "x", "runId": "run-1"}


def test_broken_input_is_refused_before_the_server_is_asked(perdure):
    told = perdure("start", "Order", "-i", "{a")
    assert told.code == 2
    assert told.err.startswith("perdure: --input 1 is not JSON")
    assert told.requests == []


# --- where the server is -----------------------------------------------------------------------


def test_address_and_namespace_come_from_the_environment(perdure, monkeypatch):
    monkeypatch.setenv("PERDURE_ADDRESS", "server:1")
    monkeypatch.setenv("PERDURE_NAMESPACE", "shop")
    told = perdure("cancel", "x", answers={verbs.CancelRequest: verbs.Done()})
    assert (told.address, told.request.namespace) == ("server:1", "shop")


def test_options_win_over_the_environment(perdure, monkeypatch):
    monkeypatch.setenv("PERDURE_ADDRESS", "server:1")
    told = perdure(
        "cancel",
        "x",
        "--address",
        "other:2",
        "-n",
        "b",
        answers={verbs.CancelRequest: verbs.Done()},
    )
    assert (told.address, told.request.namespace) == ("other:2", "b")


@pytest.mark.parametrize(
    ("error", "code"),
    [pytest.param(NOT_FOUND, 4, id="refused"), pytest.param(AWAY, 3, id="unreachable")],
)
@pytest.mark.parametrize("words", [("cancel", "x"), ("result", "x"), ("show", "x"), ("list",)])
def test_what_the_server_says_is_told_without_a_traceback(perdure, words, error, code):
    answers = dict.fromkeys(
        (verbs.CancelRequest, verbs.ResultRequest, verbs.DescribeRequest, verbs.ListRequest), error
    )
    told = perdure(*words, answers=answers)
    assert told.code == code
    assert told.err == f"perdure: {error.message}\n"


def test_an_address_that_is_none_is_wrong_usage(capsys):
    from perdure.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["list", "--address", "http://:x"])
    assert ended.value.code == 2
    assert "is no address of a server" in capsys.readouterr().err


# --- telling a run something -------------------------------------------------------------------


def test_signal_sends_its_arguments_once(perdure):
    told = perdure(
        "signal", "order-42", "approve", "-i", "true", answers={verbs.SignalRequest: verbs.Done()}
    )
    assert told.out == "signalled order-42: approve\n"
    assert told.request.name == "approve"
    assert told.request.input[0].data == b"true"
    assert told.request.signal_id


def test_signal_takes_an_id_that_makes_it_harmless_to_repeat(perdure):
    told = perdure(
        "signal", "x", "n", "--signal-id", "a1", answers={verbs.SignalRequest: verbs.Done()}
    )
    assert told.request.signal_id == "a1"


def test_cancel_and_terminate_give_the_reason(perdure):
    told = perdure("cancel", "x", "--reason", "why", answers={verbs.CancelRequest: verbs.Done()})
    assert (told.code, told.request.reason, told.out) == (0, "why", "asked x to end\n")
    told = perdure(
        "terminate", "x", "--run-id", "r", answers={verbs.TerminateRequest: verbs.Done()}
    )
    assert (told.request.run_id, told.out) == ("r", "terminated x\n")


def test_query_prints_the_answer(perdure):
    answers = {verbs.QueryRequest: verbs.QueryResponse(result=value('{"a":[1]}'))}
    told = perdure("query", "x", "status", "--timeout", "1.5", answers=answers)
    assert (told.code, told.out) == (0, '{"a": [1]}\n')
    assert told.request.timeout == 1500
    assert perdure("query", "x", "s", "-o", "yaml", answers=answers).out == "a:\n  - 1\n"


def test_a_query_that_fails_exits_with_1(perdure):
    failure = Failure(message="not yet", info=ApplicationInfo(type="TooEarly"))
    told = perdure(
        "query", "x", "s", answers={verbs.QueryRequest: verbs.QueryResponse(failure=failure)}
    )
    assert told.code == 1
    assert told.err == "perdure: query s of x failed\n  TooEarly: not yet\n"


# --- result ------------------------------------------------------------------------------------


def test_result_waits_for_the_end_of_the_run_that_it_began_with(perdure):
    answers = {
        verbs.ResultRequest: [
            closed(verbs.RunStatus.RUNNING),
            closed(verbs.RunStatus.COMPLETED, result=value('{"id":  1}')),
        ]
    }
    told = perdure("result", "x", answers=answers)
    assert (told.code, told.out, told.err) == (0, '{"id": 1}\n', "")
    assert [each.run_id for each in told.requests] == ["", "run-1"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (verbs.RunStatus.FAILED, "failed"),
        (verbs.RunStatus.CANCELED, "was canceled"),
        (verbs.RunStatus.TERMINATED, "was terminated"),
        (verbs.RunStatus.TIMED_OUT, "timed out"),
    ],
)
def test_a_run_that_did_not_succeed_exits_with_1_and_says_why(perdure, status, word):
    cause = Failure(
        message="declined",
        info=ApplicationInfo(type="CardError"),
        stack_trace='  File "a/perdure/worker/_calls.py", line 1, in x\n    y()\n'
        '  File "orders.py", line 7, in charge\n    raise CardError\n',
    )
    failure = Failure(message="no order", info=ApplicationInfo(type="OrderError"), cause=cause)
    told = perdure("result", "x", answers={verbs.ResultRequest: closed(status, failure=failure)})
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines() == [
        f"x {word}",
        "  OrderError: no order",
        "    because of CardError: declined",
        '      File "orders.py", line 7, in charge',
        "        raise CardError",
    ]


# --- list --------------------------------------------------------------------------------------


def test_list_shows_a_table(perdure):
    runs = (
        verbs.RunSummary(**{**SUMMARY, "current_step": "wait-for-warehouse"}),
        verbs.RunSummary(**{**SUMMARY, "workflow_id": "b", "status": verbs.RunStatus.FAILED}),
    )
    told = perdure("list", answers={verbs.ListRequest: verbs.ListResponse(runs=runs)})
    head, first, second = told.out.splitlines()
    assert head.split() == ["ID", "TYPE", "STATUS", "STEP", "STARTED", "EVENTS"]
    assert first.split()[:4] == ["order-42", "Order", "Running", "wait-for-warehouse"]
    assert second.split()[:4] == ["b", "Order", "Failed", "-"]


def test_list_asks_for_what_is_wanted_page_by_page(perdure):
    one = verbs.RunSummary(**SUMMARY)
    pages = [
        verbs.ListResponse(runs=(one,) * 2, next_page="p2"),
        verbs.ListResponse(runs=(one,)),
    ]
    told = perdure(
        "list", "--status", "running", "--type", "Order", "--limit", "5", "-o", "name",
        answers={verbs.ListRequest: pages},
    )  # fmt: skip
    assert told.out.split() == ["order-42"] * 3
    assert [(each.page, each.limit) for each in told.requests] == [("", 5), ("p2", 3)]
    assert (told.requests[0].status, told.requests[0].workflow_type) == ("Running", "Order")


def test_list_can_be_read_by_programs(perdure):
    answers = {verbs.ListRequest: verbs.ListResponse(runs=(verbs.RunSummary(**SUMMARY),))}
    as_json = json.loads(perdure("list", "-o", "json", answers=answers).out)
    as_yaml = yaml.safe_load(perdure("list", "-o", "yaml", answers=answers).out)
    assert as_json == as_yaml
    assert as_json[0]["workflowId"] == "order-42"


def test_an_empty_list_says_so_beside_the_output(perdure):
    told = perdure("list", answers={verbs.ListRequest: verbs.ListResponse()})
    assert (told.code, told.out, told.err) == (0, "", "no runs found\n")


def test_an_unknown_status_is_refused(perdure):
    told = perdure("list", "--status", "Done")
    assert told.code == 2
    assert "Running, Suspended, Completed" in told.err


# --- show --------------------------------------------------------------------------------------

HISTORY = (
    ev.HistoryEvent(
        1, BEGIN, ev.WorkflowStarted(workflow_type="Order", task_queue="q", run_id="r")
    ),
    ev.HistoryEvent(2, BEGIN, ev.StepCompleted(seq=1, name="ship", result=value("1"))),
)
PAGE = verbs.HistoryResponse(run_id="run-1", workflow_type="Order", events=HISTORY, last_event=2)


def shown(perdure, *options, history=PAGE, **description):
    answers = {
        verbs.DescribeRequest: verbs.RunDescription(**{**SUMMARY, **description}),
        verbs.HistoryRequest: history,
    }
    return perdure("show", "order-42", *options, answers=answers)


def test_show_prints_the_run_and_its_history(perdure):
    told = shown(perdure, current_step="ship")
    head, *lines = told.out.splitlines()
    assert head.startswith("Workflow  order-42 (Order)   Running, step: ship   started ")
    assert [line.partition("] ")[2] for line in lines] == [
        "WorkflowStarted",
        "StepCompleted: ship → 1",
    ]


def test_show_says_how_long_a_closed_run_took(perdure):
    told = shown(perdure, status=verbs.RunStatus.COMPLETED, closed=BEGIN + 90_400)
    assert "Completed   started " in told.out
    assert "took 1m30s" in told.out


def test_show_says_that_the_code_fails(perdure):
    told = shown(
        perdure,
        task_failure_cause="WorkflowError",
        task_failure=Failure(message="x", info=ApplicationInfo(type="KeyError")),
        cancel_requested=True,
    )
    assert "Its code fails and is tried again (WorkflowError): KeyError: x" in told.out
    assert "It was asked to end" in told.out


def test_show_says_what_is_being_tried_again(perdure):
    pending = verbs.PendingActivity(
        seq=1, activity_id="1", activity_type="charge", state="BackingOff", attempt=3,
        scheduled=BEGIN, next_attempt=BEGIN, last_failure=Failure(message="declined"),
    )  # fmt: skip
    told = shown(perdure, pending_activities=(pending,))
    assert told.out.splitlines()[-1] == "charge: attempt 3, again in 0s, after declined"


def test_show_says_what_an_activity_lacks(perdure):
    pending = verbs.PendingActivity(
        seq=1, activity_id="1", activity_type="scan", state="Scheduled", attempt=1,
        scheduled=BEGIN, waits_for="an operator to run its container",
    )  # fmt: skip
    told = shown(perdure, pending_activities=(pending,))
    assert told.out.splitlines()[-1] == "scan: waits for an operator to run its container"


def test_show_says_how_far_a_batch_is(perdure):
    batch = verbs.PendingBatch(
        seq=1, activity_id="1", activity_type="resize", total=10_000, succeeded=3_999, failed=1,
        running=50, scheduled=BEGIN, last_failure=Failure(message="too dark"),
    )  # fmt: skip
    told = shown(perdure, pending_batches=(batch,))
    assert told.out.splitlines()[-1] == (
        "resize: 4000 of 10000 items (1 failed), 50 running, last failure: too dark"
    )


def test_show_says_which_items_of_a_batch_have_failed_so_far(perdure):
    batch = verbs.PendingBatch(
        seq=1, activity_id="1", activity_type="resize", total=9, succeeded=3, failed=2,
        failed_indexes="4,6", scheduled=BEGIN,
    )  # fmt: skip
    told = shown(perdure, pending_batches=(batch,))
    assert told.out.splitlines()[-1] == "resize: 5 of 9 items (2 failed: 4,6), 0 running"


def failed_items(*indexes: int) -> ev.BatchItemsClosed:
    failure = Failure(message="too dark", info=ApplicationInfo(type="Unusable"))
    return ev.BatchItemsClosed(
        seq=1, items=(ev.ItemResult(99), *(ev.ItemResult(n, 3, None, failure) for n in indexes))
    )


def of_events(*events: ev.Event) -> verbs.HistoryResponse:
    recorded = tuple(ev.HistoryEvent(n, BEGIN, each) for n, each in enumerate(events, 1))
    return verbs.HistoryResponse(
        run_id="run-1", workflow_type="Order", events=recorded, last_event=len(recorded),
        closed=True,
    )  # fmt: skip


def test_show_tells_why_items_have_failed_with_the_end_of_their_batch(perdure):
    end = ev.BatchCompleted(seq=1, succeeded=98, failed=2, failed_indexes="4,6")
    told = shown(perdure, history=[of_events(failed_items(4), failed_items(6), end)])
    assert told.out.splitlines()[-3:] == [
        told.out.splitlines()[-3],
        "    item 4: Unusable: too dark (after 3 attempts)",
        "    item 6: Unusable: too dark (after 3 attempts)",
    ]
    assert told.out.splitlines()[-3].endswith("98 succeeded, 2 failed (items 4,6)")


def test_show_tells_a_few_failed_items_of_many_unless_all_are_asked_for(perdure):
    history = of_events(failed_items(*range(14)))
    few = shown(perdure, history=[history]).out.splitlines()
    assert sum(line.startswith("    item") for line in few) == 10
    assert few[-1] == "    and 4 more failed: --all shows them, --output json has their inputs"
    many = shown(perdure, "--all", history=[history]).out.splitlines()
    assert sum(line.startswith("    item") for line in many) == 14


def test_show_follows_to_the_end(perdure):
    end = ev.HistoryEvent(3, BEGIN, ev.WorkflowCompleted(result=value('"done"')))
    pages = [
        PAGE,
        verbs.HistoryResponse(run_id="run-1", workflow_type="Order", last_event=2),
        verbs.HistoryResponse(
            run_id="run-1", workflow_type="Order", events=(end,), last_event=3, closed=True
        ),
    ]
    told = shown(perdure, "--follow", history=pages)
    assert told.out.splitlines()[-1].endswith('WorkflowCompleted → "done"')
    asked = [each for each in told.requests if isinstance(each, verbs.HistoryRequest)]
    assert [each.after for each in asked] == [0, 2, 2]
    assert {each.run_id for each in asked} == {"run-1"}


def test_show_reads_a_long_history_of_a_closed_run_to_its_end(perdure):
    first, second = (
        verbs.HistoryResponse(
            run_id="run-1", workflow_type="Order", events=(each,), last_event=2, closed=True
        )
        for each in HISTORY
    )
    for option in ((), ("--follow",)):
        told = shown(perdure, *option, history=[first, second])
        assert told.out.splitlines()[-1].endswith("StepCompleted: ship → 1")


def test_show_gives_programs_the_run_with_its_history(perdure):
    data = json.loads(shown(perdure, "-o", "json").out)
    assert data["workflowType"] == "Order"
    assert [each["type"] for each in data["history"]] == ["WorkflowStarted", "StepCompleted"]
    assert shown(perdure, "-o", "name").out == "order-42\n"
