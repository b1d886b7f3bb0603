"""``spec.retries``: a run that has ended goes on, once for each id in the list.

An id is settled when the status tells what became of it. One that is seen while the run has not
ended is settled then and there: a manifest that is applied anew, with the retries of its past,
must not have the new run retried when it fails for the first time. The request's id is made of
the object's uid and the retry's id, so that a retry which was asked for by an operator that then
died is found again.
"""

from __future__ import annotations

from perdure.protocol.retries import RetryPoint, RetryResponse
from perdure.protocol.verbs import RetryRequest
from perdure_operator.controllers.actions import RetryRefused, RetryRun, RunRetried
from perdure_operator.controllers.rebuilding import Lost
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.steering import IDENTITY
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.model import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    Retry,
    RetryFrom,
    RetryOutcome,
    RetryRecord,
    Workflow,
    clear_condition,
    set_condition,
)

POINTS = {RetryFrom.FAILED_STEP: RetryPoint.FAILED_STEP, RetryFrom.START: RetryPoint.START}

_NAMED_EFFECTS = 5


def wants_retry(workflow: Workflow) -> bool:
    """Tell whether there is a retry that the status does not tell of."""
    return bool(_unsettled(workflow))


def next_retry(view: WorkflowView) -> Retry | None:
    """Return the retry that is to be asked for now, if there is one and nothing holds it."""
    settled = {each.id for each in settled_retries(view)}
    wanted = (each for each in view.workflow.spec.retries if each.id not in settled)
    return next(wanted, None) if view.is_over and not _held_by(view.workflow) else None


def retry_run(view: WorkflowView, retry: Retry) -> RetryRun:
    """Return the retry of the run that the status tells of."""
    metadata = view.workflow.metadata
    return RetryRun(
        request=RetryRequest(
            namespace=metadata.namespace,
            workflow_id=view.workflow.workflow_id,
            run_id=view.workflow.status.run_id or "",
            point=POINTS[retry.from_],
            request_id=f"{metadata.uid}/{retry.id}",
            reason=f"retry {retry.id!r} of the Workflow",
            identity=IDENTITY,
        ),
        retry_id=retry.id,
    )


def settled_retries(view: WorkflowView) -> tuple[RetryRecord, ...]:
    """Return what became of the retries, in the order of the spec."""
    records = {each.id: each for each in view.workflow.status.retries}
    for outcome in view.outcomes:
        match outcome:
            case RunRetried(retry_id=id_, answer=answer):
                records[id_] = RetryRecord(
                    id=id_,
                    outcome=RetryOutcome.RETRIED,
                    run_id=answer.run_id,
                    message=_describe(answer),
                )
            case RetryRefused(retry_id=id_, message=message):
                records[id_] = _refused(id_, message)
    for retry in _unsettled(view.workflow):
        if retry.id not in records and (record := _needless(view, retry)) is not None:
            records[retry.id] = record
    return tuple(records[each.id] for each in view.workflow.spec.retries if each.id in records)


def tell_of_retries(view: WorkflowView, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return the conditions with the one that says whether the last retry made a run."""
    said = _say(view)
    if said is None:
        return clear_condition(conditions, ConditionType.RETRIED)
    status, reason, message = said
    generation = view.workflow.metadata.generation
    return set_condition(
        conditions, ConditionType.RETRIED, status, reason, message, generation, view.now
    )


def _say(view: WorkflowView) -> tuple[ConditionStatus, Reason, str] | None:
    records = [
        each for each in settled_retries(view) if each.outcome is not RetryOutcome.NOT_NEEDED
    ]
    waiting = len(view.workflow.spec.retries) > len(settled_retries(view))
    held = _held_by(view.workflow)
    if waiting and held and view.is_over:
        message = f"{held} is set: take it back, and the run is retried"
        return ConditionStatus.FALSE, Reason.RETRY_HELD, message
    if not records:
        return None
    last = records[-1]
    message = f"retry {last.id!r}: {last.message}"
    if last.outcome is RetryOutcome.RETRIED:
        return ConditionStatus.TRUE, Reason.RETRIED, message
    return ConditionStatus.FALSE, Reason.RETRY_REFUSED, message


def _unsettled(workflow: Workflow) -> list[Retry]:
    settled = {each.id for each in workflow.status.retries}
    return [each for each in workflow.spec.retries if each.id not in settled]


def _held_by(workflow: Workflow) -> str:
    """Return what would end or hold the new run at once."""
    if workflow.spec.cancel:
        return "spec.cancel"
    return "spec.suspend" if workflow.spec.suspend else ""


def _needless(view: WorkflowView, retry: Retry) -> RetryRecord | None:
    """Return what becomes of a retry that nobody is asked for."""
    if view.is_over:
        return _refused(retry.id, _why_gone(view)) if _is_gone(view) else None
    is_open = isinstance(view.run, RunFacts) and not view.run.is_closed
    if not is_open and (view.run is not NoRun.MISSING or view.is_lost):
        return None
    return RetryRecord(
        id=retry.id,
        outcome=RetryOutcome.NOT_NEEDED,
        message="the run had not ended when this was seen",
    )


def _is_gone(view: WorkflowView) -> bool:
    if not view.workflow.status.run_id:
        return True
    return view.run is NoRun.MISSING and isinstance(view.rebuilding, Lost)


def _why_gone(view: WorkflowView) -> str:
    run_id = view.workflow.status.run_id
    if not run_id:
        return "it ended before a run was started: delete the Workflow and apply it again"
    assert isinstance(view.rebuilding, Lost)
    return f"the server has no run {run_id} any more, and {view.rebuilding.why}"


def _refused(id_: str, message: str) -> RetryRecord:
    return RetryRecord(id=id_, outcome=RetryOutcome.REFUSED, message=message)


def _describe(answer: RetryResponse) -> str:
    began = f"goes on from event {answer.event} of run {answer.retried_run_id}"
    if not answer.effects:
        return began
    names = [each.name for each in answer.effects[:_NAMED_EFFECTS]]
    more = len(answer.effects) - len(names)
    others = f" and {more} more" if more else ""
    return f"{began}, which afterwards also did {', '.join(names)}{others}"
