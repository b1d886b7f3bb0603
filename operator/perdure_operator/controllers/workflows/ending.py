"""What becomes of the run when its Workflow is deleted.

``Orphan`` lets the run go on. ``Terminate`` ends it at once. ``Cancel`` asks it to end and waits,
because a run may have to clean up (give the money back) and that may take workers that are not
there yet. The wait is bounded, so that a deletion never hangs for good:

* A run on a pool of others is let go after :data:`GRACE`: it has been asked to end, which is on
  disk, and goes on cleaning up without its Workflow. It is not terminated, because that would cut
  a compensation short.
* A run with workers of its own loses them with its Workflow, so nobody could go on cleaning up:
  it gets :data:`OWN_WORKER_GRACE` and is terminated then.
* While the server is away nothing can be asked of it; after :data:`SERVER_GRACE` the Workflow is
  let go all the same, and the run goes on when the server is back.
"""

from __future__ import annotations

from datetime import timedelta

from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.actions import Action, Plan, set_finalizer, write_status
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.steering import cancel_run, resume_run, terminate_run
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.controllers.workflows.reporting import write_report
from perdure_operator.model import (
    ConditionStatus,
    ConditionType,
    DeletionPolicy,
    Reason,
    set_condition,
)

GRACE = timedelta(seconds=30)
OWN_WORKER_GRACE = timedelta(minutes=10)
SERVER_GRACE = timedelta(minutes=10)

_REASON = "the Workflow was deleted"


def plan_deletion(view: WorkflowView) -> Plan:
    """Return what the deletion of the Workflow needs now."""
    if not view.has_finalizer:
        return Plan()
    if view.is_over or view.workflow.spec.deletion_policy is DeletionPolicy.ORPHAN:
        return Plan(actions=[_let_go(view)])
    match view.run:
        case NoRun.MISSING | RunFacts(is_closed=True):
            return Plan(actions=[_let_go(view)])
        case RunFacts():
            return _end_run(view, view.run)
        case NoRun.NOT_ASKED:
            if _time_left(view, SERVER_GRACE) is None:
                return Plan(actions=[_let_go(view)])
            return _wait_for_server(view)


def _wait_for_server(view: WorkflowView) -> Plan:
    """Say why the Workflow is still there; what is known of its run stays as it was seen last."""
    workflow = view.workflow
    metadata, conditions = workflow.metadata, workflow.status.conditions
    asked, why = metadata.deletion_timestamp, view.server_away or "the server was not asked yet"
    assert asked is not None
    message = (
        "it is deleted once its run was told, and the server does not answer; without an answer "
        f"it is let go at {asked + SERVER_GRACE:%H:%M:%S}Z, and its run goes on"
    )
    for type_, status in (
        (ConditionType.READY, ConditionStatus.FALSE),
        (ConditionType.RECONCILING, ConditionStatus.TRUE),
    ):
        conditions = set_condition(
            conditions, type_, status, Reason.DELETING, message, metadata.generation, view.now
        )
    said = workflow.status.model_copy(update={"conditions": conditions})
    actions = write_status(WORKFLOWS, metadata, before=workflow.status, after=said)
    return Plan(actions=actions, blocked=why)


def _end_run(view: WorkflowView, run: RunFacts) -> Plan:
    if view.workflow.spec.deletion_policy is DeletionPolicy.TERMINATE:
        return Plan(actions=[terminate_run(run, _REASON)], look_at_once=True)
    if not run.description.cancel_requested:
        return Plan(actions=[cancel_run(run, _REASON)], look_at_once=True)
    if run.is_suspended:
        # Held where it is it could not clean up.
        return Plan(actions=[resume_run(run)], look_at_once=True)

    has_own_worker = view.workflow.spec.worker is not None
    left = _time_left(view, OWN_WORKER_GRACE if has_own_worker else GRACE)
    if left is not None:
        return Plan(actions=write_report(view), again=left)
    if has_own_worker:
        reason = f"{_REASON}, and with it the run's own workers; it did not end in time"
        return Plan(actions=[terminate_run(run, reason)], look_at_once=True)
    return Plan(actions=[_let_go(view)])


def _time_left(view: WorkflowView, grace: timedelta) -> timedelta | None:
    asked = view.workflow.metadata.deletion_timestamp
    assert asked is not None
    left = asked + grace - view.now
    return left if left > timedelta() else None


def _let_go(view: WorkflowView) -> Action:
    return set_finalizer(WORKFLOWS, view.workflow.metadata, present=False)
