"""Keeping the rows of batches' items in step with their history.

A part of :mod:`perdure_operator.engine.recording`, which calls :func:`close` before the run
evolves through a transition's events and the rest behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.events import Event
from perdure.protocol.items import is_item, item_key, item_of
from perdure.protocol.payloads import Millis
from perdure_operator.engine import attempts
from perdure_operator.engine.batches import OpenBatch
from perdure_operator.engine.batching import ItemClosed
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import OpenActivity, WaitingResult

Assign = Callable[[ev.ActivityScheduled, OpenActivity], OpenActivity]
"""May give a newly scheduled activity to a worker at once; returns it begun, or as it is."""


@dataclass(slots=True)
class ItemRows:
    """What becomes of items' rows in one transition."""

    drop_activities: list[int] = field(default_factory=list)
    drop_items: list[int] = field(default_factory=list)
    kept: list[tuple[OpenBatch, WaitingResult]] = field(default_factory=list)

    @property
    def put_items(self) -> tuple[WaitingResult, ...]:
        """The results that the transition's events did not take up."""
        return tuple(row for batch, row in self.kept if row.result.index in batch.waiting)


def close(run: Run, events: Sequence[Event], closed: Iterable[ItemClosed]) -> ItemRows:
    """Take in items that have ended, on the run as it is before ``events``."""
    rows = ItemRows()
    if not run.batches:
        return rows
    for event in events:
        if isinstance(event, ev.BatchItemsClosed):
            rows.drop_items += _rows_of(run, event)
    for each in closed:
        seq, index = item_of(each.key)
        batch = run.batches[seq]
        run.activities.pop(each.key, None)
        rows.drop_activities.append(each.key)
        batch.open.discard(index)
        if each.result is not None:
            batch.keep(each.result)
            rows.kept.append((batch, WaitingResult(each.key, each.result)))
    for event in events:
        if isinstance(event, ev.BATCH_ENDS) and event.seq in run.batches:
            rows.drop_activities += _forget_open(run, run.batches[event.seq])
    return rows


def _rows_of(run: Run, event: ev.BatchItemsClosed) -> list[int]:
    waiting = run.batches[event.seq].waiting
    return [item_key(event.seq, each.index) for each in event.items if each.index in waiting]


def _forget_open(run: Run, batch: OpenBatch) -> list[int]:
    keys = batch.open_keys
    for key in keys:
        run.activities.pop(key, None)
    batch.open.clear()
    return keys


def open_more(
    run: Run,
    events: Iterable[Event],
    closed: Iterable[ItemClosed],
    time: Millis,
    assign: Assign,
) -> Iterator[OpenActivity]:
    """Open as many items as there may be, of batches that began or had items end."""
    seqs = dict.fromkeys(item_of(each.key)[0] for each in closed)
    seqs |= dict.fromkeys(each.seq for each in events if isinstance(each, ev.BatchScheduled))
    for seq in seqs:
        batch = run.batches.get(seq)
        while batch is not None and (index := batch.open_next()) is not None:
            item = batch.item(index)
            yield assign(item, attempts.schedule(item, time))


def take_up(run: Run, results: Iterable[WaitingResult]) -> None:
    """Put what was read from rows beside what history says: results, and open items.

    Raises:
        BrokenHistoryError: a row is of an item that is not open in history.
    """
    for key in filter(is_item, run.activities):
        batch, index = _open_item(run, key)
        batch.reopen(index)
    for each in results:
        batch, _ = _open_item(run, each.item)
        batch.keep(each.result)


def _open_item(run: Run, key: int) -> tuple[OpenBatch, int]:
    seq, index = item_of(key)
    batch = run.batches.get(seq)
    if batch is None or not batch.lacks(index):
        raise BrokenHistoryError(
            f"run {run.ref.run_id}: there is a row of item {index} of batch {seq}, which is not "
            "open in history"
        )
    return batch, index


def stop(run: Run, batch: OpenBatch, rows: ItemRows) -> Iterator[OpenActivity]:
    """Forget the items of a batch that nobody runs; return the others as their workers' to stop."""
    for key in batch.open_keys:
        activity = run.activities[key]
        if activity.is_started:
            yield structs.replace(activity, cancel_requested=True)
        else:
            del run.activities[key]
            batch.open.discard(item_of(key)[1])
            rows.drop_activities.append(key)
