"""Turning decided events into one transition of a run.

:func:`record` gives the events their ids and times, evolves the run through them, and
derives from them the rows that change with them: the one place where events and rows are
kept in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.payloads import Millis
from perdure_operator.engine import placing
from perdure_operator.engine.evolution import evolve
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import (
    RUN_TIMEOUT_SEQ,
    OpenActivity,
    Timer,
    Transition,
)

Assign = Callable[[ev.ActivityScheduled, OpenActivity], OpenActivity]
"""May give a newly scheduled activity to a worker at once; returns it begun, or as it is."""

_ACTIVITY_ENDS = (
    ev.ActivityCompleted,
    ev.ActivityFailed,
    ev.ActivityTimedOut,
    ev.ActivityCanceled,
)
_TIMER_ENDS = (ev.TimerFired, ev.TimerCanceled)


def record(
    run: Run,
    events: Sequence[Event],
    now: Millis,
    *,
    attempts_changed: Iterable[OpenActivity] = (),
    assign: Assign = lambda _scheduled, activity: activity,
) -> Transition:
    """Let ``events`` happen to ``run`` and return what must be committed for it.

    Args:
        run: Changed in place. If the commit fails it must be folded anew.
        events: Decided on the run as it is; may be empty.
        now: The time; the events' time is never before that of the event before them.
        attempts_changed: Activities that stay open, with a new state of their attempts.
        assign: Asked for each activity that the events schedule.
    """
    time = max(now, run.last_time)
    recorded = tuple(
        HistoryEvent(number, time, event) for number, event in enumerate(events, run.last_event + 1)
    )
    ends = bool(events) and isinstance(events[-1], ev.CLOSING_EVENTS)
    drop_activities = list(run.scheduled) if ends else []
    drop_timers = list(run.timers) if ends else []
    had_deadline = run.started is not None and run.deadline is not None
    for each in recorded:
        evolve(run, each)

    put = {each.seq: each for each in attempts_changed}
    for event in events:
        if isinstance(event, ev.ActivityScheduled) and event.seq in run.scheduled:
            put[event.seq] = assign(event, placing.schedule(run.ref.run_id, event, time))
        elif isinstance(event, ev.ActivityCancelRequested) and event.seq in run.activities:
            # Still open, so an attempt runs: whoever runs it must be told.
            put[event.seq] = structs.replace(run.activities[event.seq], cancel_requested=True)
    run.activities.update(put)

    put_timers = [
        Timer(seq=event.seq, fires=event.fires)
        for event in events
        if isinstance(event, ev.TimerStarted) and event.seq in run.timers
    ]
    if not ends:
        drop_activities = [each.seq for each in events if isinstance(each, _ACTIVITY_ENDS)]
        drop_timers = [each.seq for each in events if isinstance(each, _TIMER_ENDS)]
    if run.deadline is not None:
        if run.is_closed and had_deadline:
            drop_timers.append(RUN_TIMEOUT_SEQ)
        elif not run.is_closed and not had_deadline:
            put_timers.append(Timer(seq=RUN_TIMEOUT_SEQ, fires=run.deadline))

    run.version += 1
    return Transition(
        expected=run.version - 1,
        row=run.row(),
        events=recorded,
        put_activities=tuple(put.values()),
        drop_activities=tuple(drop_activities),
        put_timers=tuple(put_timers),
        drop_timers=tuple(drop_timers),
    )
