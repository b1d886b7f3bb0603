"""How a run's state follows from its history.

:func:`evolve` is the only place where state changes, and it is total: every kind of event has
an entry in the table below, and an event that cannot follow is a broken history, not a case
to shrug off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent, hashed_form
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.batches import OpenBatch
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.runs import Run


def evolve(run: Run, recorded: HistoryEvent) -> None:
    """Change ``run`` into what it is once ``recorded`` has happened.

    Raises:
        BrokenHistoryError: the event cannot follow; ``run`` is then worthless.
    """
    event = recorded.event
    if recorded.id != run.last_event + 1:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: event {recorded.id} recorded behind event {run.last_event}"
        )
    if run.closing is not None:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} recorded after the run was closed"
        )
    if (run.started is None) != isinstance(event, ev.WorkflowStarted):
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} recorded as event {recorded.id}; "
            "WorkflowStarted comes first, and once"
        )

    run.last_event = recorded.id
    run.last_time = recorded.time
    _EVOLUTIONS[type(event)](run, recorded, event)

    encoded = hashed_form(recorded)
    run.history_bytes += len(encoded)
    run.digest = hashlib.sha256(run.digest + encoded).digest()


def fold(run: Run, history: Iterable[HistoryEvent]) -> Run:
    """Evolve ``run`` through ``history`` and return it."""
    for recorded in history:
        evolve(run, recorded)
    return run


def _workflow_started(run: Run, recorded: HistoryEvent, event: ev.WorkflowStarted) -> None:
    run.started = event
    # The first event of a retry keeps the time that the code knows; the run itself is younger.
    run.started_at = recorded.time if event.retried is None else event.retried.time
    run.last_resolution = recorded.id


def _workflow_task_completed(
    run: Run, _recorded: HistoryEvent, event: ev.WorkflowTaskCompleted
) -> None:
    _told(run, event.through)
    run.busy = event.busy
    run.task_failure = None
    run.build_id = event.build_id or run.build_id


def _workflow_task_failed(run: Run, _recorded: HistoryEvent, event: ev.WorkflowTaskFailed) -> None:
    run.task_failure = event


def _told(run: Run, through: int) -> None:
    if not run.through <= through < run.last_event:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: event {run.last_event} says that the code was told "
            f"through event {through}, which lies outside {run.through} to {run.last_event - 1}"
        )
    run.through = through


def _step_closed(run: Run, recorded: HistoryEvent, event: ev.StepCompleted | ev.StepFailed) -> None:
    if event.through:
        _told(run, event.through)
    run.task_failure = None
    run.build_id = event.build_id or run.build_id
    run.last_resolution = recorded.id
    run.last_step = event.name


def _take_seq(run: Run, seq: int, event: ev.Event) -> None:
    if seq in run.seqs:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} takes number {seq} a second time"
        )
    run.seqs.add(seq)


def _activity_scheduled(run: Run, _recorded: HistoryEvent, event: ev.ActivityScheduled) -> None:
    _take_seq(run, event.seq, event)
    run.scheduled[event.seq] = event
    if event.placement is not None:
        # Whoever makes pods must hear of it, whoever started the run.
        run.watched = True


def _activity_started(run: Run, _recorded: HistoryEvent, event: ev.ActivityStarted) -> None:
    _open_activity(run, event.seq, event)


def _open_activity(run: Run, seq: int, event: ev.Event) -> None:
    if seq not in run.scheduled:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} for activity {seq}, which is not open"
        )


def _activity_closed(run: Run, recorded: HistoryEvent, event: Any) -> None:
    _open_activity(run, event.seq, event)
    del run.scheduled[event.seq]
    run.activities.pop(event.seq, None)
    run.last_resolution = recorded.id


def _activity_cancel_requested(
    run: Run, _recorded: HistoryEvent, event: ev.ActivityCancelRequested
) -> None:
    _taken(run, event.seq, event)
    if event.seq in run.batches:
        run.batches[event.seq].is_canceling = True


def _taken(run: Run, seq: int, event: ev.Event) -> None:
    # It may have closed meanwhile: the code had not been told yet.
    if seq not in run.seqs:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} for number {seq}, never asked for"
        )


def _batch_scheduled(run: Run, recorded: HistoryEvent, event: ev.BatchScheduled) -> None:
    _take_seq(run, event.seq, event)
    retried = run.start.retried
    # Of a retried run it goes on, and has its whole time again.
    since = recorded.time if retried is None else max(recorded.time, retried.time)
    run.batches[event.seq] = OpenBatch(scheduled=event, since=since)


def _open_batch(run: Run, seq: int, event: ev.Event) -> OpenBatch:
    if seq not in run.batches:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: {ev.event_name(event)} for batch {seq}, which is not open"
        )
    return run.batches[seq]


def _batch_items_closed(run: Run, recorded: HistoryEvent, event: ev.BatchItemsClosed) -> None:
    batch = _open_batch(run, event.seq, event)
    for result in event.items:
        if not batch.record(result):
            raise BrokenHistoryError(
                f"run {run.ref.run_id}: item {result.index} of batch {event.seq} ends, but it has "
                f"ended before or is none of its {batch.total} items"
            )
    if batch.scheduled.streamed:
        run.last_resolution = recorded.id


def _batch_closed(run: Run, recorded: HistoryEvent, event: Any) -> None:
    _open_batch(run, event.seq, event)
    del run.batches[event.seq]
    run.last_resolution = recorded.id


def _timer_started(run: Run, _recorded: HistoryEvent, event: ev.TimerStarted) -> None:
    _take_seq(run, event.seq, event)
    run.timers[event.seq] = event


def _timer_fired(run: Run, recorded: HistoryEvent, event: ev.TimerFired) -> None:
    if run.timers.pop(event.seq, None) is None:
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: timer {event.seq} fired, but it is not open"
        )
    run.last_resolution = recorded.id


def _timer_canceled(run: Run, _recorded: HistoryEvent, event: ev.TimerCanceled) -> None:
    _taken(run, event.seq, event)
    run.timers.pop(event.seq, None)


def _signal_received(run: Run, recorded: HistoryEvent, event: ev.SignalReceived) -> None:
    if event.signal_id:
        run.signal_ids.add(event.signal_id)
    run.last_resolution = recorded.id


def _cancel_requested(run: Run, recorded: HistoryEvent, _event: ev.CancelRequested) -> None:
    run.cancel_requested = True
    run.last_resolution = recorded.id


def _suspended(run: Run, _recorded: HistoryEvent, _event: ev.Suspended) -> None:
    run.status = RunStatus.SUSPENDED


def _resumed(run: Run, _recorded: HistoryEvent, _event: ev.Resumed) -> None:
    run.status = RunStatus.RUNNING


def _closed(status: RunStatus) -> Callable[[Run, HistoryEvent, Any], None]:
    def close(run: Run, recorded: HistoryEvent, event: Any) -> None:
        run.closing = event
        run.closed_at = recorded.time
        run.status = status
        run.busy = False
        run.scheduled.clear()
        run.activities.clear()
        run.batches.clear()
        run.timers.clear()

    return close


_EVOLUTIONS: dict[type, Callable[[Run, HistoryEvent, Any], None]] = {
    ev.WorkflowStarted: _workflow_started,
    ev.WorkflowTaskCompleted: _workflow_task_completed,
    ev.WorkflowTaskFailed: _workflow_task_failed,
    ev.ActivityScheduled: _activity_scheduled,
    ev.ActivityStarted: _activity_started,
    ev.ActivityCompleted: _activity_closed,
    ev.ActivityFailed: _activity_closed,
    ev.ActivityTimedOut: _activity_closed,
    ev.ActivityCanceled: _activity_closed,
    ev.ActivityCancelRequested: _activity_cancel_requested,
    ev.StepCompleted: _step_closed,
    ev.StepFailed: _step_closed,
    ev.BatchScheduled: _batch_scheduled,
    ev.BatchItemsClosed: _batch_items_closed,
    ev.BatchCompleted: _batch_closed,
    ev.BatchFailed: _batch_closed,
    ev.BatchCanceled: _batch_closed,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.TimerCanceled: _timer_canceled,
    ev.SignalReceived: _signal_received,
    ev.CancelRequested: _cancel_requested,
    ev.Suspended: _suspended,
    ev.Resumed: _resumed,
    ev.WorkflowCompleted: _closed(RunStatus.COMPLETED),
    ev.WorkflowFailed: _closed(RunStatus.FAILED),
    ev.WorkflowCanceled: _closed(RunStatus.CANCELED),
    ev.WorkflowTerminated: _closed(RunStatus.TERMINATED),
    ev.WorkflowTimedOut: _closed(RunStatus.TIMED_OUT),
}
