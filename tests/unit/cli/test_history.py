"""Histories as files: what is written is read again, and what is spoiled is said."""

import io
import json
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.histories import format_run, parse_runs
from perdure.client import RPCError, RPCStatusCode
from perdure.protocol import events as ev
from perdure.protocol import verbs
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure, RetryState
from perdure.protocol.payloads import Payload

BEGIN = 1_700_000_000_123
EVENTS = (
    HistoryEvent(1, BEGIN, ev.WorkflowStarted(workflow_type="Order", task_queue="q", run_id="r1")),
    HistoryEvent(2, BEGIN + 1, ev.WorkflowTaskCompleted(through=1, started=BEGIN)),
    HistoryEvent(
        3,
        BEGIN + 2,
        ev.StepCompleted(seq=1, name="charge", result=Payload({"encoding": b"x"}, b"\0\xff")),
    ),
)
SUMMARY = {
    "namespace": "shop",
    "workflow_id": "order-42",
    "workflow_type": "Order",
    "task_queue": "q",
    "status": verbs.RunStatus.RUNNING,
    "started": BEGIN,
}
RUN = verbs.RunDescription(**SUMMARY, run_id="r1", events=3, digest="ab", watched=True)
OTHER = verbs.RunDescription(**SUMMARY, run_id="r0", events=1, digest="cd")
IMPORT = verbs.ImportRequest(
    namespace="shop", workflow_id="order-42", run_id="r1", events=EVENTS, digest="ab", watched=True
)


def page(events) -> verbs.HistoryResponse:
    return verbs.HistoryResponse(
        run_id="r1", workflow_type="Order", events=events, last_event=len(EVENTS)
    )


EXPORT = {verbs.DescribeRequest: RUN, verbs.HistoryRequest: page(EVENTS)}


def listed(run, next_page=""):
    fields = {name: getattr(run, name) for name in verbs.RunSummary.__struct_fields__}
    return verbs.ListResponse(runs=(verbs.RunSummary(**fields),), next_page=next_page)


# --- the file ----------------------------------------------------------------------------------


def test_a_file_says_what_happened_in_lines_that_can_be_read():
    header, _, _, step = map(json.loads, format_run(RUN, EVENTS))
    assert header == {
        "history": 1,
        "namespace": "shop",
        "workflowId": "order-42",
        "runId": "r1",
        "workflowType": "Order",
        "status": "Running",
        "events": 3,
        "digest": "ab",
        "watched": True,
    }
    assert (step["id"], step["time"]) == (3, "2023-11-14T22:13:20.125Z")
    assert (step["type"], step["name"]) == ("StepCompleted", "charge")


def test_runs_come_back_as_they_were_written_one_after_the_other():
    lines = [*format_run(RUN, EVENTS), "", *format_run(OTHER, EVENTS[:1])]
    first, second = parse_runs(lines)
    assert first == IMPORT
    assert (second.run_id, second.events) == ("r0", EVENTS[:1])


EVENT_TYPES = ev.Event.__args__


@given(
    st.integers(0, 253_402_300_799_999),
    st.binary(),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_every_instant_text_and_byte_survives(time, data, name):
    signal = ev.SignalReceived(name=name, input=(Payload({"encoding": data}, data),))
    events = (HistoryEvent(1, time, signal),)
    (run,) = parse_runs(format_run(RUN, events))
    assert run.events == events


def test_a_batch_and_its_results_survive():
    value, failure = Payload({"encoding": b"x"}, b"\0\xff"), Failure(message="too dark")
    scheduled = ev.BatchScheduled(
        seq=1, activity_id="1", activity_type="resize", task_queue="q", items=((value,), ()),
        parallelism=2, streamed=True,
    )  # fmt: skip
    items = (
        ev.ItemResult(1, 2, failure=failure, retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED),
        ev.ItemResult(0, 1, value),
    )
    batch = (
        scheduled,
        ev.BatchItemsClosed(seq=1, items=items),
        ev.BatchFailed(seq=1, failure=failure, succeeded=1, failed=1),
    )
    events = tuple(HistoryEvent(number, BEGIN, each) for number, each in enumerate(batch, 1))
    (run,) = parse_runs(format_run(RUN, events))
    assert run.events == events


def test_no_event_has_a_field_that_a_line_uses_for_itself():
    for kind in EVENT_TYPES:
        assert not {"id", "time", "type"} & set(kind.__struct_fields__)
        assert "\n" not in msgspec.json.encode(kind.__name__).decode()


# --- export ------------------------------------------------------------------------------------


def test_a_run_is_exported_to_standard_output(perdure):
    told = perdure("history", "export", "order-42", "-n", "shop", answers=EXPORT)
    assert told.code == 0
    assert list(parse_runs(told.out.splitlines())) == [IMPORT]
    assert told.requests[0] == verbs.DescribeRequest(namespace="shop", workflow_id="order-42")


def test_what_was_recorded_meanwhile_is_left_out(perdure):
    answers = {**EXPORT, verbs.DescribeRequest: msgspec.structs.replace(RUN, events=2)}
    told = perdure("history", "export", "order-42", answers=answers)
    (run,) = parse_runs(told.out.splitlines())
    assert run.events == EVENTS[:2]


def test_every_run_is_exported_page_by_page(perdure, tmp_path):
    file = tmp_path / "store.jsonl"
    answers = {
        verbs.ListRequest: [listed(RUN, "more"), listed(OTHER)],
        verbs.DescribeRequest: [RUN, OTHER],
        verbs.HistoryRequest: page(EVENTS),
    }
    told = perdure("history", "export", "-A", "--file", str(file), answers=answers)
    assert told.code == 0
    assert told.out == f"exported 2 runs to {file}\n"
    assert [each.run_id for each in parse_runs(file.read_text().splitlines())] == ["r1", "r0"]
    asked = [each for each in told.requests if isinstance(each, verbs.ListRequest)]
    assert [(each.namespace, each.page) for each in asked] == [("", ""), ("", "more")]
    assert list(tmp_path.iterdir()) == [file]


def test_all_means_the_namespace(perdure):
    answers = {**EXPORT, verbs.ListRequest: listed(RUN)}
    told = perdure("history", "export", "--all", "-n", "shop", answers=answers)
    assert told.requests[0].namespace == "shop"


@pytest.mark.parametrize("words", [(), ("order-42", "--all")], ids=["nothing", "both"])
def test_it_must_be_said_what_to_export(perdure, words):
    told = perdure("history", "export", *words)
    assert told.code == 2
    assert "give the id of a workflow, or --all" in told.err


def test_an_export_that_fails_leaves_the_file_of_before(perdure, tmp_path):
    file = tmp_path / "store.jsonl"
    file.write_text("of before")
    away = RPCError("no server answers", RPCStatusCode.UNAVAILABLE)
    told = perdure(
        "history", "export", "x", "--file", str(file), answers={verbs.DescribeRequest: away}
    )
    assert told.code == 3
    assert file.read_text() == "of before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_said(perdure, tmp_path):
    file = tmp_path / "nowhere" / "store.jsonl"
    told = perdure("history", "export", "x", "--file", str(file), answers=EXPORT)
    assert told.code == 2
    assert told.err == f"perdure: {file} cannot be written: No such file or directory\n"


# --- import ------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path):
    """Two runs in a file."""
    file = tmp_path / "store.jsonl"
    lines = [*format_run(RUN, EVENTS), *format_run(OTHER, EVENTS[:1])]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_every_run_of_a_file_is_imported(perdure, exported):
    answers = [verbs.ImportResponse(run_id="r1"), verbs.ImportResponse(run_id="r0", imported=False)]
    told = perdure("history", "import", str(exported), answers={verbs.ImportRequest: answers})
    assert told.code == 0
    assert told.requests[0] == IMPORT
    assert told.out.splitlines() == [
        "imported order-42 (run r1), 3 events",
        "was there already: order-42 (run r0), 1 events",
    ]


def test_a_history_can_come_by_standard_input(perdure, monkeypatch):
    lines = io.TextIOWrapper(io.BytesIO("\n".join(format_run(RUN, EVENTS)).encode()))
    monkeypatch.setattr(sys, "stdin", lines)
    answers = {verbs.ImportRequest: verbs.ImportResponse(run_id="r1")}
    told = perdure("history", "import", "-", answers=answers)
    assert told.request == IMPORT


def test_a_run_that_is_refused_does_not_hold_up_the_others(perdure, exported):
    refusal = RPCError("another is open", RPCStatusCode.ALREADY_EXISTS, code="AlreadyStarted")
    answers = [refusal, verbs.ImportResponse(run_id="r0")]
    told = perdure("history", "import", str(exported), answers={verbs.ImportRequest: answers})
    assert told.code == 4
    assert told.out == "imported order-42 (run r0), 1 events\n"
    assert told.err.splitlines() == [
        "perdure: order-42 (run r1) is not imported: another is open",
        "perdure: 1 run was not imported",
    ]


@pytest.mark.parametrize(
    "error",
    [
        RPCError("no server answers", RPCStatusCode.UNAVAILABLE),
        RPCError("the disk is full", RPCStatusCode.UNAVAILABLE, code="Unavailable"),
    ],
    ids=["away", "unwell"],
)
def test_a_server_that_cannot_is_not_asked_for_the_rest(perdure, exported, error):
    told = perdure("history", "import", str(exported), answers={verbs.ImportRequest: error})
    assert len(told.requests) == 1
    assert told.code in {3, 4}
    assert told.err == f"perdure: {error.message}\n"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda lines: lines[:-1], "has 2 of its 3 events", id="cut-short"),
        pytest.param(lambda lines: ["{}"], "line 1 is not the header", id="not-ours"),
        pytest.param(lambda lines: lines[1:], "line 1 is not the header", id="headless"),
        pytest.param(
            lambda lines: [lines[0].replace('"history":1', '"history":2')], "version 2", id="newer"
        ),
        pytest.param(
            lambda lines: [lines[0], '{"id":1}', *lines[2:]], "line 2 is not an event", id="no-time"
        ),
        pytest.param(
            lambda lines: [*lines[:2], lines[2].replace("WorkflowTask", "Nothing"), lines[3]],
            "line 3 is not an event",
            id="unknown-event",
        ),
    ],
)
def test_a_spoiled_file_imports_no_half_history(perdure, tmp_path, spoil, words):
    file = tmp_path / "store.jsonl"
    file.write_text("\n".join(spoil(list(format_run(RUN, EVENTS)))))
    told = perdure("history", "import", str(file))
    assert told.code == 2
    assert words in told.err
    assert told.requests == []


def test_a_file_that_cannot_be_read_is_said(perdure, tmp_path):
    told = perdure("history", "import", str(tmp_path / "nowhere"))
    assert told.code == 2
    assert "nowhere cannot be read" in told.err
