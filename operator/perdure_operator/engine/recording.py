"""Turning decided events into one transition of a run.

:func:`record` gives the events their ids and times, evolves the run through them, and
derives from them the rows that change with them: the one place where events and rows are
kept in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.items import is_item
from perdure.protocol.payloads import Millis
from perdure_operator.engine import batching, item_rows, placing
from perdure_operator.engine.batching import ItemClosed
from perdure_operator.engine.evolution import evolve
from perdure_operator.engine.item_rows import Assign, ItemRows
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import (
    RUN_TIMEOUT_SEQ,
    OpenActivity,
    Timer,
    Transition,
)

_TIMER_ENDS = (ev.TimerFired, ev.TimerCanceled, *ev.BATCH_ENDS)


def record(
    run: Run,
    events: Sequence[Event],
    now: Millis,
    *,
    attempts_changed: Iterable[OpenActivity] = (),
    items_closed: Sequence[ItemClosed] = (),
    assign: Assign = lambda _scheduled, activity: activity,
) -> Transition:
    """Let ``events`` happen to ``run`` and return what must be committed for it.

    Args:
        run: Changed in place. If the commit fails it must be folded anew.
        events: Decided on the run as it is; may be empty.
        now: The time; the events' time is never before that of the event before them.
        attempts_changed: Activities that stay open, with a new state of their attempts.
        items_closed: Items of batches that have ended; as ``events`` were decided on.
        assign: Asked for each activity, and each item, that begins to be open.
    """
    events = [*batching.move_before_end(run, events), *events]
    time = max(now, run.last_time)
    recorded = tuple(
        HistoryEvent(number, time, event) for number, event in enumerate(events, run.last_event + 1)
    )
    ends = bool(events) and isinstance(events[-1], ev.CLOSING_EVENTS)
    drop_activities = list(run.activities) if ends else []
    drop_timers = [*run.timers, *(each.seq for each in run.batch_timers())] if ends else []
    rows = item_rows.close(run, events, items_closed)
    had_deadline = run.started is not None and run.deadline is not None
    for each in recorded:
        evolve(run, each)

    changed = _changed(run, events, attempts_changed, rows)
    put = {each.seq: each for each in (*changed, *_opened(run, events, items_closed, time, assign))}
    run.activities.update(put)

    put_timers = [
        Timer(seq=event.seq, fires=event.fires)
        for event in events
        if isinstance(event, ev.TimerStarted) and event.seq in run.timers
    ]
    batches = {each.seq for each in events if isinstance(each, ev.BatchScheduled)}
    put_timers += [each for each in run.batch_timers() if each.seq in batches]
    if not ends:
        drop_activities = [each.seq for each in events if isinstance(each, ev.ACTIVITY_ENDS)]
        drop_activities += rows.drop_activities
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
        put_items=rows.put_items,
        drop_items=tuple(rows.drop_items),
    )


def _changed(
    run: Run, events: Sequence[Event], attempts_changed: Iterable[OpenActivity], rows: ItemRows
) -> Iterator[OpenActivity]:
    """Yield the activities that stay open, and are no longer as they were."""
    for activity in attempts_changed:
        if not is_item(activity.seq) or activity.seq in run.activities:
            yield activity  # else its batch has just ended
    for event in events:
        if not isinstance(event, ev.ActivityCancelRequested):
            continue
        if event.seq in run.activities:
            # Still open, so an attempt runs: whoever runs it must be told.
            yield structs.replace(run.activities[event.seq], cancel_requested=True)
        elif event.seq in run.batches:
            yield from item_rows.stop(run, run.batches[event.seq], rows)


def _opened(
    run: Run,
    events: Sequence[Event],
    items_closed: Sequence[ItemClosed],
    time: Millis,
    assign: Assign,
) -> Iterator[OpenActivity]:
    """Yield the activities and items that begin to be open."""
    for event in events:
        if isinstance(event, ev.ActivityScheduled) and event.seq in run.scheduled:
            yield assign(event, placing.schedule(run.ref.run_id, event, time))
    yield from item_rows.open_more(run, events, items_closed, time, assign)
