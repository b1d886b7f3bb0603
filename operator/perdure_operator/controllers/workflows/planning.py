"""What a Workflow needs now. Pure: the same view gives the same plan, and every view gives one.

First the finalizer and the start; then whatever the spec wants told to the run; then the state of
the run as the status; and once it is over, nothing but the end of its time to live. A run that
cannot be started at once has that said in its status at once, because tools take an object without
a status for finished.
"""

from __future__ import annotations

from datetime import timedelta

from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.actions import (
    Action,
    ImportRun,
    Plan,
    set_finalizer,
    write_status,
)
from perdure_operator.controllers.activities.showing import Showing, plan_showing
from perdure_operator.controllers.catching_up import plan_catching_up
from perdure_operator.controllers.expiring import expire, time_to_live
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.steering import IDENTITY, cancel_run, resume_run, suspend_run
from perdure_operator.controllers.verdicts import seen_again
from perdure_operator.controllers.workflows.ending import plan_deletion
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.controllers.workflows.reporting import write_report
from perdure_operator.controllers.workflows.retrying import (
    next_retry,
    retry_run,
    settled_retries,
    tell_of_retries,
    wants_retry,
)
from perdure_operator.controllers.workflows.starting import (
    apply_own_pool,
    pool_name,
    send_signal,
    start_run,
)
from perdure_operator.model import DeletionPolicy

RESYNC = timedelta(hours=1)
"""How often an open run is looked at though nothing was heard of it: against lost wake-ups."""

FIRST_STATUS = timedelta(milliseconds=250)
"""A run that is over within this time of its start is reported once, by how it ended."""


def plan_workflow(view: WorkflowView) -> Plan:
    """Return what to do."""
    if view.workflow.metadata.is_being_deleted:
        return plan_deletion(view)
    if view.is_over:
        return _plan_over(view)
    match view.run:
        case RunFacts():
            return _plan_run(view, view.run)
        case NoRun.MISSING:
            return _plan_without_run(view)
        case NoRun.NOT_ASKED:
            # A run that is known stays described as it was last seen.
            actions = [] if view.workflow.status.run_id else write_report(view)
            return Plan(actions=actions, blocked=view.server_away or "the server was not asked")


def _plan_without_run(view: WorkflowView) -> Plan:
    spec = view.workflow.spec
    if view.is_lost:
        rebuilding = view.rebuilding
        if isinstance(rebuilding, ImportRun):
            return Plan(actions=[rebuilding], look_at_once=True)
        return Plan(actions=write_report(view), again=RESYNC)
    if spec.cancel:
        return Plan(actions=write_report(view), look_at_once=True)
    if spec.suspend:
        return Plan(actions=write_report(view))
    refused = view.start_refused
    if refused is not None:
        # The id may become free; a wrong request stays wrong until the spec changes.
        blocked = refused.message if refused.id_in_use else ""
        return Plan(actions=write_report(view), blocked=blocked, again=RESYNC)
    if view.pool is None and spec.worker is None:
        return Plan(actions=write_report(view), again=RESYNC)
    return Plan(actions=_start(view), look_soon=FIRST_STATUS)


def _start(view: WorkflowView) -> list[Action]:
    workflow = view.workflow
    actions = _finalizer(view)
    if view.pool is not None:
        return [*actions, start_run(workflow, view.pool.task_queue)]
    assert workflow.spec.worker is not None
    task_queue = workflow.spec.worker.task_queue or pool_name(workflow)
    return [*actions, start_run(workflow, task_queue)]


def _finalizer(view: WorkflowView) -> list[Action]:
    wanted = view.workflow.spec.deletion_policy is not DeletionPolicy.ORPHAN
    if wanted == view.has_finalizer:
        return []
    return [set_finalizer(WORKFLOWS, view.workflow.metadata, present=wanted)]


def _plan_run(view: WorkflowView, run: RunFacts) -> Plan:
    if run.is_closed:
        return _plan_end(view)
    if view.is_behind:
        forward = plan_catching_up(run, view.rebuilding)
        return Plan(actions=forward or write_report(view), again=RESYNC, look_at_once=bool(forward))
    told = [*_own_pool(view), *_tell(view, run)]
    if told:
        return Plan(actions=told, look_at_once=True)
    blocked = view.object_refused.message if view.object_refused else ""
    showing = _show(view, run)
    actions = [*write_report(view), *_finalizer(view), *showing.actions]
    return Plan(actions=actions, again=min(RESYNC, showing.again or RESYNC), blocked=blocked)


def _show(view: WorkflowView, run: RunFacts) -> Plan:
    """Return the Activities for what has been open for long."""
    # What the run outlives must not take the pods of its activities along.
    is_owner = view.workflow.spec.deletion_policy is not DeletionPolicy.ORPHAN
    showing = Showing(
        now=view.now,
        show_after=view.show_after,
        shown=view.shown,
        owner=view.workflow if is_owner else None,
    )
    return plan_showing(run.description, showing)


def _plan_end(view: WorkflowView) -> Plan:
    """Report how the run ended; nothing is left to wait for when the Workflow is deleted.

    The finalizer goes first: the object is smaller then, and whoever is told of its end is told
    of nothing behind it.
    """
    let_go = [set_finalizer(WORKFLOWS, view.workflow.metadata, present=False)]
    spec = view.workflow.spec
    is_all = spec.ttl_seconds_after_finished is None and not spec.retries
    return Plan(
        actions=[*(let_go if view.has_finalizer else []), *write_report(view)],
        look_at_once=not is_all,
    )


def _own_pool(view: WorkflowView) -> list[Action]:
    """Return the pool of the Workflow's own, if it has one that is not there (any more)."""
    is_wanted = view.workflow.spec.worker is not None and view.pool is None
    return [apply_own_pool(view.workflow)] if is_wanted and view.object_refused is None else []


def _tell(view: WorkflowView, run: RunFacts) -> list[Action]:
    """Return what the spec wants told to the run and it was not told yet."""
    settled = {*view.delivered, *view.refused_signals}
    signals = (each for each in view.workflow.spec.signals if each.id not in settled)
    actions: list[Action] = [send_signal(run, signal) for signal in signals]
    if view.workflow.spec.cancel and not run.description.cancel_requested:
        actions.append(cancel_run(run, "spec.cancel was set"))
    return [*actions, *_hold(view, run)]


def _hold(view: WorkflowView, run: RunFacts) -> list[Action]:
    """Suspend or resume the run; what somebody else suspended is theirs to resume."""
    if view.workflow.spec.suspend and not run.is_suspended:
        return [suspend_run(run, "spec.suspend was set")]
    is_ours = run.suspended_by in {"", IDENTITY}
    if run.is_suspended and not view.workflow.spec.suspend and is_ours:
        return [resume_run(run)]
    return []


def _plan_over(view: WorkflowView) -> Plan:
    """Retry the run, if that is wanted; else there is nothing left but its time to live."""
    if isinstance(view.run, RunFacts) and view.is_behind:
        # It is open in an older store, and must not do again what ended.
        forward = plan_catching_up(view.run, view.rebuilding)
        if forward:
            return Plan(actions=forward, look_at_once=True)
    if view.server_away and wants_retry(view.workflow):
        return Plan(blocked=view.server_away)
    retry = next_retry(view)
    if retry is None:
        return _plan_finished(view)
    if view.run is NoRun.MISSING and isinstance(view.rebuilding, ImportRun):
        return Plan(actions=[view.rebuilding], look_at_once=True)
    return Plan(actions=[*_finalizer(view), retry_run(view, retry)], look_at_once=True)


def _plan_finished(view: WorkflowView) -> Plan:
    workflow = view.workflow
    told = workflow.status.model_copy(
        update={
            "retries": settled_retries(view),
            "conditions": tell_of_retries(view, workflow.status.conditions),
        }
    )
    seen = seen_again(told, workflow.metadata.generation)
    actions = write_status(WORKFLOWS, workflow.metadata, before=workflow.status, after=seen)
    if view.has_finalizer:
        actions.append(set_finalizer(WORKFLOWS, workflow.metadata, present=False))
    return expire(
        WORKFLOWS,
        workflow.metadata,
        Plan(actions=actions),
        left=time_to_live(
            workflow.spec.ttl_seconds_after_finished, workflow.status.completion_time, view.now
        ),
    )
