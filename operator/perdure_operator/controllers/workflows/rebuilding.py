"""A run that the server knows no more, and the checkpoint in its Workflow's status.

The store was lost. What was recorded until the checkpoint was written is in it, so the run is
imported from there and goes on; it is never started anew by itself, because that would do again
what was done. A checkpoint that is missing, or is not that of this run, rebuilds nothing: the
status then says that the run is lost, and somebody must decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.verbs import ImportRequest
from perdure_operator.controllers.actions import ImportRun
from perdure_operator.controllers.histories import UnreadableCheckpointError, read_checkpoint
from perdure_operator.model import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The run cannot be rebuilt."""

    why: str


def rebuild(workflow: Workflow) -> ImportRun | Lost:
    """Return how to rebuild the Workflow's run, or why that cannot be."""
    status = workflow.status
    assert status.run_id, "a run that was never started is not lost"
    if status.checkpoint is None:
        return Lost(why="its history was too long for a checkpoint in the status")
    try:
        events = read_checkpoint(status.checkpoint)
    except UnreadableCheckpointError as error:
        return Lost(why=f"its checkpoint cannot be read: {error}")
    recorded = status.history.events if status.history is not None else 0
    if len(events) < recorded:
        return Lost(why=f"its checkpoint has {len(events)} of {recorded} events")
    if not _is_of(workflow, events):
        return Lost(why="its checkpoint is that of another run")
    digest = status.history.digest if status.history is not None else ""
    return ImportRun(
        request=ImportRequest(
            namespace=workflow.metadata.namespace,
            workflow_id=workflow.workflow_id,
            run_id=status.run_id,
            events=tuple(events),
            digest=digest.removeprefix("sha256:"),
            watched=True,
        ),
        regarding={
            "apiVersion": workflow.api_version,
            "kind": workflow.kind,
            "metadata": {
                "name": workflow.metadata.name,
                "namespace": workflow.metadata.namespace,
                "uid": workflow.metadata.uid,
            },
        },
    )


def _is_of(workflow: Workflow, events: list[HistoryEvent]) -> bool:
    """Tell whether the history is that of the run which this very object asked for."""
    started = events[0].event if events else None
    return (
        isinstance(started, WorkflowStarted)
        and started.run_id == workflow.status.run_id
        and started.request_id == workflow.metadata.uid
    )
