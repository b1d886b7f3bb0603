"""An Activity's status, from what was observed: its phase, a reason a condition, the facts."""

from __future__ import annotations

from typing import Any

from perdure.protocol.events import ActivityStarted
from perdure.protocol.failures import ApplicationInfo, TimeoutInfo
from perdure.protocol.verbs import PendingActivity, RunStatus
from perdure_operator.cluster import ACTIVITIES
from perdure_operator.controllers.actions import Action, write_status
from perdure_operator.controllers.activities.batches import (
    describe_ended,
    facts_of_batch,
    has_begun,
    open_batch,
)
from perdure_operator.controllers.activities.ends import ItemCounts
from perdure_operator.controllers.activities.observing import ActivityView, activity_id
from perdure_operator.controllers.histories import build_checkpoint
from perdure_operator.controllers.placements.judging import judge_attempt
from perdure_operator.controllers.rebuilding import Lost
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.values import (
    NotShownError,
    describe_failure,
    to_failure,
    to_json,
    to_time,
)
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
from perdure_operator.model import ActivityPhase, ActivityStatus, Reason
from perdure_operator.model.workflow import RESULT_LIMIT_BYTES

_NOT_REGISTERED = "NotFoundError"
"""The type of the failure by which workers refuse an activity; errors of users may have it, too."""

_CLOSED: dict[RunStatus, tuple[ActivityPhase, Reason, str]] = {
    RunStatus.COMPLETED: (ActivityPhase.SUCCEEDED, Reason.SUCCEEDED, "it has returned"),
    RunStatus.FAILED: (ActivityPhase.FAILED, Reason.EXECUTION_FAILED, "it has failed for good"),
    RunStatus.CANCELED: (ActivityPhase.CANCELED, Reason.CANCELED, "it was canceled"),
    RunStatus.TERMINATED: (ActivityPhase.CANCELED, Reason.TERMINATED, "it was terminated"),
    RunStatus.TIMED_OUT: (
        ActivityPhase.TIMED_OUT,
        Reason.TIMED_OUT,
        "it did not end within its timeout",
    ),
}


def report(view: ActivityView) -> ActivityStatus:
    """Return the status that the Activity should have."""
    before, metadata = view.activity.status, view.activity.metadata
    phase, verdict = _judge(view)
    fields: dict[str, Any] = {
        "phase": phase,
        "observed_generation": metadata.generation,
        "conditions": verdict.conditions(
            before.conditions, generation=metadata.generation, now=view.now
        ),
        "activity_id": activity_id(view.activity.metadata.name),
    }
    if isinstance(view.run, RunFacts):
        fields |= facts_of_batch(view.activity.spec, before, view.run, view.counts)
        fields |= _of_run(view.run)
        fields |= of_attempt(view)
    if phase.is_final and "completion_time" not in fields:
        fields["completion_time"] = before.completion_time or view.now
    return before.model_copy(update=fields)


def write_report(view: ActivityView) -> list[Action]:
    """Return the action that writes it, or nothing when it is written already."""
    activity = view.activity
    return write_status(ACTIVITIES, activity.metadata, before=activity.status, after=report(view))


# --- judging -----------------------------------------------------------------------------------


def _judge(view: ActivityView) -> tuple[ActivityPhase, Verdict]:
    match view.run:
        case RunFacts(is_closed=True):
            return _judge_closed(view.run, view.counts)
        case RunFacts():
            return _judge_open(view, view.run)
        case NoRun():
            return _judge_without_run(view)


def _judge_closed(run: RunFacts, counts: ItemCounts | None) -> tuple[ActivityPhase, Verdict]:
    status = run.description.status
    failure = run.result.failure if run.result else None
    if failure is not None and isinstance(failure.info, TimeoutInfo):
        status = RunStatus.TIMED_OUT
    phase, reason, message = _CLOSED[status]
    if counts is not None and phase is ActivityPhase.SUCCEEDED:
        message = describe_ended(counts)
    if failure is not None:
        message = f"{message}: {describe_failure(failure)}"
    return phase, finished(reason, message, well=phase is ActivityPhase.SUCCEEDED)


def _judge_open(view: ActivityView, run: RunFacts) -> tuple[ActivityPhase, Verdict]:
    open_, batch = _open_activity(run), open_batch(run)
    is_running = open_ is not None and open_.started is not None
    if batch is not None:
        is_running = has_begun(batch)
    phase = ActivityPhase.RUNNING if is_running else ActivityPhase.PENDING
    if view.activity.metadata.is_being_deleted:
        reason, message = Reason.DELETING, "the Activity is deleted once it has ended"
    elif run.description.cancel_requested:
        reason, message = Reason.CANCELING, "it was asked to end, and may clean up first"
    elif is_running:
        what = "a worker has it" if batch is None else "workers have had items of it"
        reason, message = Reason.RUNNING, what
    else:
        reason, message = Reason.PENDING, "it waits for a worker, or for its next attempt"
    stalled = _unknown_type(open_)
    if view.pool is None and not view.is_container:
        stalled = _no_pool(view)
    own = judge_attempt(view.attempts) if view.attempts is not None else None
    if own is not None and reason in {Reason.RUNNING, Reason.PENDING}:
        phase = ActivityPhase.RUNNING if own.is_running else ActivityPhase.PENDING
        reason, message, stalled = own.reason, own.message, own.stalled or stalled
    return phase, Verdict(
        ready=false(reason, message),
        reconciling=true(reason, message),
        stalled=stalled,
        workers=None if view.seen is not None else _workers(view),
    )


def _unknown_type(open_: PendingActivity | None) -> Say | None:
    """Say that workers had it and do not know its type; it is tried again on whichever comes."""
    failure = open_.last_failure if open_ is not None else None
    if open_ is None or failure is None or not isinstance(failure.info, ApplicationInfo):
        return None
    is_refusal = failure.message.startswith(f"Activity {open_.activity_type!r} is not registered")
    if failure.info.type != _NOT_REGISTERED or not is_refusal:
        return None
    return true(Reason.TYPE_NOT_REGISTERED, failure.message)


def _judge_without_run(view: ActivityView) -> tuple[ActivityPhase, Verdict]:
    spec, refused = view.activity.spec, view.start_refused
    what = "it has not been started yet"
    if view.is_lost:
        phase = view.activity.status.phase or ActivityPhase.PENDING
        return phase, _lost(view)
    if refused is not None:
        reason = Reason.ID_IN_USE if refused.id_in_use else Reason.INVALID_SPEC
        return ActivityPhase.PENDING, pending(what, true(reason, refused.message))
    if view.server_away:
        say = true(Reason.SERVER_UNAVAILABLE, view.server_away)
        return ActivityPhase.PENDING, Verdict(ready=false(say.reason, say.message), reconciling=say)
    if spec.cancel:
        message = "it was canceled before it was started"
        return ActivityPhase.CANCELED, finished(Reason.CANCELED, message, well=False)
    stalled = _no_pool(view) if view.pool is None and not view.is_container else None
    return ActivityPhase.PENDING, pending(what, stalled)


def _lost(view: ActivityView) -> Verdict:
    rebuilding = view.rebuilding
    why = f", and {rebuilding.why}" if isinstance(rebuilding, Lost) else ""
    message = (
        f"the store has no run {view.activity.status.run_id} of it any more{why}: restore the "
        "store, or delete the Activity and apply it again to run it anew"
    )
    return Verdict(
        ready=false(Reason.STATE_LOST, message), stalled=true(Reason.STATE_LOST, message)
    )


def _no_pool(view: ActivityView) -> Say:
    return no_pool(view.activity.spec.worker_pool, view.activity.metadata.namespace)


def _workers(view: ActivityView) -> Say | None:
    if view.pool is None:
        missing = _no_pool(view)
        return false(missing.reason, missing.message)
    return workers_of(view.pool)


# --- facts -------------------------------------------------------------------------------------


def _of_run(run: RunFacts) -> dict[str, Any]:
    described, open_ = run.description, _open_activity(run)
    fields: dict[str, Any] = {
        "run_id": described.run_id,
        "start_time": to_time(described.started),
        "completion_time": None if described.closed is None else to_time(described.closed),
        "checkpoint": build_checkpoint(run.events) if run.has_whole_history else None,
    }
    if open_ is not None:
        fields["attempt"] = open_.attempt
        fields["worker"] = open_.identity or None
        fields["last_failure"] = to_failure(open_.last_failure) if open_.last_failure else None
    last = _last_attempt(run)
    if last is not None:
        fields["attempt"] = last.attempt
        fields["worker"] = last.identity or None
        fields["last_failure"] = to_failure(last.last_failure) if last.last_failure else None
    return fields | _of_result(run)


def _of_result(run: RunFacts) -> dict[str, Any]:
    if run.result is None:
        return {}
    if run.result.failure is not None:
        return {"last_failure": to_failure(run.result.failure)}
    try:
        return {"result": to_json(run.result.result, limit=RESULT_LIMIT_BYTES)}
    except NotShownError:
        return {"result_omitted": True}


def of_attempt(view: ActivityView) -> dict[str, Any]:
    """Return what the status says of the pod of the attempt that is under way."""
    if view.attempts is None:
        return {"job": None} if view.seen is not None else {}
    own = judge_attempt(view.attempts)
    return {"job": own.job, "worker": own.worker or view.activity.status.worker}


def _open_activity(run: RunFacts) -> PendingActivity | None:
    return next(iter(run.description.pending_activities), None)


def _last_attempt(run: RunFacts) -> ActivityStarted | None:
    started = (each.event for each in reversed(run.events))
    return next((event for event in started if isinstance(event, ActivityStarted)), None)
