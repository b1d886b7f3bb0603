"""A Workflow's status, from what was observed."""

from __future__ import annotations

from typing import Any

from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.actions import Action, write_status
from perdure_operator.controllers.histories import build_checkpoint, format_tail
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.values import NotShownError, to_failure, to_json, to_time
from perdure_operator.controllers.workflows.judging import judge
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.controllers.workflows.retrying import settled_retries, tell_of_retries
from perdure_operator.model import HistorySummary, WorkflowStatus
from perdure_operator.model.workflow import RESULT_LIMIT_BYTES


def report(view: WorkflowView) -> WorkflowStatus:
    """Return the status that the Workflow should have."""
    before, metadata = view.workflow.status, view.workflow.metadata
    phase, verdict = judge(view)
    fields: dict[str, Any] = {
        "phase": phase,
        "observed_generation": metadata.generation,
        "conditions": tell_of_retries(
            view,
            verdict.conditions(before.conditions, generation=metadata.generation, now=view.now),
        ),
        "workflow_id": view.workflow.workflow_id,
        "delivered_signals": view.delivered,
        "retries": settled_retries(view),
    }
    if isinstance(view.run, RunFacts) and not view.is_behind:
        fields |= _of_run(view.run)
    if phase.is_final and "completion_time" not in fields:
        fields["completion_time"] = before.completion_time or view.now
    return before.model_copy(update=fields)


def write_report(view: WorkflowView) -> list[Action]:
    """Return the action that writes it, or nothing when it is written already."""
    workflow = view.workflow
    return write_status(WORKFLOWS, workflow.metadata, before=workflow.status, after=report(view))


def _of_run(run: RunFacts) -> dict[str, Any]:
    described = run.description
    fields: dict[str, Any] = {
        "run_id": described.run_id,
        "task_queue": described.task_queue,
        "current_step": None if run.is_closed else described.current_step or None,
        "start_time": to_time(described.started),
        "completion_time": None if described.closed is None else to_time(described.closed),
        "pending_activities": len(described.pending_activities),
        "history": HistorySummary(
            events=described.events,
            digest=f"sha256:{described.digest}" if described.digest else "",
            tail=tuple(format_tail(run.events)),
        ),
        "checkpoint": build_checkpoint(run.events) if run.has_whole_history else None,
    }
    return fields | _of_result(run)


def _of_result(run: RunFacts) -> dict[str, Any]:
    if run.result is None:
        # It goes on; of a run that was retried something may be there.
        return {"result": None, "result_omitted": False, "failure": None}
    failure = run.result.failure
    try:
        shown, omitted = to_json(run.result.result, limit=RESULT_LIMIT_BYTES), False
    except NotShownError:
        shown, omitted = None, True
    return {
        "result": shown,
        "result_omitted": omitted,
        "failure": None if failure is None else to_failure(failure),
    }
