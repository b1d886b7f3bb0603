"""``perdure retry``, and what ``show`` says of a run that was retried."""

import json

from perdure.client import RPCError, RPCStatusCode
from perdure.protocol import verbs
from perdure.protocol.retries import Effect, Retried, RetryPoint, RetryResponse

ANSWER = RetryResponse(run_id="run-2", retried_run_id="run-1", event=9)
REFUND = Effect(event=12, name="refund")
TELL = Effect(event=14, name="tell", is_completed=False)


def test_a_run_is_retried_from_its_failed_step(perdure):
    told = perdure("retry", "x", "--reason", "mended", answers={verbs.RetryRequest: ANSWER})
    assert (told.code, told.err) == (0, "")
    assert told.out == "retried x from event 9 of run run-1 (run run-2)\n"
    assert (told.request.point, told.request.reason) == (RetryPoint.FAILED_STEP, "mended")
    assert told.request.request_id
    assert told.request.run_id == ""


def test_a_run_is_retried_from_the_start(perdure):
    answers = {verbs.RetryRequest: ANSWER}
    told = perdure("retry", "x", "--from-start", "--run-id", "run-1", answers=answers)
    assert told.out == "retried x from the start of run run-1 (run run-2)\n"
    assert (told.request.point, told.request.run_id) == (RetryPoint.START, "run-1")


def test_what_was_done_after_the_failure_is_a_warning(perdure):
    answer = RetryResponse(run_id="run-2", retried_run_id="run-1", event=9, effects=(REFUND, TELL))
    told = perdure("retry", "x", answers={verbs.RetryRequest: answer})
    assert told.err == (
        "Warning: after that event the earlier run went on, and the new one knows nothing of it:\n"
        "  event 12: refund\n"
        "  event 14: tell (not completed)\n"
    )
    assert told.code == 0


def test_a_retry_can_be_read_by_programs(perdure):
    told = perdure("retry", "x", "-o", "json", answers={verbs.RetryRequest: ANSWER})
    assert json.loads(told.out)["runId"] == "run-2"
    assert perdure("retry", "x", "-o", "name", answers={verbs.RetryRequest: ANSWER}).out == "x\n"


def test_a_refusal_says_why(perdure):
    error = RPCError("'x' has completed", RPCStatusCode.INVALID_ARGUMENT, code="Invalid")
    told = perdure("retry", "x", answers={verbs.RetryRequest: error})
    assert (told.code, told.err) == (4, "perdure: 'x' has completed\n")


def test_show_says_where_a_run_comes_from(perdure):
    origin = Retried(
        run_id="run-1", event=9, point=RetryPoint.FAILED_STEP, time=1_700_000_000_000, reason="why"
    )
    description = verbs.RunDescription(
        namespace="default",
        workflow_id="x",
        run_id="run-2",
        workflow_type="Order",
        task_queue="orders",
        status=verbs.RunStatus.RUNNING,
        started=1_700_000_000_000,
        retried=origin,
    )
    page = verbs.HistoryResponse(run_id="run-2", workflow_type="Order")
    answers = {verbs.DescribeRequest: description, verbs.HistoryRequest: page}
    lines = perdure("show", "x", answers=answers).out.splitlines()
    assert lines[1] == "Retried from run run-1 at event 9: why"
