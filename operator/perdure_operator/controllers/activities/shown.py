"""Activities that show what a run scheduled: they start nothing, and follow the run.

One of a batch counts its items. One with a pod of its own has its attempts run here, as a
standalone one has. Deleting it deletes the pod of the attempt that is under way, which is then
lost: the run tries again, and the Activity is there again. One that was shown for being open for
long is gone once it is not any more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never

from perdure.protocol import events as ev
from perdure.protocol.failures import TimeoutInfo
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import PendingActivity, PendingBatch
from perdure_operator.cluster import ACTIVITIES
from perdure_operator.controllers.actions import (
    Action,
    Plan,
    delete_object,
    set_finalizer,
    write_status,
)
from perdure_operator.controllers.activities.batches import (
    describe_ended,
    facts_of_ended,
    facts_of_open,
    has_begun,
)
from perdure_operator.controllers.activities.ends import ActivityEnd
from perdure_operator.controllers.activities.observing import ActivityView
from perdure_operator.controllers.expiring import expire, time_to_live
from perdure_operator.controllers.placements.judging import judge_attempt
from perdure_operator.controllers.placements.names import shown_name
from perdure_operator.controllers.placements.planning import (
    plan_abandoned,
    plan_attempts,
    plan_leftovers,
)
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.values import (
    NotShownError,
    describe_failure,
    to_failure,
    to_json,
    to_time,
)
from perdure_operator.controllers.verdicts import (
    Verdict,
    false,
    finished,
    pending,
    seen_again,
    true,
)
from perdure_operator.model import ActivityPhase, ActivityStatus, Reason
from perdure_operator.model.workflow import RESULT_LIMIT_BYTES

RESYNC = timedelta(hours=1)
"""How often an open one is looked at though nothing was heard: against lost wake-ups."""

_NOT_OURS = (
    "scheduledBy is set by the operator, on Activities that it makes: leave it out to have the "
    "activity run"
)
_RUN_IS_GONE = "the store has no run of it any more"
_RUN_ENDED = "the run ended before it did"


def plan_shown(view: ActivityView) -> Plan:
    """Return what to do."""
    if not _is_ours(view):
        return _plan_strange(view)
    if view.activity.metadata.is_being_deleted:
        return _plan_deletion(view)
    if view.is_over:
        return _plan_finished(view)
    match view.run:
        case RunFacts():
            return _plan_run(view)
        case NoRun.MISSING:
            return Plan(actions=_write(view, _lost(view)), again=RESYNC)
        case NoRun.NOT_ASKED:
            return Plan(blocked=view.server_away or "the server was not asked")
        case _:
            assert_never(view.run)


def _is_ours(view: ActivityView) -> bool:
    shown = view.activity.spec.scheduled_by
    assert shown is not None
    wanted = shown_name(shown.workflow_id, shown.run_id, shown.seq)
    return view.activity.metadata.name == wanted


def _plan_strange(view: ActivityView) -> Plan:
    if view.activity.metadata.is_being_deleted:
        return Plan(actions=_finalizer(view, wanted=False))
    verdict = pending("it is not acted on", true(Reason.INVALID_SPEC, _NOT_OURS))
    return Plan(actions=_write(view, _status(view, ActivityPhase.PENDING, verdict)))


def _plan_finished(view: ActivityView) -> Plan:
    activity = view.activity
    seen = seen_again(activity.status, activity.metadata.generation)
    plan = Plan(actions=[*_finalizer(view, wanted=False), *_write(view, seen)])
    left = time_to_live(
        activity.spec.ttl_seconds_after_finished, activity.status.completion_time, view.now
    )
    return expire(ACTIVITIES, activity.metadata, plan, left=left)


def _plan_run(view: ActivityView) -> Plan:
    batch = view.shown_batch
    if batch is not None:
        return Plan(actions=_write(view, _report_batch(view, batch)), again=RESYNC)
    if view.open_activity is None:
        return _plan_ended(view)
    attempts = plan_attempts(view.attempts) if view.attempts is not None else Plan()
    if attempts.actions:
        return Plan(actions=[*_finalizer(view, wanted=True), *attempts.actions], look_at_once=True)
    return replace(
        attempts,
        actions=_write(view, _report_open(view)),
        again=min(RESYNC, attempts.again or RESYNC),
    )


def _plan_ended(view: ActivityView) -> Plan:
    left = plan_leftovers(view.seen) if view.seen is not None else Plan()
    if left.actions:
        return left
    if view.seen is None and not view.is_batch:
        return Plan(actions=[delete_object(ACTIVITIES, view.activity.metadata)])
    return Plan(actions=_write(view, _report_ended(view)), look_at_once=True)


def _plan_deletion(view: ActivityView) -> Plan:
    let_go = Plan(actions=_finalizer(view, wanted=False))
    if not view.has_finalizer or view.is_over:
        return let_go
    if view.run is NoRun.NOT_ASKED:
        return Plan(blocked=view.server_away or "the server was not asked")
    if view.attempts is not None:
        return plan_abandoned(view.attempts) or let_go
    left = plan_leftovers(view.seen) if view.seen is not None else Plan()
    return left if left.actions else let_go


def _finalizer(view: ActivityView, *, wanted: bool) -> list[Action]:
    if wanted == view.has_finalizer:
        return []
    return [set_finalizer(ACTIVITIES, view.activity.metadata, present=wanted)]


# --- the status --------------------------------------------------------------------------------


def _write(view: ActivityView, status: ActivityStatus) -> list[Action]:
    activity = view.activity
    return write_status(ACTIVITIES, activity.metadata, before=activity.status, after=status)


def _status(
    view: ActivityView, phase: ActivityPhase, verdict: Verdict, **fields: Any
) -> ActivityStatus:
    before, metadata = view.activity.status, view.activity.metadata
    conditions = verdict.conditions(before.conditions, generation=metadata.generation, now=view.now)
    changes = {"phase": phase, "observed_generation": metadata.generation, "conditions": conditions}
    return before.model_copy(update={**changes, **fields})


def _report_open(view: ActivityView) -> ActivityStatus:
    open_ = view.open_activity
    assert open_ is not None
    own = judge_attempt(view.attempts) if view.attempts is not None else None
    if own is None:
        is_running, stalled = open_.started is not None, None
        reason = Reason.RUNNING if is_running else Reason.PENDING
        message = "a worker has it" if is_running else "it waits for its next attempt"
    else:
        is_running, stalled, reason, message = own.is_running, own.stalled, own.reason, own.message
    if open_.state == "CancelRequested":
        reason, message = Reason.CANCELING, "it was asked to end, and may clean up first"
    phase = ActivityPhase.RUNNING if is_running else ActivityPhase.PENDING
    verdict = Verdict(
        ready=false(reason, message), reconciling=true(reason, message), stalled=stalled
    )
    fields = _of_open(open_)
    if own is not None:
        fields["job"] = own.job
        fields["worker"] = own.worker or view.activity.status.worker
    return _status(view, phase, verdict, **fields)


def _report_batch(view: ActivityView, batch: PendingBatch) -> ActivityStatus:
    is_running = has_begun(batch)
    reason = Reason.RUNNING if is_running else Reason.PENDING
    message = "workers have had items of it" if is_running else "it waits for a worker"
    phase = ActivityPhase.RUNNING if is_running else ActivityPhase.PENDING
    verdict = Verdict(ready=false(reason, message), reconciling=true(reason, message))
    fields: dict[str, Any] = {
        "activity_id": batch.activity_id,
        "start_time": to_time(batch.scheduled),
    }
    fields |= facts_of_open(view.activity.status, batch)
    return _status(view, phase, verdict, **fields)


def _of_open(open_: PendingActivity) -> dict[str, Any]:
    return {
        "activity_id": open_.activity_id,
        "attempt": open_.attempt,
        "start_time": to_time(open_.scheduled),
        "worker": open_.identity or None,
        "last_failure": to_failure(open_.last_failure) if open_.last_failure else None,
    }


def _lost(view: ActivityView) -> ActivityStatus:
    verdict = Verdict(
        ready=false(Reason.STATE_LOST, _RUN_IS_GONE), stalled=true(Reason.STATE_LOST, _RUN_IS_GONE)
    )
    return _status(view, view.activity.status.phase or ActivityPhase.PENDING, verdict)


def _report_ended(view: ActivityView) -> ActivityStatus:
    end, shown = view.end, view.activity.spec.scheduled_by
    assert shown is not None
    fields: dict[str, Any] = {"job": None}
    if view.counts is not None:
        fields |= facts_of_ended(shown.items or 0, view.counts)
    if end is None:
        verdict = finished(Reason.CANCELED, _RUN_ENDED, well=False)
        return _status(view, ActivityPhase.CANCELED, verdict, completion_time=view.now, **fields)
    fields["completion_time"] = to_time(end.time)
    if end.started is not None:
        fields["attempt"] = end.started.attempt
    return _judge_end(view, end, fields)


def _judge_end(view: ActivityView, end: ActivityEnd, fields: dict[str, Any]) -> ActivityStatus:
    match end.event:
        case ev.BatchCompleted():
            said = "its items have ended" if view.counts is None else describe_ended(view.counts)
            verdict = finished(Reason.SUCCEEDED, said, well=True)
            return _status(view, ActivityPhase.SUCCEEDED, verdict, **fields)
        case ev.ActivityCompleted(result=result):
            verdict = finished(Reason.SUCCEEDED, "it has returned", well=True)
            return _status(view, ActivityPhase.SUCCEEDED, verdict, **fields, **_of_result(result))
        case ev.ActivityCanceled() | ev.BatchCanceled():
            verdict = finished(Reason.CANCELED, "it was canceled", well=False)
            return _status(view, ActivityPhase.CANCELED, verdict, **fields)
        case (
            ev.ActivityFailed(failure=failure)
            | ev.ActivityTimedOut(failure=failure)
            | ev.BatchFailed(failure=failure)
        ):
            is_late = isinstance(failure.info, TimeoutInfo)
            reason = Reason.TIMED_OUT if is_late else Reason.EXECUTION_FAILED
            phase = ActivityPhase.TIMED_OUT if is_late else ActivityPhase.FAILED
            message = f"it has failed for good: {describe_failure(failure)}"
            verdict = finished(reason, message, well=False)
            return _status(view, phase, verdict, **fields | {"last_failure": to_failure(failure)})
        case _:
            assert_never(end.event)


def _of_result(result: Payload | None) -> dict[str, Any]:
    try:
        return {"result": to_json(result, limit=RESULT_LIMIT_BYTES)}
    except NotShownError:
        return {"result_omitted": True}
