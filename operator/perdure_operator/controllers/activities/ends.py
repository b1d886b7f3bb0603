"""How an activity or a batch of a run ended, read from the run's history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from perdure.protocol import events as ev
from perdure.protocol.failures import Failure
from perdure.protocol.items import ItemResult, indexes_text
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import HistoryRequest
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.server import Server

ONLY_SEQ = 1
"""The number that an activity which was started on its own has in its history."""

PAGE = 1000
"""Events that are read at once, looking back."""

Closing = (
    ev.ActivityCompleted
    | ev.ActivityFailed
    | ev.ActivityTimedOut
    | ev.ActivityCanceled
    | ev.BatchCompleted
    | ev.BatchFailed
    | ev.BatchCanceled
)
BatchEnd = ev.BatchCompleted | ev.BatchFailed | ev.BatchCanceled


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEnd:
    """The event that closed it, and the attempt that did."""

    event: Closing
    time: Millis
    started: ev.ActivityStarted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCounts:
    """How the items of a batch have ended."""

    succeeded: int
    failed: int
    failed_indexes: str
    """Which, as a Job says it: ``0,3-5,7``."""
    last_failure: Failure | None = None
    """Of the item that failed last."""


async def find_end(server: Server, run: RunFacts, seq: int) -> ActivityEnd | None:
    """Return how the activity ended; None when the run ended before it."""
    async for page in _backwards(server, run):
        found = read_end(page, seq)
        if found is not None:
            return found
    return None


async def count_items(server: Server, run: RunFacts, seq: int) -> ItemCounts:
    """Return how the items of a batch that is over have ended.

    Its last event counts them. When the run ended before the batch did, they are counted here.
    """
    end: BatchEnd | None = None
    results: list[ItemResult] = []
    async for page in _backwards(server, run):
        for each in reversed(page):
            if isinstance(each.event, BatchEnd) and each.event.seq == seq:
                end = each.event
            if isinstance(each.event, ev.BatchItemsClosed) and each.event.seq == seq:
                results += reversed(each.event.items)
        if end is not None and (not end.failed or _last_failure(results)):
            break
    return _counts(end, results)


def _counts(end: BatchEnd | None, newest_first: Sequence[ItemResult]) -> ItemCounts:
    last = _last_failure(newest_first)
    if end is not None:
        return ItemCounts(
            succeeded=end.succeeded,
            failed=end.failed,
            failed_indexes=end.failed_indexes,
            last_failure=last,
        )
    failed = [each.index for each in newest_first if each.failure is not None]
    return ItemCounts(
        succeeded=len(newest_first) - len(failed),
        failed=len(failed),
        failed_indexes=indexes_text(failed),
        last_failure=last,
    )


def _last_failure(newest_first: Iterable[ItemResult]) -> Failure | None:
    return next((each.failure for each in newest_first if each.failure is not None), None)


async def _backwards(server: Server, run: RunFacts) -> AsyncIterator[Sequence[ev.HistoryEvent]]:
    """Yield the run's events in pages, the last ones first."""
    yield run.events
    last = run.events[0].id if run.events else run.description.events + 1
    while last > 1:
        first = max(1, last - PAGE)
        request = HistoryRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            after=first - 1,
            limit=last - first,
        )
        yield (await server.call(request)).events
        last = first


def read_end(events: Iterable[ev.HistoryEvent], seq: int) -> ActivityEnd | None:
    """Return how the activity ended, if it is among these events."""
    started: ev.ActivityStarted | None = None
    for each in events:
        event = each.event
        if isinstance(event, ev.ActivityStarted) and event.seq == seq:
            started = event
        if isinstance(event, Closing) and event.seq == seq:
            return ActivityEnd(event=event, time=each.time, started=started)
    return None
