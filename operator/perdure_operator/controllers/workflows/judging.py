"""What is to be said of a Workflow: its phase, and a reason for each condition."""

from __future__ import annotations

from typing import assert_never

from perdure.protocol.verbs import RunDescription, RunStatus
from perdure_operator.controllers.rebuilding import Lost
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.values import describe_failure, locate_failure
from perdure_operator.controllers.verdicts import (
    Say,
    Verdict,
    false,
    finished,
    no_pool,
    pending,
    true,
    workers_of,
)
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.model import Reason, WorkflowPhase

Judgement = tuple[WorkflowPhase, Verdict]

CLOSED: dict[RunStatus, tuple[WorkflowPhase, Reason, str]] = {
    RunStatus.COMPLETED: (
        WorkflowPhase.SUCCEEDED,
        Reason.SUCCEEDED,
        "the run has returned",
    ),
    RunStatus.FAILED: (
        WorkflowPhase.FAILED,
        Reason.EXECUTION_FAILED,
        "the run has raised an error",
    ),
    RunStatus.CANCELED: (
        WorkflowPhase.CANCELED,
        Reason.CANCELED,
        "the run was canceled",
    ),
    RunStatus.TERMINATED: (
        WorkflowPhase.TERMINATED,
        Reason.TERMINATED,
        "the run was terminated",
    ),
    RunStatus.TIMED_OUT: (
        WorkflowPhase.TIMED_OUT,
        Reason.TIMED_OUT,
        "the run did not end within its timeout",
    ),
}
"""What the end of a run is called."""

TASK_FAILURES = {
    "Nondeterminism": Reason.NONDETERMINISTIC,
    "UnknownWorkflowType": Reason.TYPE_NOT_REGISTERED,
}
"""By the cause of a failing workflow task; any other is an error in the workflow's code."""

_INPUT_CHANGED = (
    "spec.input was changed after the run's start: the run goes on with what it was started with. "
    "Take the change back, and make a new Workflow for another input"
)
_USE_ANOTHER_ID = (
    "this one starts when that one is over. To run both at once, make a Workflow with another "
    "name, or with another spec.workflowId"
)
_NOT_STARTED = "the run has not been started yet"


def judge(view: WorkflowView) -> Judgement:
    """Return what is to be said."""
    match view.run:
        case RunFacts(is_closed=True):
            return _judge_closed(view.run)
        case RunFacts(is_suspended=True):
            return WorkflowPhase.SUSPENDED, _judge_suspended(view)
        case RunFacts():
            return WorkflowPhase.RUNNING, _judge_open(view, view.run.description)
        case NoRun():
            return _judge_without_run(view)
        case _:
            assert_never(view.run)


def _judge_closed(run: RunFacts) -> Judgement:
    phase, reason, message = CLOSED[run.description.status]
    if run.result is not None and run.result.failure is not None:
        message = f"{message}: {describe_failure(run.result.failure)}"
    return phase, finished(reason, message, well=phase is WorkflowPhase.SUCCEEDED)


def _judge_open(view: WorkflowView, run: RunDescription) -> Verdict:
    reason, message = Reason.RUNNING, "the run has started and has not ended"
    if view.workflow.metadata.is_being_deleted:
        reason, message = Reason.DELETING, "the Workflow is deleted once its run has ended"
    elif run.cancel_requested:
        reason, message = Reason.CANCELING, "the run was asked to end, and may clean up first"
    return Verdict(
        ready=false(reason, message),
        reconciling=true(reason, message),
        stalled=_stalled(view, run),
        workers=_workers(view),
    )


def _judge_suspended(view: WorkflowView) -> Verdict:
    message = "suspend is set: what runs is finished, and nothing new begins"
    if not view.workflow.spec.suspend:
        message = "it was suspended by somebody else than this Workflow; `perdure resume` it"
    return Verdict(ready=false(Reason.SUSPENDED, message), workers=_workers(view))


def _stalled(view: WorkflowView, run: RunDescription) -> Say | None:
    if run.task_attempt > 1 and run.task_failure is not None:
        return _failing_task(run)
    if view.pool is None:
        return _no_pool(view)
    for signal_id, why in view.refused_signals.items():
        return true(Reason.INVALID_SPEC, f"signal {signal_id!r} is not taken: {why}")
    return true(Reason.SPEC_CHANGED, _INPUT_CHANGED) if view.is_input_changed else None


def _failing_task(run: RunDescription) -> Say:
    assert run.task_failure is not None
    reason = TASK_FAILURES.get(run.task_failure_cause, Reason.TASK_FAILING)
    place = locate_failure(run.task_failure)
    # Which attempt it is would be a new status every minute, so it is not said.
    message = (
        f"the workflow's code cannot be run and is tried again: {run.task_failure_cause}: "
        f"{describe_failure(run.task_failure)}"
    )
    return true(reason, f"{message} ({place})" if place else message)


def _judge_without_run(view: WorkflowView) -> Judgement:
    spec, refused = view.workflow.spec, view.start_refused
    if view.is_lost:
        return view.workflow.status.phase or WorkflowPhase.RUNNING, _lost(view)
    if refused is not None:
        if refused.id_in_use:
            said = true(Reason.ID_IN_USE, f"{refused.message}: {_USE_ANOTHER_ID}")
        else:
            said = true(Reason.INVALID_SPEC, refused.message)
        return WorkflowPhase.PENDING, pending(_NOT_STARTED, said)
    if view.server_away:
        away = true(Reason.SERVER_UNAVAILABLE, view.server_away)
        ready = false(away.reason, away.message)
        return WorkflowPhase.PENDING, Verdict(ready=ready, reconciling=away)
    if spec.cancel:
        message = "it was canceled before its run was started"
        return WorkflowPhase.CANCELED, finished(Reason.CANCELED, message, well=False)
    if spec.suspend:
        message = "suspend is set, so the run is not started"
        return WorkflowPhase.SUSPENDED, Verdict(ready=false(Reason.SUSPENDED, message))
    if view.pool is None and spec.worker_pool:
        return WorkflowPhase.PENDING, pending(_NOT_STARTED, _no_pool(view))
    return WorkflowPhase.PENDING, pending(_NOT_STARTED)


def _lost(view: WorkflowView) -> Verdict:
    rebuilding = view.rebuilding
    why = f", and {rebuilding.why}" if isinstance(rebuilding, Lost) else ""
    message = (
        f"the store has no run {view.workflow.status.run_id} of "
        f"{view.workflow.workflow_id!r} any more{why}: restore the store, import the run's "
        "history, or delete the Workflow and apply it again to run it from the beginning"
    )
    return Verdict(
        ready=false(Reason.STATE_LOST, message), stalled=true(Reason.STATE_LOST, message)
    )


def _no_pool(view: WorkflowView) -> Say:
    if view.object_refused is not None:
        why = f"the pool of its own cannot be made: {view.object_refused.message}"
        return true(Reason.FORBIDDEN, why)
    return no_pool(view.workflow.spec.worker_pool, view.workflow.metadata.namespace)


def _workers(view: WorkflowView) -> Say | None:
    if view.pool is None:
        return _no_pool_for_workers(view)
    return workers_of(view.pool)


def _no_pool_for_workers(view: WorkflowView) -> Say:
    missing = _no_pool(view)
    return false(missing.reason, missing.message)
