"""The verbs by which container activities are run: take, beat, report.

No worker and no session is behind such an attempt. The operator takes it, which is durable before
it is answered and harmless to repeat; whoever has the token then beats and reports, until the
attempt is over. See :mod:`perdure_operator.engine.placing`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.protocol import verbs as vb
from perdure.protocol.events import ActivityScheduled
from perdure.protocol.payloads import Payload
from perdure.protocol.retries import idempotency_key
from perdure_operator.engine import attempts, decisions, placing
from perdure_operator.engine.transitions import OpenActivity
from perdure_operator.server.errors import VerbError, unavailable
from perdure_operator.server.keeping import HotRun, LostError
from perdure_operator.server.limits import oversize, too_large

if TYPE_CHECKING:
    from perdure_operator.server.host import Host

_SECRET_BYTES = 24
_NOT_OURS = "the token is none of an attempt that was taken here"


async def take(host: Host, hot: HotRun, request: vb.TakeActivityRequest) -> vb.TakeActivityResponse:
    """Begin the next attempt, or answer with the one that was taken and runs.

    What has a worker in its own pod may be taken too, while that worker has not: so whoever makes
    the pod can say that it does not come up.

    Raises:
        VerbError: it is over, or has no pod of its own.
    """
    scheduled, activity = await _find(host, hot, request)
    if not activity.is_started:
        if hot.run.is_suspended:
            return vb.TakeActivityResponse()
        if activity.visible > host.now() or activity.cancel_requested:
            return vb.TakeActivityResponse(next_attempt=activity.visible)
        activity = placing.take(
            scheduled,
            activity,
            secret=secrets.token_urlsafe(_SECRET_BYTES),
            identity=request.identity,
            now=host.now(),
        )
        host.dispatcher.drop_activity((hot.run_id, activity.seq))
        host.metrics.observe_wait("activity", host.now() - activity.visible)
        await _change(host, hot, activity)
    elif not placing.is_taken(activity):
        return vb.TakeActivityResponse()
    return _taken(hot, scheduled, activity)


async def _find(
    host: Host, hot: HotRun, request: vb.TakeActivityRequest
) -> tuple[ActivityScheduled, OpenActivity]:
    await host.settle(hot)
    scheduled = hot.run.scheduled.get(request.seq)
    activity = hot.run.activities.get(request.seq)
    if scheduled is None or activity is None:
        if not hot.run.is_closed and request.seq not in hot.run.seqs:
            raise VerbError(
                "NotFound", f"{hot.run.ref.workflow_id!r} has no activity {request.seq}"
            )
        raise VerbError(
            "AlreadyClosed",
            f"activity {request.seq} of {hot.run.ref.workflow_id!r} is over",
            run_id=hot.run_id,
        )
    if scheduled.placement is None:
        raise VerbError(
            "Invalid",
            f"activity {scheduled.activity_type!r} of {hot.run.ref.workflow_id!r} has no pod of "
            f"its own: the workers of task queue {activity.task_queue!r} take it",
        )
    return scheduled, activity


def _taken(
    hot: HotRun, scheduled: ActivityScheduled, activity: OpenActivity
) -> vb.TakeActivityResponse:
    assert activity.started is not None
    return vb.TakeActivityResponse(
        attempt=activity.attempt,
        token=placing.taken_attempt(hot.run_id, activity).token(),
        activity_id=scheduled.activity_id,
        activity_type=scheduled.activity_type,
        placement=scheduled.placement,
        input=scheduled.input,
        scheduled=activity.scheduled,
        started=activity.started,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        heartbeat_details=activity.heartbeat_details,
        cancel_requested=activity.cancel_requested,
        idempotency_key=idempotency_key(hot.run_id, hot.run.start.keys, activity.seq),
    )


async def beat(host: Host, request: vb.BeatActivityRequest) -> vb.BeatActivityResponse:
    """An attempt is alive; say whether it is to stop.

    Raises:
        VerbError: the token is wrong, or its attempt is over.
    """
    details = tuple(to_payload(each) for each in request.details)
    message = oversize(details, "details of a heartbeat")
    if message:
        raise VerbError("TooLarge", message)
    hot, activity = await _running(host, request.token)
    if details == activity.heartbeat_details:
        host.activity_tasks.beat(hot, activity, details)
    else:
        scheduled = hot.run.scheduled[activity.seq]
        await _change(host, hot, attempts.beat(scheduled, activity, details, host.now()))
    return vb.BeatActivityResponse(cancel_requested=activity.cancel_requested)


async def report(host: Host, request: vb.ReportActivityRequest) -> vb.Done:
    """An attempt has ended, durably.

    Raises:
        VerbError: the token is wrong, or its attempt is over.
    """
    hot, activity = await _running(host, request.token)
    became, outcome = _judge(host, hot.run.scheduled[activity.seq], activity, request)
    if activity.started is not None:
        host.metrics.observe_attempt(outcome, host.now() - activity.started)
    await _change(host, hot, became)
    return vb.Done()


async def _change(host: Host, hot: HotRun, became: OpenActivity | attempts.Closed) -> None:
    """Let the activity become this, durably."""
    try:
        if isinstance(became, attempts.Closed):
            await host.keeper.change(hot, decisions.close_activity(hot.run, became))
        else:
            await host.keeper.change(hot, (), attempts_changed=(became,))
    except LostError as error:
        raise unavailable(error) from error


def _judge(
    host: Host,
    scheduled: ActivityScheduled,
    activity: OpenActivity,
    request: vb.ReportActivityRequest,
) -> tuple[OpenActivity | attempts.Closed, str]:
    if request.lost:
        return attempts.lose_worker(scheduled, activity, host.now(), request.lost), "lost"
    failure, result = request.failure, None
    if failure is None and request.result is not None:
        result = to_payload(request.result)
        message = oversize((result,), f"result of activity {scheduled.activity_type!r}")
        failure = too_large(message) if message else None
    if failure is not None:
        return attempts.fail(scheduled, activity, failure, host.now()), "failed"
    return attempts.complete(activity, result), "completed"


async def _running(host: Host, token: str) -> tuple[HotRun, OpenActivity]:
    """Return the attempt that a token is the right to."""
    taken = placing.read_token(token)
    if taken is None:
        raise VerbError("Forbidden", _NOT_OURS)
    if host.keeper.peek(taken.run_id) is None:
        # Before a history is read: whoever asks is not known, and may have made the token up.
        if await host.store.get_run(taken.run_id) is None:
            raise VerbError("Forbidden", _NOT_OURS)
        rows = await host.store.read_activities(taken.run_id)
        _check_token(taken, next((each for each in rows if each.seq == taken.seq), None))
    hot = await host.keeper.get(taken.run_id)
    if hot is None:
        raise VerbError("Damaged", f"the history of run {taken.run_id} cannot be read")
    await host.settle(hot)
    return hot, _check_token(taken, hot.run.activities.get(taken.seq))


def _check_token(taken: placing.TakenAttempt, activity: OpenActivity | None) -> OpenActivity:
    if activity is None or activity.attempt != taken.attempt or not activity.is_started:
        # They learn no more than that.
        raise VerbError(
            "AlreadyClosed",
            f"attempt {taken.attempt} is over: it was reported, timed out or is no longer wanted. "
            "Nothing is recorded for it any more",
        )
    if not taken.opens(activity):
        raise VerbError("Forbidden", _NOT_OURS)
    return activity


def to_payload(value: Any) -> Payload:
    """Return a JSON value as workflow code reads it."""
    return Payload(metadata={"encoding": b"json/plain"}, data=msgspec.json.encode(value))
