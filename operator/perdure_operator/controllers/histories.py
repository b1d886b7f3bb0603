"""A run's history as a status shows it: the last events as lines, and the whole as a checkpoint.

Times are UTC. A line says no more than fits: what a payload holds is shown when it is short JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import zstandard

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent, encode_events, event_name
from perdure.protocol.payloads import Millis, Payload
from perdure_operator.controllers.values import to_time
from perdure_operator.model import Checkpoint, format_duration
from perdure_operator.model.workflow import CHECKPOINT_LIMIT_BYTES

CHECKPOINT_ENCODING = "zstd+base64"
TAIL = 10
"""How many of the last events a status shows."""

_SHOWN = 80


def format_tail(events: Sequence[HistoryEvent], count: int = TAIL) -> list[str]:
    """Return the last ``count`` events, a line each; the others are read for names only."""
    names = {
        event.event.seq: event.event.activity_type
        for event in events
        if isinstance(event.event, ev.ActivityScheduled)
    }
    return [_format(event, names) for event in events[-count:]]


def build_checkpoint(events: Sequence[HistoryEvent]) -> Checkpoint | None:
    """Return the whole history, compressed, or None when even so it is too long."""
    packed = zstandard.ZstdCompressor().compress(encode_events(list(events)))
    data = base64.b64encode(packed).decode()
    if len(data) > CHECKPOINT_LIMIT_BYTES:
        return None
    return Checkpoint(events=len(events), encoding=CHECKPOINT_ENCODING, data=data)


def read_checkpoint(checkpoint: Checkpoint) -> list[HistoryEvent]:
    """Return the events that a checkpoint holds."""
    packed = base64.b64decode(checkpoint.data)
    return ev.decode_events(zstandard.ZstdDecompressor().decompress(packed))


def _format(recorded: HistoryEvent, names: dict[int, str]) -> str:
    event = recorded.event
    said = _say(event, names) or _SAID.get(type(event), _nothing)(event)
    line = f"[{_clock(recorded.time)}] {event_name(event)}"
    return f"{line}: {said}" if said else line


def _say(event: ev.Event, names: dict[int, str]) -> str:
    """Say what there is to an event of an activity or a step: its name, and how it ended."""
    match event:
        case ev.StepCompleted(name=name, result=result):
            return name + _returned(result)
        case ev.StepFailed(name=name, failure=failure):
            return f"{name} ({failure.message})"
        case ev.ActivityCompleted(seq=seq, result=result):
            return _name(seq, names) + _returned(result)
        case ev.ActivityFailed() | ev.ActivityTimedOut():
            return f"{_name(event.seq, names)} ({event.failure.message})"
        case ev.ActivityStarted() | ev.ActivityCancelRequested() | ev.ActivityCanceled():
            return _name(event.seq, names)
        case _:
            return ""


def _say_timer(event: ev.TimerStarted) -> str:
    delay = format_duration(timedelta(milliseconds=event.delay))
    return f"{delay} (fires at {_clock(event.fires)})"


def _nothing(_: object) -> str:
    return ""


_SAID: dict[type, Callable[[Any], str]] = {
    ev.ActivityScheduled: lambda event: event.activity_type,
    ev.TimerStarted: _say_timer,
    ev.SignalReceived: lambda event: event.name,
    ev.CancelRequested: lambda event: event.reason,
    ev.WorkflowStarted: lambda event: event.workflow_type,
    ev.WorkflowTaskFailed: lambda event: f"{event.cause}: {event.failure.message}",
    ev.WorkflowCompleted: lambda event: _returned(event.result).strip(),
    ev.WorkflowFailed: lambda event: event.failure.message,
    ev.WorkflowTerminated: lambda event: event.reason,
}


def _name(seq: int, names: dict[int, str]) -> str:
    return names.get(seq, f"#{seq}")


def _returned(result: Payload | None) -> str:
    if result is None or not result.metadata.get("encoding", b"").startswith(b"json/"):
        return ""
    text = result.data[: _SHOWN + 1].decode(errors="replace")
    return f" → {text if len(result.data) <= _SHOWN else text[:_SHOWN] + '…'}"


def _clock(instant: Millis) -> str:
    return f"{to_time(instant):%H:%M:%S}"
