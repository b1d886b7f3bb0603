"""How an activity or a batch of a run ended, read from the run's history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perdure.protocol import events as ev
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import HistoryRequest
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.server import Server

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEnd:
    """The event that closed it, and the attempt that did."""

    event: Closing
    time: Millis
    started: ev.ActivityStarted | None


async def find_end(server: Server, run: RunFacts, seq: int) -> ActivityEnd | None:
    """Return how the activity ended; None when the run ended before it."""
    found = read_end(run.events, seq)
    last = run.events[0].id if run.events else run.description.events + 1
    while found is None and last > 1:
        first = max(1, last - PAGE)
        request = HistoryRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            after=first - 1,
            limit=last - first,
        )
        found = read_end((await server.call(request)).events, seq)
        last = first
    return found


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
