"""A history in lines for people: ``[08:23:12] ActivityScheduled: charge-payment``.

The command line shows runs with these lines, and the tail in a Workflow's status is made of them.
A line is made from its event and what the events before it said, because a resolution names what
it resolves by number only: feed :class:`HistoryLines` the whole history in order.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from perdure.protocol import events as ev
from perdure.protocol.failures import ActivityInfo, ApplicationInfo, Failure, RetryState
from perdure.protocol.payloads import Millis, Payload, Payloads
from perdure.protocol.placements import Placement

MAX_VALUE = 200
"""Characters of a value or a message that a line shows."""

_BOOKKEEPING = (ev.WorkflowTaskCompleted, ev.ActivityStarted)
_GIVEN_UP = {
    RetryState.NON_RETRYABLE_FAILURE: "not retryable",
    RetryState.TIMEOUT: "out of time",
    RetryState.MAXIMUM_ATTEMPTS_REACHED: "no attempts left",
    RetryState.CANCEL_REQUESTED: "cancelled",
}
_BatchEvent = (
    ev.BatchScheduled | ev.BatchItemsClosed | ev.BatchCompleted | ev.BatchFailed | ev.BatchCanceled
)


class HistoryLines:
    """Turns events into lines.

    Args:
        zone: in which times are shown; the machine's own by default.
        everything: show bookkeeping as well, which says nothing about what the run did.
    """

    def __init__(self, *, zone: tzinfo | None = None, everything: bool = False) -> None:
        self._zone = zone
        self._everything = everything
        self._names: dict[int, str] = {}
        self._closed: dict[int, tuple[int, int]] = {}
        """Of each batch: how many items have ended, of how many."""
        self._first_day: date | None = None

    def line(self, recorded: ev.HistoryEvent) -> str | None:
        """Return the line of the next event, or None when it is not shown."""
        event = recorded.event
        detail = self._detail(event)
        at = self._at(recorded.time)
        self._first_day = self._first_day or at.date()
        if isinstance(event, _BOOKKEEPING) and not self._everything:
            repeated = isinstance(event, ev.ActivityStarted) and event.attempt > 1
            if not repeated:
                return None
        return f"[{self._clock(at)}] {ev.event_name(event)}{detail}"

    def _at(self, time: Millis) -> datetime:
        at = datetime.fromtimestamp(time / 1000, UTC)
        return at.astimezone(self._zone)

    def _clock(self, at: datetime) -> str:
        """The time, with its day when that is not the day on which the run began."""
        return f"{at:%H:%M:%S}" if at.date() == self._first_day else f"{at:%Y-%m-%d %H:%M:%S}"

    def _detail(self, event: ev.Event) -> str:
        match event:
            case ev.ActivityScheduled(activity_type=name, summary=summary):
                named = self._named(event.seq, f"{name} ({summary})" if summary else name)
                return named + _placement_text(event.placement)
            case ev.ActivityStarted(attempt=attempt, last_failure=failure):
                why = f", after {failure_text(failure)}" if failure else ""
                return f": {self._name(event.seq)}, attempt {attempt}{why}"
            case ev.ActivityCompleted(result=result):
                return f": {self._name(event.seq)}{_arrow(result)}"
            case ev.ActivityFailed() | ev.ActivityTimedOut():
                given_up = _GIVEN_UP.get(event.retry_state)
                suffix = f" ({given_up})" if given_up else ""
                return f": {self._name(event.seq)}: {failure_text(event.failure)}{suffix}"
            case (
                ev.BatchScheduled()
                | ev.BatchItemsClosed()
                | ev.BatchCompleted()
                | ev.BatchFailed()
                | ev.BatchCanceled()
            ):
                return self._batch(event)
            case ev.ActivityCancelRequested() | ev.ActivityCanceled():
                return f": {self._name(event.seq)}"
            case ev.StepCompleted() | ev.StepFailed():
                return _step_detail(event)
            case ev.TimerStarted(delay=delay, fires=fires, summary=summary):
                name = summary or duration_text(delay)
                length = f", {duration_text(delay)}" if summary else ""
                return f"{self._named(event.seq, name)}{length} (fires at {self._due(fires)})"
            case ev.TimerFired() | ev.TimerCanceled():
                return f": {self._name(event.seq)}"
            case _:
                return _run_detail(event)

    def _batch(self, event: _BatchEvent) -> str:
        match event:
            case ev.BatchScheduled(activity_type=name, summary=summary):
                self._closed[event.seq] = (0, len(event.items))
                shown = self._named(event.seq, f"{name} ({summary})" if summary else name)
                return f"{shown}, {_batch_bounds(event)}"
            case ev.BatchItemsClosed():
                return self._items(event)
            case ev.BatchCompleted() | ev.BatchCanceled():
                return f": {self._name(event.seq)}: {_counts(event)}"
            case ev.BatchFailed(failure=failure):
                return f": {self._name(event.seq)}: {_counts(event)}: {failure_text(failure)}"

    def _items(self, event: ev.BatchItemsClosed) -> str:
        closed, total = self._closed.get(event.seq, (0, 0))
        closed += len(event.items)
        self._closed[event.seq] = (closed, total)
        failures = [each.failure for each in event.items if each.failure is not None]
        line = f": {self._name(event.seq)}: {count_text(len(event.items), 'item')}"
        if failures:
            line += f", {len(failures)} failed ({failure_text(failures[0])})"
        return f"{line}; {closed} of {total}" if total else line

    def _due(self, time: Millis) -> str:
        return self._clock(self._at(time))

    def _named(self, seq: int, name: str) -> str:
        self._names[seq] = name
        return f": {name}"

    def _name(self, seq: int) -> str:
        return self._names.get(seq, f"#{seq}")


def _placement_text(placement: Placement | None) -> str:
    if placement is None:
        return ""
    if placement.container:
        return f", container of {short_text(str(placement.template.get('image', '?')))}"
    return ", in a pod of its own"


def _step_detail(event: ev.StepCompleted | ev.StepFailed) -> str:
    attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
    if isinstance(event, ev.StepCompleted):
        return f": {event.name}{attempt}{_arrow(event.result)}"
    return f": {event.name}{attempt}: {failure_text(event.failure)}"


def _batch_bounds(event: ev.BatchScheduled) -> str:
    parts = [count_text(len(event.items), "item")]
    if event.parallelism:
        parts.append(f"{event.parallelism} at once")
    if event.tolerated_failures:
        parts.append(f"{count_text(event.tolerated_failures, 'failure')} tolerated")
    return ", ".join(parts)


def _counts(event: ev.BatchCompleted | ev.BatchFailed | ev.BatchCanceled) -> str:
    which = f" (items {short_text(event.failed_indexes)})" if event.failed_indexes else ""
    return f"{event.succeeded} succeeded, {event.failed} failed{which}"


def _run_detail(event: ev.Event) -> str:
    match event:
        case ev.SignalReceived(name=name, input=values):
            return f": {name}({_values(values)})"
        case ev.WorkflowTaskFailed(cause=cause, failure=failure):
            return f": {cause}: {failure_text(failure)}"
        case ev.WorkflowTaskCompleted(through=through):
            return f": through event {through}"
        case ev.WorkflowCompleted(result=result):
            return _arrow(result)
        case ev.WorkflowFailed(failure=failure):
            return f": {failure_text(failure)}"
        case ev.WorkflowCanceled(details=details):
            return f": {_values(details)}" if details else ""
        case (
            ev.CancelRequested(reason=reason)
            | ev.Suspended(reason=reason)
            | ev.WorkflowTerminated(reason=reason)
        ):
            return f": {short_text(reason)}" if reason else ""
        case _:
            return ""


def payload_value(payload: Payload | None) -> Any:
    """Return a payload as a value that JSON can hold, whatever its encoding."""
    if payload is None:
        return None
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass
    return {"encoding": encoding, "data": base64.b64encode(payload.data).decode()}


def payload_text(payload: Payload | None) -> str:
    """Return a payload as JSON on one line."""
    return json.dumps(payload_value(payload), ensure_ascii=False)


def failure_text(failure: Failure) -> str:
    """Return a failure in one line: the type and message of what was at its root."""
    while isinstance(failure.info, ActivityInfo) and failure.cause is not None:
        failure = failure.cause
    kind = failure.info.type if isinstance(failure.info, ApplicationInfo) else ""
    message = short_text(failure.message)
    return ": ".join(part for part in (kind, message) if part) or "failed"


def count_text(count: int, noun: str) -> str:
    """Return how many there are of something, e.g. ``1 item``, ``10000 items``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration_text(duration: Millis) -> str:
    """Return a duration in its largest units, e.g. ``1h30m``."""
    if duration % 1000:
        return f"{duration}ms" if duration < 1000 else f"{duration / 1000:g}s"
    seconds = duration // 1000
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _arrow(result: Payload | None) -> str:
    text = payload_text(result)
    return "" if text == "null" else f" → {short_text(text)}"


def _values(payloads: Payloads) -> str:
    return short_text(", ".join(payload_text(each) for each in payloads))


def short_text(text: str) -> str:
    """Return a text on one line, cut where it gets long."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
