"""Which events follow for batches: items that end, cancellation, the time of the whole.

Looks at a run and changes nothing, like :mod:`perdure_operator.engine.decisions`. Results of
items gather in rows; they are moved into a ``BatchItemsClosed`` event when there are many of
them, when the code that streams them has been told everything before, and at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.protocol import events as ev
from perdure.protocol.events import Event, ItemResult
from perdure.protocol.failures import ApplicationInfo, Failure, TimeoutInfo, TimeoutKind
from perdure.protocol.items import indexes_text, item_of
from perdure_operator.engine.attempts import Closed
from perdure_operator.engine.batches import OpenBatch, size_of
from perdure_operator.engine.runs import Run

MOVED_RESULTS = 1_000
MOVED_BYTES = 1024 * 1024
"""So many results, or so much of them, wait in rows at most."""
PORTION_EVENTS = 2_000
"""With each so many events of a run, its streamed results are told in portions larger by one."""


@dataclass(frozen=True, slots=True)
class ItemClosed:
    """An item is no longer open."""

    key: int
    """The number of its activity."""
    result: ItemResult | None
    """``None`` when it was stopped because the batch was asked to stop."""


def item_closed(key: int, closed: Closed) -> ItemClosed:
    """Return what the events that would close an activity say of an item."""
    _, index = item_of(key)
    attempt = next((each.attempt for each in closed.events if isinstance(each, _STARTED)), 0)
    match closed.events[-1]:
        case ev.ActivityCompleted(result=value):
            return ItemClosed(key, ItemResult(index, attempt, value))
        case (
            ev.ActivityFailed(failure=failure, retry_state=state)
            | ev.ActivityTimedOut(failure=failure, retry_state=state)
        ):
            return ItemClosed(key, ItemResult(index, attempt, None, failure, state))
        case _:
            return ItemClosed(key, None)


_STARTED = ev.ActivityStarted


def close_items(run: Run, closed: Iterable[ItemClosed]) -> list[Event]:
    """Items have ended: what of it history must say now."""
    by_batch: defaultdict[int, list[ItemClosed]] = defaultdict(list)
    for each in closed:
        by_batch[item_of(each.key)[0]].append(each)
    events: list[Event] = []
    for seq, items in by_batch.items():
        events += _close_items_of(run, run.batches[seq], items)
    return events


def _close_items_of(run: Run, batch: OpenBatch, closed: Sequence[ItemClosed]) -> list[Event]:
    results = [each.result for each in closed if each.result is not None]
    failed = [each for each in results if each.failure is not None]
    counts = _Counts(batch, [each.index for each in failed], len(results) - len(failed))
    first = batch.first_failure or next((each.failure for each in failed), None)
    end = _end(counts, len(batch.open) - len(closed), first)
    if end is None and not _must_move(run, batch, results):
        return []
    return [*_move(batch, results), *_closing(run, end)]


@dataclass(frozen=True, slots=True)
class _Counts:
    """How the items of a batch have ended, some of them just now."""

    batch: OpenBatch
    failed_now: Sequence[int] = ()
    succeeded_now: int = 0

    @property
    def succeeded(self) -> int:
        return self.batch.succeeded + self.succeeded_now

    @property
    def failed(self) -> int:
        return self.batch.failed + len(self.failed_now)

    def fields(self) -> dict[str, Any]:
        """Return what the event that ends the batch says of them."""
        return {
            "seq": self.batch.scheduled.seq,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "failed_indexes": indexes_text((*self.batch.failed_indexes, *self.failed_now)),
        }


def _end(counts: _Counts, still_open: int, first: Failure | None) -> Event | None:
    """Return the event that ends the batch, if it is over."""
    batch, tolerated = counts.batch, counts.batch.scheduled.tolerated_failures
    succeeded, failed = counts.succeeded, counts.failed
    is_whole = succeeded + failed == batch.total
    if batch.is_canceling and not (is_whole and failed <= tolerated):
        if still_open:
            return None
        return ev.BatchCanceled(**counts.fields())
    if failed > tolerated:
        message = (
            f"{failed:,} of {batch.total:,} items failed ({tolerated:,} tolerated), "
            f"{succeeded:,} succeeded"
        )
        info = ApplicationInfo(type="TooManyItemsFailed", non_retryable=True)
        failure = Failure(message=message, info=info, cause=first)
        return ev.BatchFailed(failure=failure, **counts.fields())
    return ev.BatchCompleted(**counts.fields()) if is_whole else None


def _must_move(run: Run, batch: OpenBatch, results: Sequence[ItemResult]) -> bool:
    if not results:
        return False
    count = len(batch.waiting) + len(results)
    if batch.scheduled.streamed and run.last_resolution <= run.through:
        return count >= _portion(run)
    if count >= MOVED_RESULTS:
        return True
    return batch.waiting_bytes + sum(map(size_of, results)) >= MOVED_BYTES


def _portion(run: Run) -> int:
    """Return how many results are worth telling code that streams them.

    One as long as the history is short. Each portion costs two events: if items that end slowly
    were told one by one for ever, a large batch would not fit into a history.
    """
    return 1 + run.last_event // PORTION_EVENTS


def _move(batch: OpenBatch, results: Iterable[ItemResult] = ()) -> list[Event]:
    items = (*batch.waiting.values(), *results)
    return [ev.BatchItemsClosed(seq=batch.scheduled.seq, items=items)] if items else []


def _closing(run: Run, end: Event | None) -> list[Event]:
    """A batch that was started on its own ends its run with it."""
    if end is None:
        return []
    return [end] if run.is_workflow else [end, _end_of_run(end)]


def _end_of_run(end: Event) -> Event:
    match end:
        case ev.BatchFailed(failure=failure):
            return ev.WorkflowFailed(failure=failure)
        case ev.BatchCanceled():
            return ev.WorkflowCanceled()
        case _:
            return ev.WorkflowCompleted()


def cancel(run: Run, batch: OpenBatch) -> list[Event]:
    """Close a batch that is asked to stop, unless items run, whose workers must be told first."""
    if any(run.activities[key].is_started for key in batch.open_keys):
        return []
    end = ev.BatchCanceled(**_Counts(batch).fields())
    return [*_move(batch), *_closing(run, end)]


def time_out(run: Run, batch: OpenBatch) -> list[Event]:
    """The time of the whole is up."""
    failure = Failure(
        message=f"schedule-to-close timeout passed with {batch.ended:,} of {batch.total:,} "
        f"items ended, {batch.failed:,} of them failed",
        info=TimeoutInfo(timeout=TimeoutKind.SCHEDULE_TO_CLOSE),
        cause=batch.first_failure,
    )
    end = ev.BatchFailed(failure=failure, **_Counts(batch).fields())
    return [*_move(batch), *_closing(run, end)]


def move_before_end(run: Run, events: Sequence[Event]) -> list[Event]:
    """The run ends while batches are open: their results go into history before it does.

    They were acknowledged to the workers, so a retry of the run must find them. They stand before
    the ``events`` and not right before the last of them: what an activation asked for follows on
    its record.
    """
    if not events or not isinstance(events[-1], ev.CLOSING_EVENTS):
        return []
    return move_all(run, {each.seq for each in events if isinstance(each, ev.BatchItemsClosed)})


def move_all(run: Run, but: Collection[int] = ()) -> list[Event]:
    """All results that wait in rows go into history, but those of batches in ``but``."""
    return [event for seq, batch in run.batches.items() if seq not in but for event in _move(batch)]


def move_told(run: Run, through: int, but: Collection[int] = ()) -> list[Event]:
    """The code has been told ``through``: what has gathered for those who stream it.

    Batches in ``but`` are over already.
    """
    if not run.batches or run.last_resolution > through:
        return []
    return [
        event
        for seq, batch in run.batches.items()
        if batch.scheduled.streamed and seq not in but and len(batch.waiting) >= _portion(run)
        for event in _move(batch)
    ]
