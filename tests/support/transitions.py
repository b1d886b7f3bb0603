"""Builders of what stores are given: rows and transitions with everything but the point filled in.

``start`` makes a run; ``follow`` goes on from a row that was committed, so a test reads as the
run's story::

    first = start("order-42")
    second = follow(first.row, SignalReceived(name="approve"))
"""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from perdure.protocol.events import (
    Event,
    HistoryEvent,
    ItemResult,
    SignalReceived,
    WorkflowCompleted,
    WorkflowStarted,
)
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import (
    OpenActivity,
    RunRow,
    Timer,
    Transition,
    WaitingResult,
)

T0 = 1_700_000_000_000
"""When things begin, in milliseconds."""

_numbers = count(1)


def start(
    workflow_id: str = "order-1",
    *events: Event,
    run_id: str = "",
    started: int = T0,
    **changes: Any,
) -> Transition:
    """A run is made; ``changes`` are fields of its row or of the transition."""
    rows = {name: changes.pop(name) for name in _ROWS if name in changes}
    run_id = run_id or f"run-{next(_numbers):06}"
    first = WorkflowStarted(workflow_type="OrderWorkflow", task_queue="orders", run_id=run_id)
    recorded = record(0, started, first, *events)
    fields: dict[str, Any] = {
        "namespace": "default",
        "workflow_id": workflow_id,
        "run_id": run_id,
        "kind": "workflow",
        "workflow_type": "OrderWorkflow",
        "task_queue": "orders",
        "status": RunStatus.RUNNING,
        "version": 1,
        "started": started,
        "last_event": len(recorded),
        "history_bytes": 100 * len(recorded),
        "digest": bytes(31) + bytes([len(recorded) % 256]),
    }
    return Transition(expected=0, row=RunRow(**(fields | changes)), events=recorded, **rows)


def follow(before: RunRow, *events: Event, **changes: Any) -> Transition:
    """The run at ``before`` moves on; ``changes`` are fields of its row or of the transition."""
    rows = {name: changes.pop(name) for name in _ROWS if name in changes}
    recorded = record(before.last_event, before.started + before.version, *events)
    fields = {
        "version": before.version + 1,
        "last_event": before.last_event + len(recorded),
        "history_bytes": before.history_bytes + 100 * len(recorded),
        "digest": bytes(31) + bytes([(before.last_event + len(recorded)) % 256]),
    }
    row = msgspec.structs.replace(before, **(fields | changes))
    return Transition(expected=before.version, row=row, events=recorded, **rows)


def signal(before: RunRow, name: str = "approve", **changes: Any) -> Transition:
    """The run at ``before`` is told something."""
    return follow(before, SignalReceived(name=name), **changes)


def finish(before: RunRow, **changes: Any) -> Transition:
    """The run at ``before`` ends well."""
    ending = {"status": RunStatus.COMPLETED, "closed": before.started + 5000}
    return follow(before, WorkflowCompleted(), **(ending | {"task_pending": False} | changes))


def record(last: int, time: int, *events: Event) -> tuple[HistoryEvent, ...]:
    """Give events their places behind the event ``last``."""
    return tuple(
        HistoryEvent(id=last + place, time=time, event=event)
        for place, event in enumerate(events, start=1)
    )


def activity(seq: int = 1, *, wake: int = T0, **fields: Any) -> OpenActivity:
    """An open activity that nobody runs yet."""
    defaults: dict[str, Any] = {"task_queue": "orders", "scheduled": T0, "visible": T0}
    return OpenActivity(seq=seq, wake=wake, **(defaults | fields))


def timer(seq: int = 1, *, fires: int = T0) -> Timer:
    """A wake-up."""
    return Timer(seq=seq, fires=fires)


def waiting(item: int = 1, **fields: Any) -> WaitingResult:
    """A result of a batch's item that is not in history yet."""
    return WaitingResult(item, ItemResult(index=item - 1, **fields))


_ROWS = (
    *("put_activities", "drop_activities", "put_timers", "drop_timers"),
    *("put_items", "drop_items"),
)
