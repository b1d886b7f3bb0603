"""Histories as a status shows them, and users' values between manifests and the wire."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.protocol import events as ev
from perdure.protocol import failures as wire
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Payload
from perdure_operator.controllers.histories import (
    build_checkpoint,
    format_tail,
    read_checkpoint,
)
from perdure_operator.controllers.values import (
    describe_failure,
    locate_failure,
    to_failure,
    to_json,
    to_payloads,
)

EIGHT_O_CLOCK = 1_767_254_592_000 + 400
JSON = {"encoding": b"json/plain"}
BROKE = Failure(message="it broke")


def history(*events: Event) -> list[HistoryEvent]:
    return [HistoryEvent(number, EIGHT_O_CLOCK, event) for number, event in enumerate(events, 1)]


def scheduled(seq: int, name: str) -> ev.ActivityScheduled:
    return ev.ActivityScheduled(seq=seq, activity_id="a", activity_type=name, task_queue="q")


def test_the_tail_names_what_the_events_before_it_named() -> None:
    result = Payload(JSON, b'{"payment":"p1"}')
    events = history(scheduled(1, "charge"), ev.ActivityCompleted(seq=1, result=result))

    assert format_tail(events, 1) == ['[08:03:12] ActivityCompleted: charge → {"payment": "p1"}']


def test_only_the_last_lines_are_shown_and_no_bookkeeping() -> None:
    steps = [ev.StepCompleted(seq=n, name=f"s{n}") for n in range(30)]
    lines = format_tail(history(*steps, ev.WorkflowTaskCompleted(through=1, started=0)))

    assert lines == [f"[08:03:12] StepCompleted: s{n}" for n in range(20, 30)]


def test_a_checkpoint_gives_the_same_events_back() -> None:
    events = history(scheduled(1, "charge"), ev.ActivityCompleted(seq=1))
    checkpoint = build_checkpoint(events)

    assert checkpoint is not None
    assert checkpoint.events == 2
    assert checkpoint.encoding == "zstd+base64"
    assert read_checkpoint(checkpoint) == events


def test_a_history_that_stays_too_long_has_no_checkpoint() -> None:
    noise = random.Random(1).randbytes(20_000)
    result = Payload({"encoding": b"binary/encrypted"}, noise)

    assert build_checkpoint(history(ev.WorkflowCompleted(result=result))) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=4))
def test_json_goes_to_payloads_and_back_unchanged(values: list[Any]) -> None:
    payloads = to_payloads(values)

    assert [to_json(payload, limit=10**6) for payload in payloads] == values


def test_no_payload_and_null_are_none() -> None:
    assert to_json(None, limit=10) is None
    assert to_json(Payload({"encoding": b"binary/null"}), limit=10) is None


@pytest.mark.parametrize(
    ("info", "type_"),
    [
        (wire.ApplicationInfo(type="PaymentError", non_retryable=True), "PaymentError"),
        (wire.ApplicationInfo(), "ApplicationError"),
        (wire.TimeoutInfo(), "TimeoutError"),
        (wire.CanceledInfo(), "CancelledError"),
        (wire.TerminatedInfo(), "TerminatedError"),
        (wire.ActivityInfo(activity_type="charge"), "ActivityError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_failure_has_a_type(info: wire.FailureInfo, type_: str) -> None:
    shown = to_failure(Failure(message="m", info=info, cause=BROKE, stack_trace="trace"))

    assert shown.type == type_
    assert shown.cause == "ApplicationError: it broke"
    assert shown.step == ("charge" if type_ == "ActivityError" else None)
    assert shown.non_retryable is (type_ == "PaymentError")
    assert shown.stack_trace == "trace"


def test_a_failure_is_described_with_what_led_to_it_and_located() -> None:
    trace = 'Traceback\n  File "a.py", line 1, in f\n    x\n  File "b.py", line 2, in g\n    y\n'
    failure = Failure(message="m", cause=Failure(cause=BROKE), stack_trace=trace)

    assert describe_failure(failure) == (
        "ApplicationError: m, caused by ApplicationError, caused by ApplicationError: it broke"
    )
    assert locate_failure(failure) == '"b.py", line 2, in g'
    assert locate_failure(BROKE) == ""
