"""How an open activity goes through its attempts: timeouts, retries, heartbeats, cancellation.

Pure functions over :class:`OpenActivity`. Each answers what has become of the activity: either
a new :class:`OpenActivity` (it stays open: another attempt, or the same one told something) or
:class:`Closed` with the events that close it. Nothing here writes an event before the close.
The rules are Temporal's: timeouts of one attempt (start-to-close, heartbeat) are retried under
the policy, timeouts of the whole (schedule-to-close, schedule-to-start) are not, and neither is
an attempt that could not begin before schedule-to-close passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perdure.protocol import events as ev
from perdure.protocol.events import Event
from perdure.protocol.failures import (
    ApplicationInfo,
    CanceledInfo,
    Failure,
    RetryState,
    TimeoutInfo,
    TimeoutKind,
)
from perdure.protocol.payloads import Millis, Payload, Payloads, RetryPolicy
from perdure_operator.engine.transitions import NEVER, OpenActivity


@dataclass(frozen=True, slots=True)
class Closed:
    """The activity is over: these events say how."""

    events: tuple[Event, ...]


def schedule(scheduled: ev.ActivityScheduled, now: Millis) -> OpenActivity:
    """Return the activity as it begins: waiting for its first attempt."""
    return OpenActivity(
        seq=scheduled.seq,
        task_queue=scheduled.task_queue,
        scheduled=now,
        visible=now,
        wake=_wake_waiting(scheduled, now, now),
    )


def begin(
    scheduled: ev.ActivityScheduled,
    activity: OpenActivity,
    *,
    worker_id: str,
    identity: str,
    now: Millis,
) -> OpenActivity:
    """Give the next attempt to a worker."""
    begun = msgspec.structs.replace(
        activity,
        attempt=activity.attempt + 1,
        worker_id=worker_id,
        identity=identity,
        started=now,
        heartbeat=None,
    )
    return _rearm(scheduled, begun)


def beat(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, details: Payloads, now: Millis
) -> OpenActivity:
    """The running attempt is alive."""
    return _rearm(
        scheduled, msgspec.structs.replace(activity, heartbeat=now, heartbeat_details=details)
    )


def revive(scheduled: ev.ActivityScheduled, activity: OpenActivity, since: Millis) -> OpenActivity:
    """Give a running attempt, which nobody listened to before ``since``, time to be heard."""
    if not activity.is_started or not scheduled.heartbeat_timeout:
        return activity
    assert activity.started is not None
    heard = max(activity.heartbeat or activity.started, since)
    return _rearm(scheduled, msgspec.structs.replace(activity, heartbeat=heard))


def complete(activity: OpenActivity, result: Payload | None) -> Closed:
    """The running attempt returned."""
    return Closed(
        (_started(activity), ev.ActivityCompleted(seq=activity.seq, result=result)),
    )


def fail(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, failure: Failure, now: Millis
) -> OpenActivity | Closed:
    """The running attempt raised."""
    if isinstance(failure.info, CanceledInfo) and activity.cancel_requested:
        return Closed(
            (
                _started(activity),
                ev.ActivityCanceled(seq=activity.seq, details=failure.info.details),
            )
        )
    again = now + _delay(scheduled.retry_policy, activity, failure)
    state = _why_not_retried(scheduled, activity, failure, again)
    if state is None:
        return _retry(scheduled, activity, failure, again)
    return Closed(
        (
            _started(activity),
            ev.ActivityFailed(seq=activity.seq, failure=failure, retry_state=state),
        )
    )


def lose_worker(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, now: Millis, why: str = ""
) -> OpenActivity | Closed:
    """The worker of the running attempt is gone; the activity itself has done nothing wrong.

    It is tried again at once where the policy has attempts left.
    """
    gone = f"worker lost: {activity.identity or activity.worker_id} was gone before it reported"
    failure = _timeout(TimeoutKind.HEARTBEAT, why or gone, activity.heartbeat_details)
    return _time_out_attempt(scheduled, activity, failure, again=now)


def request_cancel(activity: OpenActivity) -> OpenActivity | Closed:
    """Ask it to stop: at once while no attempt runs, else the worker must be told."""
    if not activity.is_started:
        return Closed((ev.ActivityCanceled(seq=activity.seq),))
    return msgspec.structs.replace(activity, cancel_requested=True)


def look(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, now: Millis
) -> OpenActivity | Closed:
    """Return what has become of it by ``now``: the same, or a timeout has passed."""
    if activity.cancel_requested and not activity.is_started:
        # It came from another store, and whoever ran it there was told to stop.
        return Closed((ev.ActivityCanceled(seq=activity.seq),))
    whole = _expires(scheduled, activity)
    if whole is not None and now >= whole:
        return _time_out(
            activity,
            _timeout(TimeoutKind.SCHEDULE_TO_CLOSE, "schedule-to-close timeout passed", ()),
            RetryState.TIMEOUT,
        )
    if not activity.is_started:
        limit = scheduled.schedule_to_start_timeout
        if limit and activity.attempt == 0 and now >= activity.scheduled + limit:
            return _time_out(
                activity,
                _timeout(TimeoutKind.SCHEDULE_TO_START, _nobody_began(scheduled, activity), ()),
                RetryState.TIMEOUT,
            )
        return _rearm_waiting(scheduled, activity, now)
    assert activity.started is not None
    if scheduled.start_to_close_timeout and (
        now >= activity.started + scheduled.start_to_close_timeout
    ):
        failure = _timeout(TimeoutKind.START_TO_CLOSE, "start-to-close timeout passed", ())
        again = now + _delay(scheduled.retry_policy, activity, failure)
        return _time_out_attempt(scheduled, activity, failure, again)
    beaten = activity.heartbeat or activity.started
    if scheduled.heartbeat_timeout and now >= beaten + scheduled.heartbeat_timeout:
        failure = _timeout(
            TimeoutKind.HEARTBEAT, "heartbeat timeout passed", activity.heartbeat_details
        )
        again = now + _delay(scheduled.retry_policy, activity, failure)
        return _time_out_attempt(scheduled, activity, failure, again)
    return activity


def retry_delay(policy: RetryPolicy, attempt: int) -> Millis:
    """Return how long to wait after the failure of ``attempt`` (from 1)."""
    cap = policy.maximum_interval or 100 * policy.initial_interval
    try:
        delay = policy.initial_interval * policy.backoff_coefficient ** (attempt - 1)
    except OverflowError:
        return cap
    return round(min(cap, delay))


def _time_out_attempt(
    scheduled: ev.ActivityScheduled,
    activity: OpenActivity,
    failure: Failure,
    again: Millis,
) -> OpenActivity | Closed:
    if activity.cancel_requested:
        # Nobody wants it any more, and whoever could have said so is gone.
        return Closed((_started(activity), ev.ActivityCanceled(seq=activity.seq)))
    state = _why_not_retried(scheduled, activity, failure, again)
    if state is None:
        return _retry(scheduled, activity, failure, again)
    return _time_out(activity, failure, state)


def _time_out(activity: OpenActivity, failure: Failure, state: RetryState) -> Closed:
    began = (_started(activity),) if activity.is_started else ()
    return Closed(
        (*began, ev.ActivityTimedOut(seq=activity.seq, failure=failure, retry_state=state))
    )


def _nobody_began(scheduled: ev.ActivityScheduled, activity: OpenActivity) -> str:
    if scheduled.placement is not None and scheduled.placement.container:
        return "no operator began its container in time"
    return f"no worker of task queue {activity.task_queue!r} began it in time"


def _why_not_retried(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, failure: Failure, again: Millis
) -> RetryState | None:
    """Return why there is no other attempt, which would begin at ``again``, if there is none."""
    policy = scheduled.retry_policy
    if activity.cancel_requested:
        return RetryState.CANCEL_REQUESTED
    if _is_final(failure, policy):
        return RetryState.NON_RETRYABLE_FAILURE
    if policy.maximum_attempts and activity.attempt >= policy.maximum_attempts:
        return RetryState.MAXIMUM_ATTEMPTS_REACHED
    whole = _expires(scheduled, activity)
    if whole is not None and again >= whole:
        return RetryState.TIMEOUT
    return None


def _is_final(failure: Failure, policy: RetryPolicy) -> bool:
    match failure.info:
        case ApplicationInfo(non_retryable=True):
            return True
        case ApplicationInfo(type=type_):
            return type_ in policy.non_retryable_error_types
        case TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE):
            return "TemporalTimeout:StartToClose" in policy.non_retryable_error_types
        case TimeoutInfo(timeout=TimeoutKind.HEARTBEAT):
            return "TemporalTimeout:Heartbeat" in policy.non_retryable_error_types
    return False


def _delay(policy: RetryPolicy, activity: OpenActivity, failure: Failure) -> Millis:
    if isinstance(failure.info, ApplicationInfo) and failure.info.next_retry_delay is not None:
        return failure.info.next_retry_delay
    return retry_delay(policy, activity.attempt)


def _retry(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, failure: Failure, again: Millis
) -> OpenActivity:
    visible = min(NEVER, again)
    return msgspec.structs.replace(
        activity,
        visible=visible,
        worker_id="",
        identity="",
        started=None,
        heartbeat=None,
        last_failure=failure,
        wake=_wake_waiting(scheduled, activity.scheduled, visible),
    )


def _expires(scheduled: ev.ActivityScheduled, activity: OpenActivity) -> Millis | None:
    limit = scheduled.schedule_to_close_timeout
    return min(NEVER, activity.scheduled + limit) if limit else None


def _wake_waiting(scheduled: ev.ActivityScheduled, since: Millis, visible: Millis) -> Millis:
    limits = [visible]
    if scheduled.schedule_to_close_timeout:
        limits.append(since + scheduled.schedule_to_close_timeout)
    return min(limits)


def _rearm_waiting(
    scheduled: ev.ActivityScheduled, activity: OpenActivity, now: Millis
) -> OpenActivity:
    """Once visible it waits for a worker: only the timeouts of the whole can wake it."""
    if now < activity.visible:
        return activity
    limits = [NEVER]
    if scheduled.schedule_to_close_timeout:
        limits.append(activity.scheduled + scheduled.schedule_to_close_timeout)
    if scheduled.schedule_to_start_timeout and activity.attempt == 0:
        limits.append(activity.scheduled + scheduled.schedule_to_start_timeout)
    return msgspec.structs.replace(activity, wake=min(limits))


def _rearm(scheduled: ev.ActivityScheduled, activity: OpenActivity) -> OpenActivity:
    """While an attempt runs, the nearest of its timeouts wakes it."""
    assert activity.started is not None
    limits = [NEVER]
    if scheduled.start_to_close_timeout:
        limits.append(activity.started + scheduled.start_to_close_timeout)
    if scheduled.heartbeat_timeout:
        limits.append((activity.heartbeat or activity.started) + scheduled.heartbeat_timeout)
    if scheduled.schedule_to_close_timeout:
        limits.append(activity.scheduled + scheduled.schedule_to_close_timeout)
    return msgspec.structs.replace(activity, wake=min(limits))


def _started(activity: OpenActivity) -> ev.ActivityStarted:
    assert activity.started is not None
    return ev.ActivityStarted(
        seq=activity.seq,
        attempt=activity.attempt,
        started=activity.started,
        identity=activity.identity,
        last_failure=activity.last_failure,
    )


def _timeout(kind: TimeoutKind, message: str, details: Payloads) -> Failure:
    return Failure(message=message, info=TimeoutInfo(timeout=kind, last_heartbeat_details=details))
