"""A run that the server knows no more, and the checkpoint in the status of its object.

The store was lost. What was recorded until the checkpoint was written is in it, so the run is
imported from there and goes on; it is never started anew by itself, because that would do again
what was done. A checkpoint that is missing, or is not that of this run, rebuilds nothing: the
status then says that the run is lost, and somebody must decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.verbs import ImportRequest
from perdure_operator.controllers.actions import ImportRefused, ImportRun, Outcome, RunImported
from perdure_operator.controllers.histories import UnreadableCheckpointError, read_checkpoint
from perdure_operator.controllers.notices import name_object
from perdure_operator.model import Activity, Workflow, WorkflowStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The run cannot be rebuilt."""

    why: str


def plan_rebuilding(
    resource: Workflow | Activity, workflow_id: str, outcomes: Sequence[Outcome] = ()
) -> ImportRun | Lost:
    """Return how to rebuild the object's run, or why that cannot be.

    Args:
        resource: Whose run the server knows no more.
        workflow_id: The run's workflow id.
        outcomes: What came of the actions planned before.
    """
    for each in outcomes:
        if isinstance(each, ImportRefused):
            return Lost(why=f"the server does not take its checkpoint: {each.message}")
        if isinstance(each, RunImported):
            return Lost(why="the server took its checkpoint and has no run all the same")
    return _rebuild(resource, workflow_id)


def _rebuild(resource: Workflow | Activity, workflow_id: str) -> ImportRun | Lost:
    status = resource.status
    assert status.run_id, "a run that was never started is not lost"
    if status.checkpoint is None:
        return Lost(why="its history was too long for a checkpoint in the status")
    try:
        events = read_checkpoint(status.checkpoint)
    except UnreadableCheckpointError as error:
        return Lost(why=f"its checkpoint cannot be read: {error}")
    history = status.history if isinstance(status, WorkflowStatus) else None
    recorded = history.events if history is not None else status.checkpoint.events
    if len(events) < recorded:
        return Lost(why=f"its checkpoint has {len(events)} of {recorded} events")
    if not _is_of(resource, events):
        return Lost(why="its checkpoint is that of another run")
    digest = history.digest if history is not None else ""
    return ImportRun(
        request=ImportRequest(
            namespace=resource.metadata.namespace,
            workflow_id=workflow_id,
            run_id=status.run_id,
            events=tuple(events),
            digest=digest.removeprefix("sha256:"),
            watched=True,
        ),
        regarding=name_object(resource),
    )


def _is_of(resource: Workflow | Activity, events: list[HistoryEvent]) -> bool:
    """Tell whether the history is that of the run which this very object asked for."""
    started = events[0].event if events else None
    return (
        isinstance(started, WorkflowStarted)
        and started.run_id == resource.status.run_id
        and started.request_id == resource.metadata.uid
    )
