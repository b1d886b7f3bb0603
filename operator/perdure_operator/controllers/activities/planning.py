"""What an Activity needs now. Pure: the same view gives the same plan, and every view gives one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from perdure.protocol.placements import Placement
from perdure.protocol.verbs import ActivityOptions, StartRequest
from perdure_operator.cluster import ACTIVITIES
from perdure_operator.controllers.actions import (
    Action,
    ImportRun,
    Plan,
    StartRun,
    set_finalizer,
    write_status,
)
from perdure_operator.controllers.activities.batches import to_batch_options
from perdure_operator.controllers.activities.observing import ActivityView, activity_id
from perdure_operator.controllers.activities.reporting import write_report
from perdure_operator.controllers.activities.shown import plan_shown
from perdure_operator.controllers.catching_up import plan_catching_up
from perdure_operator.controllers.expiring import expire, time_to_live
from perdure_operator.controllers.placements.planning import plan_attempts, plan_leftovers
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.controllers.steering import IDENTITY, cancel_run
from perdure_operator.controllers.values import to_optional_millis, to_payloads, to_wire_policy
from perdure_operator.controllers.verdicts import seen_again
from perdure_operator.model import Activity, WorkerPool

RESYNC = timedelta(hours=1)
"""How often an open activity is looked at though nothing was heard: against lost wake-ups."""

GRACE = timedelta(seconds=30)
"""How long a deleted Activity waits for its attempt to end; asked to end it has been."""

CONTAINER = "container"
"""What an activity without a type is called at the server."""

SERVER_GRACE = timedelta(minutes=10)
"""How long a deleted Activity waits for a server that is away."""


def plan_activity(view: ActivityView) -> Plan:
    """Return what to do."""
    if view.activity.spec.scheduled_by is not None:
        return plan_shown(view)
    if view.activity.metadata.is_being_deleted:
        return _plan_deletion(view)
    if view.is_over:
        return _plan_finished(view)
    match view.run:
        case RunFacts():
            return _plan_run(view, view.run)
        case NoRun.MISSING:
            return _plan_without_run(view)
        case NoRun.NOT_ASKED:
            actions = [] if view.activity.status.run_id else write_report(view)
            return Plan(actions=actions, blocked=view.server_away or "the server was not asked")


def _plan_without_run(view: ActivityView) -> Plan:
    spec, refused = view.activity.spec, view.start_refused
    if view.is_lost:
        rebuilding = view.rebuilding
        if isinstance(rebuilding, ImportRun):
            return Plan(actions=[rebuilding], look_at_once=True)
        return Plan(actions=write_report(view), again=RESYNC)
    if spec.cancel:
        return Plan(actions=write_report(view), look_at_once=True)
    if refused is not None:
        # The id may become free; a wrong request stays wrong until the spec changes.
        blocked = refused.message if refused.id_in_use else ""
        return Plan(actions=write_report(view), blocked=blocked, again=RESYNC)
    if view.pool is None and not view.is_container:
        return Plan(actions=write_report(view), again=RESYNC)
    return Plan(
        actions=[*_finalizer(view, wanted=True), _start(view.activity, view.pool)],
        look_at_once=True,
    )


def _plan_run(view: ActivityView, run: RunFacts) -> Plan:
    if view.is_behind and (forward := plan_catching_up(run, view.rebuilding)):
        return Plan(actions=forward, look_at_once=True)
    if view.activity.spec.cancel and not run.description.cancel_requested and not run.is_closed:
        return Plan(actions=[cancel_run(run, "spec.cancel was set")], look_at_once=True)
    attempts = _plan_pods(view)
    if attempts.actions:
        return attempts
    if run.is_closed:
        return Plan(actions=write_report(view), look_at_once=True)
    actions = [*write_report(view), *_finalizer(view, wanted=True)]
    return replace(attempts, actions=actions, again=min(RESYNC, attempts.again or RESYNC))


def _plan_pods(view: ActivityView) -> Plan:
    """Return what the pods of its attempts need, if it has pods of its own."""
    if view.attempts is not None:
        return plan_attempts(view.attempts)
    return Plan() if view.seen is None else plan_leftovers(view.seen)


def _plan_finished(view: ActivityView) -> Plan:
    activity = view.activity
    if isinstance(view.run, RunFacts) and view.is_behind:
        # It is open in an older store, and must not be done again.
        forward = plan_catching_up(view.run, view.rebuilding)
        if forward:
            return Plan(actions=forward, look_at_once=True)
    seen = seen_again(activity.status, activity.metadata.generation)
    actions = [
        *_finalizer(view, wanted=False),
        *write_status(ACTIVITIES, activity.metadata, before=activity.status, after=seen),
    ]
    left = time_to_live(
        activity.spec.ttl_seconds_after_finished, activity.status.completion_time, view.now
    )
    return expire(ACTIVITIES, activity.metadata, Plan(actions=actions), left=left)


def _plan_deletion(view: ActivityView) -> Plan:
    let_go = Plan(actions=_finalizer(view, wanted=False))
    if view.is_over or not view.has_finalizer:
        return let_go
    match view.run:
        case NoRun.MISSING | RunFacts(is_closed=True):
            return let_go
        case RunFacts() if not view.run.description.cancel_requested:
            cancel = cancel_run(view.run, "the Activity was deleted")
            return Plan(actions=[cancel], look_at_once=True)
        case RunFacts():
            return _wait_for_end(view) or let_go
        case NoRun.NOT_ASKED:
            if _time_left(view, SERVER_GRACE) is None:
                return let_go
            return Plan(blocked=view.server_away or "the server was not asked yet")


def _wait_for_end(view: ActivityView) -> Plan | None:
    left = _time_left(view, GRACE)
    if left is None:
        return None
    attempts = _plan_pods(view)
    if attempts.actions:
        return attempts
    return Plan(actions=write_report(view), again=min(left, attempts.again or left))


def _time_left(view: ActivityView, grace: timedelta) -> timedelta | None:
    asked = view.activity.metadata.deletion_timestamp
    assert asked is not None
    left = asked + grace - view.now
    return left if left > timedelta() else None


def _finalizer(view: ActivityView, *, wanted: bool) -> list[Action]:
    if wanted == view.has_finalizer:
        return []
    return [set_finalizer(ACTIVITIES, view.activity.metadata, present=wanted)]


def _start(activity: Activity, pool: WorkerPool | None) -> StartRun:
    spec, timeouts = activity.spec, activity.spec.timeouts
    return StartRun(
        request=StartRequest(
            namespace=activity.metadata.namespace,
            workflow_id=activity_id(activity.metadata.name),
            workflow_type=spec.type or CONTAINER,
            task_queue="" if pool is None else pool.task_queue,
            kind="activity",
            input=to_payloads(spec.input or ()),
            activity=ActivityOptions(
                schedule_to_close_timeout=to_optional_millis(timeouts.schedule_to_close),
                schedule_to_start_timeout=to_optional_millis(timeouts.schedule_to_start),
                start_to_close_timeout=to_optional_millis(timeouts.start_to_close),
                heartbeat_timeout=to_optional_millis(timeouts.heartbeat),
                retry_policy=to_wire_policy(spec.retry_policy),
                placement=_placement(activity),
                **to_batch_options(spec),
            ),
            request_id=activity.metadata.uid,
            identity=IDENTITY,
            watched=True,
        )
    )


def _placement(activity: Activity) -> Placement | None:
    template = activity.spec.template
    if template is None:
        return None
    return Placement(
        container=activity.spec.type is None,
        template=template.model_dump(mode="json", exclude_defaults=True),
        worker_pool=activity.spec.worker_pool or "",
    )
