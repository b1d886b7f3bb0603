"""What the attempts of an activity with its own pod need now. Pure.

**A container.** The attempt is taken (which the server records), then its Job is made, then its
pod's end is reported with the attempt's token, and only then is the Job deleted. Each of these may
be interrupted and is done again: taking gives the attempt that runs, the Job's name is taken, a
report of what is over changes nothing. So an attempt has one pod. A Job that was there and is gone
was deleted by somebody: that attempt is lost, and no second pod of it is made.

**A worker of its own.** The Job is made as soon as an attempt waits for it; the rest is between
that worker and the server. When the pod ends or cannot start without having taken the attempt, the
attempt is taken here instead and reported.
"""

from __future__ import annotations

from datetime import timedelta

from perdure.protocol.failures import CanceledInfo, Failure
from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import (
    AttemptRefused,
    AttemptTaken,
    CreateObject,
    Plan,
)
from perdure_operator.controllers.placements import outcomes as ends
from perdure_operator.controllers.placements.attempts import PodsSeen, started_late
from perdure_operator.controllers.placements.steps import make_container, report, take
from perdure_operator.controllers.placements.templates import build_worker_job
from perdure_operator.controllers.placements.views import AttemptView
from perdure_operator.controllers.pools.pods import time_to_miss_pod
from perdure_operator.controllers.values import to_time

SETTLED = timedelta(seconds=5)
"""A worker's pod that ended so long ago has reported what it had, or never will."""

LEAVING_INTERVAL = timedelta(seconds=2)
"""How soon a pod that is told to stop is looked at again, though its end is told."""

REFUSED_INTERVAL = timedelta(seconds=30)
"""How soon a Job that was refused is tried again: a quota may have room by then."""

TOLD_TO_WAIT = timedelta(seconds=1)
"""At least between two times that an attempt is asked for."""

NOTHING = Plan()


def plan_attempts(view: AttemptView) -> Plan:
    """Return what to do for the attempts of an activity that is open."""
    stale = [
        job.delete()
        for job in view.seen.jobs
        if job.attempt != view.open_.attempt and not job.is_leaving
    ]
    if stale:
        return Plan(actions=stale, look_at_once=True)
    refused = [each for each in view.outcomes if isinstance(each, AttemptRefused)]
    if refused:
        return Plan(blocked=refused[0].message)
    if not view.is_started:
        return _plan_waiting(view)
    if view.is_container or view.is_taken:
        return _plan_taken(view)
    return NOTHING


def plan_leftovers(seen: PodsSeen) -> Plan:
    """Return what to do once the activity is over."""
    left = [job.delete() for job in seen.jobs if not job.is_leaving]
    return Plan(actions=left, look_at_once=bool(left))


def plan_abandoned(view: AttemptView) -> Plan | None:
    """Return what to do to have no pod any more while the activity is open; None once that is so.

    The attempt that is under way is lost with its pod. Nothing new is begun.
    """
    left = plan_leftovers(view.seen)
    if left.actions:
        return left
    if view.seen.jobs or view.seen.pods:
        return Plan(again=LEAVING_INTERVAL)
    if view.is_started and view.is_container:
        return report(view, ends.Lost(why="its Activity was deleted, and its pod with it"))
    return None


# --- before the attempt has begun --------------------------------------------------------------


def _plan_waiting(view: AttemptView) -> Plan:
    if view.run.is_suspended or view.open_.state == "CancelRequested":
        return NOTHING
    wait = _time_until_next(view)
    if wait is not None:
        return Plan(again=wait)
    return take(view) if view.is_container else _plan_worker(view)


def _time_until_next(view: AttemptView) -> timedelta | None:
    """Return how long the next attempt has to wait, if it has."""
    refusals = [
        each.answer
        for each in view.outcomes
        if isinstance(each, AttemptTaken) and not each.answer.attempt
    ]
    due = refusals[-1].next_attempt if refusals else view.open_.next_attempt
    # To the second, so one more: asked a little late, the answer is yes.
    left = timedelta() if due is None else to_time(due) + timedelta(seconds=1) - view.now
    if refusals:
        return max(left, TOLD_TO_WAIT)
    return left if view.open_.state == "BackingOff" and left > timedelta() else None


def _plan_worker(view: AttemptView) -> Plan:
    job = view.seen.job(view.open_.attempt)
    if job is None:
        return _make_worker(view)
    if view.trouble is not None:
        late = started_late(job, view.trouble, view.now, view.start_limit.total_seconds())
        return take(view) if late else _look_when_late(view)
    if not job.is_over or job.facts.finished is None:
        return Plan(again=time_to_miss_pod(job.facts, view.now))
    settled = job.facts.finished + SETTLED - view.now
    return Plan(again=settled) if settled > timedelta() else take(view)


def _make_worker(view: AttemptView) -> Plan:
    if view.refusal is not None:
        return Plan(again=REFUSED_INTERVAL)
    code, queue = view.seen.code, view.open_.own_queue
    if code is None or not queue:
        return NOTHING
    job = build_worker_job(view.attempt, code, view.seen.defaults, queue=queue)
    return Plan(actions=[CreateObject(kind=JOBS, manifest=job)], look_at_once=True)


# --- an attempt that is taken here -------------------------------------------------------------


def _plan_taken(view: AttemptView) -> Plan:
    number = view.open_.attempt
    end = view.seen.outcome(number)
    if view.open_.state == "CancelRequested":
        return _plan_canceled(view, end)
    if end is not None:
        return report(view, end)
    job = view.seen.job(number)
    if job is None:
        return _plan_without_job(view)
    if not view.is_container:
        return _report_worker(view)
    if job.is_leaving:
        return Plan(again=LEAVING_INTERVAL)
    if view.trouble is not None:
        late = started_late(job, view.trouble, view.now, view.start_limit.total_seconds())
        return report(view, late) if late else _look_when_late(view)
    return Plan(again=time_to_miss_pod(job.facts, view.now))


def _plan_canceled(view: AttemptView, end: ends.Outcome | None) -> Plan:
    """Have the container told to stop, and say so once it has.

    What it says of itself counts: that it is done all the same, or that it had failed before it
    was told. With whatever code it exits once it is told, it did as it was asked.
    """
    job, pod = view.seen.job(view.open_.attempt), view.seen.pod(view.open_.attempt)
    is_told = job is None or job.is_leaving
    if isinstance(end, ends.Completed) or (isinstance(end, ends.Failed) and not is_told):
        return report(view, end)
    if job is not None and not job.is_leaving:
        return Plan(actions=[job.delete()], look_at_once=True)
    if end is None and (job is not None or pod is not None):
        return Plan(again=LEAVING_INTERVAL)
    canceled = Failure(message="its container was stopped", info=CanceledInfo())
    return report(view, ends.Failed(failure=canceled))


def _plan_without_job(view: AttemptView) -> Plan:
    if view.seen.pod(view.open_.attempt) is not None:
        # Its Job was deleted, and it stops: only then another one may begin.
        return Plan(again=LEAVING_INTERVAL)
    if view.is_deleted or not view.is_container:
        return report(view, ends.Lost(why=f"Job {view.name} was deleted"))
    refused = view.refusal
    if refused is not None and refused.is_invalid:
        message = f"its Job is refused, so the template must be mended: {refused.message}"
        return report(view, ends.Failed(failure=ends.build_failure(message, retry=False)))
    if refused is not None:
        return Plan(again=REFUSED_INTERVAL)
    taken = view.taken
    return take(view) if taken is None else make_container(view, taken)


def _report_worker(view: AttemptView) -> Plan:
    """Say of a worker that took nothing why that is so."""
    if view.trouble is None:
        return report(view, ends.Lost(why="its pod was late to start"))
    return report(view, ends.Failed(failure=ends.build_failure(view.trouble.message)))


def _look_when_late(view: AttemptView) -> Plan:
    job = view.seen.job(view.open_.attempt)
    if job is None or job.facts.started is None:
        return NOTHING
    return Plan(again=max(timedelta(), job.facts.started + view.start_limit - view.now))
