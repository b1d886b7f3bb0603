"""Making a new run from a closed one: from what failed, or from the start.

A retry from the failed step begins with what is kept of the earlier history. Kept is all that does
not come from the event which is taken back (:mod:`perdure_operator.engine.retry_points`):

* the activations that had not been told of it, with what they asked for;
* the results of what those asked for, also when they came later: nothing of that is done again;
* what people said.

A failure that the code was never told of, or was told of only in what is dropped, is not kept: that
activity is open again and begins anew. Table :data:`_KEPT` says it of each kind of event.

The kept events have new ids, and the same times; the code finds the same clock, the same random
numbers and the same idempotency keys, so it takes the same way to the point where it failed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.payloads import Millis
from perdure.protocol.retries import EVERY_NUMBER, Effect, KeyRange, Retried, RetryPoint
from perdure.protocol.verbs import RetryRequest
from perdure_operator.engine.errors import RefusedError
from perdure_operator.engine.retry_effects import effects_after
from perdure_operator.engine.retry_points import FAILURES, boundary_of, find_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A history to make a run of, and what its code should know but cannot."""

    history: tuple[HistoryEvent, ...]
    effects: tuple[Effect, ...] = ()

    @property
    def origin(self) -> Retried:
        """Where the new run comes from."""
        start = self.history[0].event
        assert isinstance(start, ev.WorkflowStarted)
        assert start.retried is not None
        return start.retried


def retry(
    history: Sequence[HistoryEvent], request: RetryRequest, run_id: str, now: Millis
) -> Retry:
    """Return the beginning of a new run that does again what ``history`` has not brought about.

    Args:
        history: Of the earlier run, whole.
        request: What was asked for.
        run_id: Of the new run.
        now: The time.

    Raises:
        RefusedError: the run has not ended, or nothing of it failed.
    """
    start, closing = history[0].event, history[-1].event
    assert isinstance(start, ev.WorkflowStarted)
    _check(closing, request)
    from_start = request.point is RetryPoint.START
    point = 1 if from_start else find_point(history)
    origin = Retried(
        run_id=start.run_id,
        event=point,
        point=request.point,
        # Later than the start of the earlier run, since the newest run is told by its start.
        time=max(now, history[-1].time, _started_at(history) + 1),
        request_id=request.request_id,
        reason=request.reason,
        identity=request.identity,
    )
    if from_start:
        return Retry(history=_anew(history, start, origin, run_id))
    return _from(history, start, origin, run_id)


def _started_at(history: Sequence[HistoryEvent]) -> Millis:
    start = history[0].event
    assert isinstance(start, ev.WorkflowStarted)
    return history[0].time if start.retried is None else start.retried.time


def _check(closing: Event, request: RetryRequest) -> None:
    if not isinstance(closing, ev.CLOSING_EVENTS):
        raise RefusedError(
            f"{request.workflow_id!r} has not ended: only a run that has can be retried. Wait for "
            "its end, or terminate it first"
        )
    if request.point is RetryPoint.FAILED_STEP and isinstance(closing, ev.WorkflowCompleted):
        raise RefusedError(
            f"{request.workflow_id!r} has completed: no step of it failed. To run it once more, "
            "retry it from the start"
        )


# --- from the start ------------------------------------------------------------------------------


def _anew(
    history: Sequence[HistoryEvent], start: ev.WorkflowStarted, origin: Retried, run_id: str
) -> tuple[HistoryEvent, ...]:
    """Return the first transition of the earlier run, as if it were asked for now."""
    first = structs.replace(start, run_id=run_id, retried=origin, seed="", keys=())
    began_with = [first, *filter(_begins, (each.event for each in _together(history)))]
    return tuple(
        HistoryEvent(number, origin.time, event) for number, event in enumerate(began_with, 1)
    )


def _together(history: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
    """Return the events behind the first that may have been recorded with it."""
    return [each for each in history[1:2] if each.time == history[0].time]


def _begins(event: Event) -> bool:
    return isinstance(event, (ev.ActivityScheduled, ev.BatchScheduled, ev.SignalReceived))


# --- from what failed ----------------------------------------------------------------------------


def _from(
    history: Sequence[HistoryEvent], start: ev.WorkflowStarted, origin: Retried, run_id: str
) -> Retry:
    cut = _Cut(history, origin.event)
    kept = [each for each in map(cut.keep, history[1:]) if each is not None]
    first = structs.replace(
        start,
        run_id=run_id,
        retried=origin,
        seed=start.seed or start.run_id,
        keys=_keys(start, cut.last_seq if cut.takes_back else EVERY_NUMBER),
    )
    events = _renumbered([structs.replace(history[0], event=first), *kept])
    return Retry(
        history=(*events, *_go_on(events, start, origin.time)),
        effects=tuple(effects_after(history, cut.last_seq)),
    )


class _Cut:
    """What of a history does not come from the event ``point``."""

    def __init__(self, history: Sequence[HistoryEvent], point: int) -> None:
        self.point = point
        dropped = [each.id for each in history if (boundary_of(each) or 0) >= point]
        self.first_dropped = min(dropped, default=EVERY_NUMBER)
        """The record of the first activation that was told of the point."""
        kept = [through for through in map(boundary_of, history) if through and through < point]
        self.told = max(kept, default=0)
        """The last event that a kept activation was told."""
        self.commands = _kept_commands(history, point)
        self.canceled = {
            each.event.seq
            for each in history
            if each.id in self.commands and isinstance(each.event, ev.ActivityCancelRequested)
        }
        self.last_seq = max((self._asked(each) for each in history), default=0)
        """The highest number that the kept activations asked for."""
        self.ended: set[int] = set()
        """Activities and batches whose end is kept, and with it what was recorded of them."""
        self.ended |= {
            each.event.seq
            for each in history
            if isinstance(each.event, (*ev.ACTIVITY_ENDS, *ev.BATCH_ENDS)) and self.is_kept(each)
        }
        self.takes_back = bool(dropped) or any(
            isinstance(each.event, FAILURES) and not self.is_kept(each) for each in history
        )
        """Whether the earlier run may have used further numbers for something else."""

    def _asked(self, recorded: HistoryEvent) -> int:
        """Return a number that a kept activation has surely taken, as ``recorded`` tells."""
        event, through = recorded.event, boundary_of(recorded) or 0
        asked = getattr(event, "asked", 0) if 0 < through < self.point else 0
        is_step = isinstance(event, (ev.StepCompleted, ev.StepFailed))
        if recorded.id in self.commands or (is_step and recorded.id < self.first_dropped):
            asked = max(asked, getattr(event, "seq", 0))
        return asked

    def is_kept(self, recorded: HistoryEvent) -> bool:
        """Tell whether the event, as such, is part of the new history."""
        return _KEPT[type(recorded.event)](self, recorded, recorded.event)

    def keep(self, recorded: HistoryEvent) -> HistoryEvent | None:
        """Return the event as the new history has it.

        A step's result and the record of an activation share an event, and one of the two may be
        kept without the other.
        """
        event = recorded.event
        is_kept, through = self.is_kept(recorded), boundary_of(recorded)
        if is_kept and isinstance(event, ev.BatchItemsClosed):
            return self._keep_items(recorded, event)
        if isinstance(event, ev.WorkflowTaskCompleted) or through is None:
            return recorded if is_kept else None
        assert isinstance(event, (ev.StepCompleted, ev.StepFailed))
        if through >= self.point:
            event = structs.replace(event, through=0, started=0, asked=0)
            return structs.replace(recorded, event=event) if is_kept else None
        if is_kept:
            return recorded
        boundary = ev.WorkflowTaskCompleted(
            through=through, started=event.started, asked=event.asked, busy=True
        )
        return structs.replace(recorded, event=boundary)

    def _keep_items(
        self, recorded: HistoryEvent, event: ev.BatchItemsClosed
    ) -> HistoryEvent | None:
        """Return the event without failures of a batch that goes on: those items begin anew."""
        if event.seq in self.ended or recorded.id <= self.told:
            return recorded
        items = tuple(each for each in event.items if each.failure is None)
        return (
            structs.replace(recorded, event=structs.replace(event, items=items)) if items else None
        )


def _is_command(event: Event) -> bool:
    return isinstance(event, ev.COMMAND_EVENTS)


def _kept_commands(history: Sequence[HistoryEvent], point: int) -> set[int]:
    """Return the ids of what the kept activations asked for.

    A standalone activity has none: what is recorded before the point is kept.
    """
    kept: set[int] = set()
    through: int | None = None
    for each in history:
        if isinstance(each.event, ev.WorkflowTaskCompleted):
            through = each.event.through
        elif _is_command(each.event) and (each.id if through is None else through) < point:
            kept.add(each.id)
    return kept


def _never(_cut: _Cut, _recorded: HistoryEvent, _event: Event) -> bool:
    return False


def _always(_cut: _Cut, _recorded: HistoryEvent, _event: Event) -> bool:
    return True


def _if_not_told_of_it(cut: _Cut, _recorded: HistoryEvent, event: Any) -> bool:
    through: int = event.through
    return through < cut.point


def _if_asked_by_kept(cut: _Cut, recorded: HistoryEvent, _event: Event) -> bool:
    return recorded.id in cut.commands


def _if_asked_before(cut: _Cut, _recorded: HistoryEvent, event: Any) -> bool:
    seq: int = event.seq
    return seq <= cut.last_seq


def _if_known(cut: _Cut, recorded: HistoryEvent, _event: Event) -> bool:
    return recorded.id <= cut.told


def _if_wanted(cut: _Cut, _recorded: HistoryEvent, event: Any) -> bool:
    return event.seq in cut.canceled


def _with_its_end(cut: _Cut, _recorded: HistoryEvent, event: Any) -> bool:
    return event.seq in cut.ended


_KEPT: dict[type, Callable[[_Cut, HistoryEvent, Any], bool]] = {
    ev.WorkflowStarted: _always,
    ev.WorkflowTaskCompleted: _if_not_told_of_it,
    ev.WorkflowTaskFailed: _never,
    ev.ActivityScheduled: _if_asked_by_kept,
    ev.BatchScheduled: _if_asked_by_kept,
    ev.ActivityCancelRequested: _if_asked_by_kept,
    ev.TimerStarted: _if_asked_by_kept,
    ev.TimerCanceled: _if_asked_by_kept,
    ev.ActivityStarted: _with_its_end,
    ev.ActivityCompleted: _if_asked_before,
    ev.BatchItemsClosed: _if_asked_before,
    ev.BatchCompleted: _if_asked_before,
    ev.StepCompleted: _if_asked_before,
    ev.TimerFired: _if_asked_before,
    ev.ActivityFailed: _if_known,
    ev.ActivityTimedOut: _if_known,
    ev.StepFailed: _if_known,
    ev.BatchFailed: _if_known,
    ev.ActivityCanceled: _if_wanted,
    ev.BatchCanceled: _if_wanted,
    ev.SignalReceived: _always,
    ev.CancelRequested: _if_known,
    ev.Suspended: _never,
    ev.Resumed: _never,
    **dict.fromkeys(ev.CLOSING_EVENTS, _never),
}
"""Of each kind of event: when it is kept."""


def _renumbered(events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    renumbered: list[HistoryEvent] = []
    before = [each.id for each in events]
    for number, each in enumerate(events, 1):
        event, through = each.event, boundary_of(each)
        if through is not None:
            event = structs.replace(event, through=bisect_right(before, through))
        renumbered.append(HistoryEvent(number, each.time, event))
    return renumbered


def _keys(start: ev.WorkflowStarted, last: int) -> tuple[KeyRange, ...]:
    """Return whose keys the numbers up to ``last`` have: those that they had before."""
    keys: list[KeyRange] = []
    for each in (*start.keys, KeyRange(EVERY_NUMBER, start.run_id)):
        if not keys or keys[-1].last < min(each.last, last):
            keys.append(KeyRange(min(each.last, last), each.run_id))
    return tuple(keys)


def _go_on(
    events: Sequence[HistoryEvent], start: ev.WorkflowStarted, now: Millis
) -> list[HistoryEvent]:
    """Return what has a worker look at the run, though there may be nothing to tell its code.

    Steps that were asked for leave no trace before they end: only the code knows of them.
    """
    if start.kind != "workflow":
        return []
    boundaries = [(boundary_of(each), each.event) for each in events if boundary_of(each)]
    told = max((through for through, _ in boundaries if through), default=0)
    untold = (each for each in events if each.id > told)
    if not told or any(isinstance(each.event, ev.RESOLUTIONS) for each in untold):
        return []
    again = ev.WorkflowTaskCompleted(through=told, started=now, busy=True)
    return [HistoryEvent(len(events) + 1, now, again)]
