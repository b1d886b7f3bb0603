"""A history in lines for people."""

from datetime import UTC, timedelta, timezone

import msgspec
import pytest

from perdure.protocol import events as ev
from perdure.protocol.failures import ActivityInfo, ApplicationInfo, Failure, RetryState
from perdure.protocol.lines import HistoryLines, duration_text, failure_text, payload_value
from perdure.protocol.payloads import Payload
from perdure.protocol.placements import Placement

BEGIN = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
HOUR = 3_600_000


def value(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


STARTED = ev.WorkflowStarted(workflow_type="Order", task_queue="q", run_id="r")
SCHEDULED = ev.ActivityScheduled(seq=1, activity_id="1", activity_type="charge", task_queue="q")
CARD = Failure(message="declined", info=ApplicationInfo(type="CardError"))
BATCH = ev.BatchScheduled(
    seq=1, activity_id="1", activity_type="resize", task_queue="q", items=((),) * 10_000
)


def lines_of(*events: ev.Event, everything: bool = False, after: int = 0) -> list[str | None]:
    """Return the lines of the events behind a start; ``after`` milliseconds between them."""
    lines = HistoryLines(zone=UTC, everything=everything)
    lines.line(ev.HistoryEvent(1, BEGIN, STARTED))
    return [
        lines.line(ev.HistoryEvent(number, BEGIN + (number - 1) * after, event))
        for number, event in enumerate(events, start=2)
    ]


def test_the_design_s_example_reads_as_designed():
    lines = HistoryLines(zone=UTC)
    events = [
        STARTED,
        ev.WorkflowTaskCompleted(through=1, started=BEGIN),
        SCHEDULED,
        ev.ActivityStarted(seq=1, attempt=1, started=BEGIN),
        ev.ActivityCompleted(seq=1, result=value('{"paymentId":"pay_991"}')),
        ev.TimerStarted(seq=2, delay=600_000, fires=BEGIN + 600_000),
    ]
    told = [lines.line(ev.HistoryEvent(n, BEGIN, event)) for n, event in enumerate(events, start=1)]
    assert [line for line in told if line] == [
        "[22:13:20] WorkflowStarted",
        "[22:13:20] ActivityScheduled: charge",
        '[22:13:20] ActivityCompleted: charge → {"paymentId": "pay_991"}',
        "[22:13:20] TimerStarted: 10m (fires at 22:23:20)",
    ]


CASES = {
    "activity failed": (
        [
            SCHEDULED,
            ev.ActivityFailed(
                seq=1,
                failure=Failure(info=ActivityInfo(activity_type="charge"), cause=CARD),
                retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
            ),
        ],
        "ActivityFailed: charge: CardError: declined (no attempts left)",
    ),
    "activity timed out": (
        [
            SCHEDULED,
            ev.ActivityTimedOut(
                seq=1, failure=Failure(message="too slow"), retry_state=RetryState.TIMEOUT
            ),
        ],
        "ActivityTimedOut: charge: too slow (out of time)",
    ),
    "activity canceled": ([SCHEDULED, ev.ActivityCanceled(seq=1)], "ActivityCanceled: charge"),
    "activity asked to stop": (
        [SCHEDULED, ev.ActivityCancelRequested(seq=1)],
        "ActivityCancelRequested: charge",
    ),
    "activity with a summary": (
        [
            ev.ActivityScheduled(
                seq=1, activity_id="1", activity_type="charge", task_queue="q", summary="VISA"
            )
        ],
        "ActivityScheduled: charge (VISA)",
    ),
    "container": (
        [
            ev.ActivityScheduled(
                seq=1,
                activity_id="1",
                activity_type="scan",
                task_queue="q",
                summary="x.png",
                placement=Placement(container=True, template={"image": "shop/scan:3"}),
            ),
        ],
        "ActivityScheduled: scan (x.png), container of shop/scan:3",
    ),
    "activity in its own pod": (
        [msgspec.structs.replace(SCHEDULED, placement=Placement())],
        "ActivityScheduled: charge, in a pod of its own",
    ),
    "repeated activity": (
        [SCHEDULED, ev.ActivityStarted(seq=1, attempt=3, started=0, last_failure=CARD)],
        "ActivityStarted: charge, attempt 3, after CardError: declined",
    ),
    "batch": ([BATCH], "BatchScheduled: resize, 10000 items"),
    "batch with bounds": (
        [
            ev.BatchScheduled(
                seq=1,
                activity_id="1",
                activity_type="resize",
                task_queue="q",
                items=((),),
                parallelism=50,
                tolerated_failures=1,
                summary="photos",
            )
        ],
        "BatchScheduled: resize (photos), 1 item, 50 at once, 1 failure tolerated",
    ),
    "items": (
        [
            BATCH,
            ev.BatchItemsClosed(seq=1, items=tuple(map(ev.ItemResult, range(999)))),
            ev.BatchItemsClosed(
                seq=1, items=(ev.ItemResult(999, 3, failure=CARD), ev.ItemResult(1000))
            ),
        ],
        "BatchItemsClosed: resize: 2 items, 1 failed (CardError: declined); 1001 of 10000",
    ),
    "items of a batch out of sight": (
        [ev.BatchItemsClosed(seq=7, items=(ev.ItemResult(0),))],
        "BatchItemsClosed: #7: 1 item",
    ),
    "batch completed": (
        [BATCH, ev.BatchCompleted(seq=1, succeeded=9_999, failed=1, failed_indexes="7")],
        "BatchCompleted: resize: 9999 succeeded, 1 failed (items 7)",
    ),
    "batch failed": (
        [BATCH, ev.BatchFailed(seq=1, failure=CARD, succeeded=3, failed=2)],
        "BatchFailed: resize: 3 succeeded, 2 failed: CardError: declined",
    ),
    "batch canceled": (
        [BATCH, ev.BatchCanceled(seq=1, succeeded=3)],
        "BatchCanceled: resize: 3 succeeded, 0 failed",
    ),
    "unknown seq": ([ev.TimerFired(seq=7)], "TimerFired: #7"),
    "step": (
        [ev.StepCompleted(seq=1, name="ship", result=value("[1,2]"))],
        "StepCompleted: ship → [1, 2]",
    ),
    "step without a result": ([ev.StepCompleted(seq=1, name="ship")], "StepCompleted: ship"),
    "failed step": (
        [ev.StepFailed(seq=1, name="ship", failure=CARD, attempt=2)],
        "StepFailed: ship, attempt 2: CardError: declined",
    ),
    "named timer": (
        [
            ev.TimerStarted(seq=1, delay=2 * HOUR, fires=BEGIN, summary="remind"),
            ev.TimerFired(seq=1),
        ],
        "TimerFired: remind",
    ),
    "canceled timer": (
        [ev.TimerStarted(seq=1, delay=90_000, fires=BEGIN), ev.TimerCanceled(seq=1)],
        "TimerCanceled: 1m30s",
    ),
    "signal": (
        [ev.SignalReceived(name="approve", input=(value("true"), value('"Ann"')))],
        'SignalReceived: approve(true, "Ann")',
    ),
    "cancel requested": ([ev.CancelRequested(reason="why not")], "CancelRequested: why not"),
    "task failed": (
        [ev.WorkflowTaskFailed(cause="WorkflowError", failure=CARD)],
        "WorkflowTaskFailed: WorkflowError: CardError: declined",
    ),
    "completed": ([ev.WorkflowCompleted(result=value("1"))], "WorkflowCompleted → 1"),
    "failed": ([ev.WorkflowFailed(failure=CARD)], "WorkflowFailed: CardError: declined"),
    "canceled": ([ev.WorkflowCanceled(details=(value("1"),))], "WorkflowCanceled: 1"),
    "terminated": ([ev.WorkflowTerminated(reason="")], "WorkflowTerminated"),
    "timed out": ([ev.WorkflowTimedOut()], "WorkflowTimedOut"),
}


@pytest.mark.parametrize(
    ("events", "expected"), [pytest.param(*case, id=name) for name, case in CASES.items()]
)
def test_an_event_says_what_happened_to_what(events, expected):
    assert lines_of(*events)[-1] == f"[22:13:20] {expected}"


def test_bookkeeping_is_shown_on_request():
    told = ev.WorkflowTaskCompleted(through=1, started=BEGIN)
    begun = ev.ActivityStarted(seq=1, attempt=1, started=BEGIN)
    assert lines_of(told, SCHEDULED, begun)[0::2] == [None, None]
    assert lines_of(told, SCHEDULED, begun, everything=True)[0::2] == [
        "[22:13:20] WorkflowTaskCompleted: through event 1",
        "[22:13:20] ActivityStarted: charge, attempt 1",
    ]


def test_another_day_than_the_first_is_said():
    assert lines_of(ev.WorkflowTimedOut(), after=2 * HOUR) == [
        "[2023-11-15 00:13:20] WorkflowTimedOut"
    ]
    timer = ev.TimerStarted(seq=1, delay=2 * HOUR, fires=BEGIN + 2 * HOUR)
    assert lines_of(timer) == ["[22:13:20] TimerStarted: 2h (fires at 2023-11-15 00:13:20)"]


def test_times_are_shown_in_the_zone():
    lines = HistoryLines(zone=timezone(timedelta(hours=1)))
    assert lines.line(ev.HistoryEvent(1, BEGIN, STARTED)) == "[23:13:20] WorkflowStarted"


def test_a_line_stays_a_line_and_short():
    (line,) = lines_of(ev.WorkflowFailed(failure=Failure(message="a\nb\n" + "c" * 500)))
    assert line is not None
    assert line.startswith("[22:13:20] WorkflowFailed: a b ccc")
    assert line.endswith("…")
    assert len(line) < 250


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(Payload(metadata={"encoding": b"binary/null"}), None, id="null"),
        pytest.param(value('{"a":[1]}'), {"a": [1]}, id="json"),
        pytest.param(
            Payload(metadata={"encoding": b"binary/plain"}, data=b"\x00\xff"),
            {"encoding": "binary/plain", "data": "AP8="},
            id="bytes",
        ),
        pytest.param(value("{"), {"encoding": "json/plain", "data": "ew=="}, id="broken json"),
    ],
)
def test_every_payload_can_be_shown(payload, expected):
    assert payload_value(payload) == expected


@pytest.mark.parametrize(
    ("millis", "expected"),
    [
        (0, "0s"),
        (250, "250ms"),
        (1500, "1.5s"),
        (90_000, "1m30s"),
        (2 * HOUR, "2h"),
        (50 * HOUR, "2d2h"),
    ],
)
def test_durations_are_written_in_their_largest_units(millis, expected):
    assert duration_text(millis) == expected


def test_a_failure_without_words_is_still_a_failure():
    assert failure_text(Failure()) == "failed"
    assert failure_text(Failure(info=ApplicationInfo(type="X"))) == "X"
