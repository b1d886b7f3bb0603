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

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from perdure.protocol.failures import CanceledInfo, Failure
from perdure.protocol.payloads import Payloads
from perdure.protocol.verbs import (
    PendingActivity,
    ReportActivityRequest,
    TakeActivityRequest,
    TakeActivityResponse,
)
from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import (
    AttemptRefused,
    AttemptTaken,
    CreateObject,
    ObjectRefused,
    Outcome,
    Plan,
    ReportAttempt,
    TakeAttempt,
)
from perdure_operator.controllers.placements import outcomes as ends
from perdure_operator.controllers.placements.attempts import PodsSeen, started_late
from perdure_operator.controllers.placements.names import job_name
from perdure_operator.controllers.placements.templates import (
    ENV_BYTES,
    Attempt,
    Given,
    build_container_job,
    build_worker_job,
)
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.values import NotShownError, to_json, to_time
from perdure_operator.model import Activity

START_LIMIT = timedelta(minutes=10)
"""How long a pod may be kept from starting, where scheduleToStart says nothing."""

SETTLED = timedelta(seconds=5)
"""A worker's pod that ended so long ago has reported what it had, or never will."""

LEAVING_INTERVAL = timedelta(seconds=2)
"""How soon a pod that is told to stop is looked at again, though its end is told."""

REFUSED_INTERVAL = timedelta(seconds=30)
"""How soon a Job that was refused is tried again: a quota may have room by then."""

TOLD_TO_WAIT = timedelta(seconds=1)
"""At least between two times that an attempt is asked for."""

MAX_INPUT_BYTES = 200 * 1024
"""As :data:`perdure.protocol.placements.MAX_CONTAINER_INPUT_BYTES`, which the server checks."""

NOTHING = Plan()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """An activity with its own pod and what there is of its attempts, at one moment."""

    activity: Activity
    run: RunFacts
    open_: PendingActivity
    seen: PodsSeen
    now: datetime
    outcomes: tuple[Outcome, ...] = ()

    @property
    def name(self) -> str:
        """The name of the Job of the attempt that is under way, or is next."""
        metadata, run_id = self.activity.metadata, self.run.description.run_id
        return job_name(metadata.name, run_id, self.open_.seq, self.open_.attempt)

    @property
    def identity(self) -> str:
        """Who has an attempt that is taken here, as people see it."""
        return f"job/{self.name}"

    @property
    def attempt(self) -> Attempt:
        """What the Job is made for."""
        described = self.run.description
        return Attempt(
            activity=self.activity,
            name=self.name,
            workflow_id=described.workflow_id,
            run_id=described.run_id,
            seq=self.open_.seq,
            number=self.open_.attempt,
        )

    @property
    def is_started(self) -> bool:
        """Whether the attempt has begun."""
        return self.open_.started is not None

    @property
    def is_taken(self) -> bool:
        """Whether the running attempt was taken here."""
        return self.open_.identity == self.identity

    @property
    def is_container(self) -> bool:
        """Whether no worker runs it."""
        return self.activity.spec.type is None

    @property
    def is_deleted(self) -> bool:
        """Whether its Job was there and is no more."""
        return self.activity.status.job == self.name and self.seen.job(self.open_.attempt) is None

    @property
    def taken(self) -> TakeActivityResponse | None:
        """The running attempt, with the right to report it, when it was just taken."""
        answers = (each.answer for each in self.outcomes if isinstance(each, AttemptTaken))
        return next((each for each in answers if each.attempt == self.open_.attempt), None)

    @property
    def start_limit(self) -> timedelta:
        """How long its pod may be kept from starting."""
        return self.activity.spec.timeouts.schedule_to_start or START_LIMIT


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
        return _report(view, ends.Lost(why="its Activity was deleted, and its pod with it"))
    return None


# --- before the attempt has begun --------------------------------------------------------------


def _plan_waiting(view: AttemptView) -> Plan:
    if view.run.is_suspended or view.open_.state == "CancelRequested":
        return NOTHING
    wait = _time_until_next(view)
    if wait is not None:
        return Plan(again=wait)
    return _take(view) if view.is_container else _plan_worker(view)


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
    pod = view.seen.pod(view.open_.attempt)
    if pod is not None and pod.trouble is not None:
        late = started_late(job, pod.trouble, view.now, view.start_limit.total_seconds())
        return _take(view) if late else _look_when_late(view)
    if not job.is_over or job.facts.finished is None:
        return NOTHING
    settled = job.facts.finished + SETTLED - view.now
    return Plan(again=settled) if settled > timedelta() else _take(view)


def _make_worker(view: AttemptView) -> Plan:
    if _refusal(view) is not None:
        return Plan(again=REFUSED_INTERVAL)
    if view.seen.pool is None or not view.open_.own_queue:
        return NOTHING
    job = build_worker_job(
        view.attempt,
        view.seen.pool,
        view.seen.defaults,
        view.seen.code,
        queue=view.open_.own_queue,
    )
    return Plan(actions=[CreateObject(kind=JOBS, manifest=job)], look_at_once=True)


def _take(view: AttemptView) -> Plan:
    described = view.run.description
    request = TakeActivityRequest(
        namespace=described.namespace,
        workflow_id=described.workflow_id,
        run_id=described.run_id,
        seq=view.open_.seq,
        identity=view.identity,
    )
    return Plan(actions=[TakeAttempt(request=request)], look_at_once=True)


# --- an attempt that is taken here -------------------------------------------------------------


def _plan_taken(view: AttemptView) -> Plan:
    number = view.open_.attempt
    end = view.seen.outcome(number)
    if end is not None:
        return _report(view, end)
    job, pod = view.seen.job(number), view.seen.pod(number)
    if view.open_.state == "CancelRequested":
        return _plan_canceled(view)
    if job is None:
        return _plan_without_job(view)
    if not view.is_container:
        return _report_worker(view)
    if job.is_leaving:
        return Plan(again=LEAVING_INTERVAL)
    if pod is not None and pod.trouble is not None:
        late = started_late(job, pod.trouble, view.now, view.start_limit.total_seconds())
        return _report(view, late) if late else _look_when_late(view)
    return NOTHING


def _plan_canceled(view: AttemptView) -> Plan:
    """Have the container told to stop, and say so once it has."""
    job, pod = view.seen.job(view.open_.attempt), view.seen.pod(view.open_.attempt)
    if job is not None and not job.is_leaving:
        return Plan(actions=[job.delete()], look_at_once=True)
    if job is not None or pod is not None:
        return Plan(again=LEAVING_INTERVAL)
    canceled = Failure(message="its container was stopped", info=CanceledInfo())
    return _report(view, ends.Failed(failure=canceled))


def _plan_without_job(view: AttemptView) -> Plan:
    if view.seen.pod(view.open_.attempt) is not None:
        # Its Job was deleted, and it stops: only then another one may begin.
        return Plan(again=LEAVING_INTERVAL)
    if view.is_deleted or not view.is_container:
        return _report(view, ends.Lost(why=f"Job {view.name} was deleted"))
    refused = _refusal(view)
    if refused is not None and refused.is_invalid:
        message = f"its Job is refused, so the template must be mended: {refused.message}"
        return _report(view, ends.Failed(failure=ends.build_failure(message, retry=False)))
    if refused is not None:
        return Plan(again=REFUSED_INTERVAL)
    taken = view.taken
    return _take(view) if taken is None else _make_container(view, taken)


def _make_container(view: AttemptView, taken: TakeActivityResponse) -> Plan:
    try:
        arguments = _as_list(taken.input, limit=MAX_INPUT_BYTES)
    except NotShownError as error:
        message = f"a container takes its input as JSON of at most 200 KiB, and this is: {error}"
        return _report(view, ends.Failed(failure=ends.build_failure(message, retry=False)))
    given = Given(token=taken.token, arguments=arguments, heartbeat=_heartbeat(taken))
    job = build_container_job(view.attempt, view.seen.defaults, given)
    return Plan(actions=[CreateObject(kind=JOBS, manifest=job)], look_at_once=True)


def _heartbeat(taken: TakeActivityResponse) -> str:
    """Return what the attempt before said last, if a container can read it."""
    if not taken.heartbeat_details:
        return ""
    try:
        return _as_list(taken.heartbeat_details, limit=ENV_BYTES)
    except NotShownError:
        return ""


def _as_list(values: Payloads, *, limit: int) -> str:
    return msgspec.json.encode([to_json(each, limit=limit) for each in values]).decode()


def _report_worker(view: AttemptView) -> Plan:
    """Say of a worker that took nothing why that is so."""
    pod = view.seen.pod(view.open_.attempt)
    if pod is None or pod.trouble is None:
        return _report(view, ends.Lost(why="its pod was late to start"))
    return _report(view, ends.Failed(failure=ends.build_failure(pod.trouble.message)))


def _report(view: AttemptView, end: ends.Outcome) -> Plan:
    taken = view.taken
    if taken is None:
        return _take(view)
    return Plan(
        actions=[ReportAttempt(request=_request(taken.token, _as_reported(view, end)))],
        look_at_once=True,
    )


def _as_reported(view: AttemptView, end: ends.Outcome) -> ends.Outcome:
    """Return an end as the activity's: a worker that left well without its task did not do it."""
    if isinstance(end, ends.Completed) and not view.is_container:
        message = "its worker left without taking the activity: is it one that the code registers?"
        return ends.Failed(failure=ends.build_failure(message))
    return end


def _request(token: str, end: ends.Outcome) -> ReportActivityRequest:
    match end:
        case ends.Completed(result=result):
            return ReportActivityRequest(token=token, result=result)
        case ends.Failed(failure=failure):
            return ReportActivityRequest(token=token, failure=failure)
        case ends.Lost(why=why):
            return ReportActivityRequest(token=token, lost=why)
        case _:
            assert_never(end)


def _look_when_late(view: AttemptView) -> Plan:
    job = view.seen.job(view.open_.attempt)
    if job is None or job.facts.started is None:
        return NOTHING
    return Plan(again=max(timedelta(), job.facts.started + view.start_limit - view.now))


def _refusal(view: AttemptView) -> ObjectRefused | None:
    refused = (each for each in view.outcomes if isinstance(each, ObjectRefused))
    return next((each for each in refused if each.kind == JOBS), None)
