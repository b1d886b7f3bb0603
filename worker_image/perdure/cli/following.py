"""Reading a run's history as it grows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import RunRef
from perdure.protocol.verbs import HistoryRequest

if TYPE_CHECKING:
    from perdure.client import Service

PAGE = 1000


async def read_history(service: Service, run: RunRef) -> AsyncIterator[HistoryEvent]:
    """Yield the events that there are."""
    after = 0
    while True:
        page = await service.call(_request(run, after))
        for recorded in page.events:
            yield recorded
            after = recorded.id
        if not page.events or after >= page.last_event:
            return


async def follow_history(
    service: Service, run: RunRef, *, wait: int = 20_000
) -> AsyncIterator[HistoryEvent | None]:
    """Yield the events that there are and those that come, to the run's end.

    Args:
        service: where to ask.
        run: whose history.
        wait: milliseconds; None is yielded whenever so long nothing has come.
    """
    after = 0
    while True:
        page = await service.call(_request(run, after, wait=wait))
        for recorded in page.events:
            yield recorded
            after = recorded.id
        if page.closed and after >= page.last_event:
            return
        if not page.events:
            yield None


def _request(run: RunRef, after: int, *, wait: int = 0) -> HistoryRequest:
    return HistoryRequest(
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        after=after,
        limit=PAGE,
        wait=wait,
    )
