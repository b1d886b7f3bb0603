"""Making a run from a history that comes from elsewhere: a lost store, another server.

The history says everything but how far the attempts of open activities were: who ran them is
not known here, so each begins anew, with its first attempt and its whole time. Its idempotency
key stays what it was. Items of batches whose results are not in events begin anew as well. What
was recorded is never computed again; timers and the run's timeout
keep the instants that they were recorded with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.items import item_key
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Millis
from perdure_operator.engine import attempts, decisions, item_rows, placing
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import (
    NEVER,
    RUN_TIMEOUT_SEQ,
    OpenActivity,
    Timer,
    Transition,
)


def restore(
    ref: RunRef, history: Sequence[HistoryEvent], now: Millis, *, watched: bool = False
) -> tuple[Run, Transition]:
    """Return the run that a whole history makes, and what must be committed for it to exist.

    Raises:
        BrokenHistoryError: no run of this name can have such a history.
    """
    _check(ref, history)
    run = fold(Run(ref=ref, watched=watched), history)
    run.version = 1
    timers = [Timer(seq=each.seq, fires=each.fires) for each in run.timers.values()]
    if not run.is_closed:
        run.activities |= {each.seq: each for each in _activities(run, history, now)}
        run.activities |= {each.seq: each for each in _items(run, now)}
        timers += run.batch_timers()
        if run.deadline is not None:
            timers.append(Timer(seq=RUN_TIMEOUT_SEQ, fires=run.deadline))
    transition = Transition(
        expected=0,
        row=run.row(),
        events=tuple(history),
        put_activities=tuple(run.activities.values()),
        put_timers=tuple(timers),
    )
    return run, transition


def catch_up(
    known: Run, history: Sequence[HistoryEvent], now: Millis
) -> tuple[Run, Transition] | None:
    """Return a run brought forward to a history that begins with its own, and its transition.

    The store was put back to what it was at an earlier time, and somebody has kept what was
    recorded after it. Attempts that run just now go on, if their activity is still open then.

    Returns:
        None when the history does not go on from the run's own.

    Raises:
        BrokenHistoryError: no run of this name can have such a history.
    """
    behind = history[: known.last_event]
    if len(behind) == len(history) or _digest(known.ref, behind) != known.digest:
        return None
    run, made = restore(known.ref, history, now, watched=known.watched)
    run.version = known.version + 1
    run.activities |= {seq: a for seq, a in known.activities.items() if seq in run.activities}
    return run, replace(
        made,
        expected=known.version,
        row=run.row(),
        events=tuple(history[known.last_event :]),
        put_activities=tuple(run.activities.values()),
        drop_activities=tuple(known.activities),
        drop_timers=(*known.timers, *(each.seq for each in known.batch_timers()), RUN_TIMEOUT_SEQ),
        drop_items=tuple(
            item_key(seq, index) for seq, batch in known.batches.items() for index in batch.waiting
        ),
    )


def _digest(ref: RunRef, history: Sequence[HistoryEvent]) -> bytes:
    return fold(Run(ref=ref), history).digest


def _check(ref: RunRef, history: Sequence[HistoryEvent]) -> None:
    started = history[0].event if history else None
    if not isinstance(started, ev.WorkflowStarted):
        raise BrokenHistoryError(f"run {ref.run_id}: a history begins with WorkflowStarted")
    if started.run_id != ref.run_id:
        raise BrokenHistoryError(
            f"run {ref.run_id}: the history is that of run {started.run_id}, which its code knows"
        )
    if len(history) > decisions.MAX_EVENTS:
        raise BrokenHistoryError(
            f"run {ref.run_id}: {len(history):,} events; a history has at most "
            f"{decisions.MAX_EVENTS:,}"
        )
    for before, after in pairwise(history):
        if after.time < before.time:
            raise BrokenHistoryError(
                f"run {ref.run_id}: event {after.id} is recorded earlier than the one before it"
            )


def _activities(run: Run, history: Sequence[HistoryEvent], now: Millis) -> list[OpenActivity]:
    """Return the open activities as they begin anew."""
    unwanted = {
        each.event.seq for each in history if isinstance(each.event, ev.ActivityCancelRequested)
    }
    return [
        _unwanted(activity) if seq in unwanted else activity
        for seq, scheduled in run.scheduled.items()
        for activity in [placing.schedule(run.ref.run_id, scheduled, now)]
    ]


def _items(run: Run, now: Millis) -> Iterator[OpenActivity]:
    """Return the open items of batches, as they begin anew."""
    scheduled = [batch.scheduled for batch in run.batches.values()]
    yield from item_rows.open_more(run, scheduled, (), now, lambda _scheduled, activity: activity)
    for batch in run.batches.values():
        if batch.is_canceling:
            # One stands for all that were stopped: it is looked at, and the batch ends with it.
            index = batch.open_unwanted()
            yield _unwanted(attempts.schedule(batch.item(index), now))


def _unwanted(activity: OpenActivity) -> OpenActivity:
    """No worker takes it: it is looked at, at once, and canceled then."""
    return structs.replace(activity, cancel_requested=True, visible=NEVER, wake=activity.scheduled)
