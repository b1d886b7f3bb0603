"""What the server knows of one run, read in a way that fits together.

A short history is read whole, for the checkpoint; of a long one only the end is, so that a look
at a run costs the same however old it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from perdure.protocol.events import Event, HistoryEvent, Suspended, WorkflowStarted
from perdure.protocol.verbs import (
    DescribeRequest,
    HistoryRequest,
    ResultResponse,
    RunDescription,
    RunStatus,
)
from perdure_operator.controllers.server import RunNotFoundError, Server

WHOLE_HISTORY_BYTES = 128 * 1024
"""A longer one could not be compressed into a checkpoint anyway."""

NAMED_EVENTS = 50
"""How many events of a long history are read: enough to name most of what the last ones end."""


class NoRun(Enum):
    """Why there are no facts."""

    NOT_ASKED = "not asked"
    MISSING = "missing"
    """The server has no such run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run at one moment."""

    description: RunDescription
    events: tuple[HistoryEvent, ...]
    """The end of the history, or all of it."""
    result: ResultResponse | None = None
    """How it ended, once it has."""

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended."""
        return not self.description.status.is_open

    @property
    def is_suspended(self) -> bool:
        """Whether the run is held where it is."""
        return self.description.status is RunStatus.SUSPENDED

    @property
    def suspended_by(self) -> str:
        """Who suspended it last, as far as the events that were read tell."""
        asked = (each.event for each in reversed(self.events))
        return next((event.identity for event in asked if isinstance(event, Suspended)), "")

    @property
    def has_whole_history(self) -> bool:
        """Whether ``events`` is all of it."""
        return bool(self.events) and self.events[0].id == 1

    @property
    def request_id(self) -> str:
        """What the run was started with; empty when the history's beginning was not read."""
        first = self.events[0].event if self.has_whole_history else None
        return first.request_id if isinstance(first, WorkflowStarted) else ""


async def observe_run(
    server: Server, namespace: str, workflow_id: str, run_id: str = ""
) -> RunFacts | NoRun:
    """Return what there is to know of a run; of the newest of the id without ``run_id``.

    Raises:
        ServerUnavailableError: The server did not answer.
    """
    request = DescribeRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        whole_history=WHOLE_HISTORY_BYTES,
        last_events=NAMED_EVENTS,
    )
    try:
        description = await server.call(request)
    except RunNotFoundError:
        return NoRun.MISSING
    return RunFacts(description=description, events=description.history, result=description.outcome)


async def find_own_run(
    server: Server, namespace: str, workflow_id: str, request_id: str
) -> RunFacts | NoRun:
    """Return the newest run of the id, if it was started with ``request_id``."""
    found = await observe_run(server, namespace, workflow_id)
    if isinstance(found, NoRun) or found.request_id == request_id:
        return found
    if found.has_whole_history:
        return NoRun.MISSING
    started = await _read_first(server, found.description)
    is_own = isinstance(started, WorkflowStarted) and started.request_id == request_id
    return found if is_own else NoRun.MISSING


async def _read_first(server: Server, run: RunDescription) -> Event | None:
    request = HistoryRequest(
        namespace=run.namespace, workflow_id=run.workflow_id, run_id=run.run_id, limit=1
    )
    events = (await server.call(request)).events
    return events[0].event if events else None
