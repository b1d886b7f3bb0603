"""Attempts: timeouts, retries, heartbeats, cancellation, lost workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.protocol import events as ev
from perdure.protocol.failures import (
    ApplicationInfo,
    CanceledInfo,
    Failure,
    RetryState,
    TimeoutInfo,
    TimeoutKind,
)
from perdure.protocol.payloads import Payload, RetryPolicy
from perdure_operator.engine import attempts
from perdure_operator.engine.attempts import Closed
from perdure_operator.engine.transitions import NEVER, OpenActivity

T = 1_000_000
ERROR = Failure(message="no", info=ApplicationInfo(type="Declined"))
CANCELLED = Failure(message="stopped", info=CanceledInfo())


def activity(**options: object) -> ev.ActivityScheduled:
    return ev.ActivityScheduled(
        **{
            "seq": 1,
            "activity_id": "1",
            "activity_type": "charge",
            "task_queue": "q",
            "start_to_close_timeout": 10_000,
            **options,
        }
    )


def begun(scheduled: ev.ActivityScheduled, now: int = T, attempt: int = 1) -> OpenActivity:
    waiting = attempts.schedule(scheduled, T)
    waiting = replace(waiting, attempt=attempt - 1)
    return attempts.begin(scheduled, waiting, worker_id="w", identity="me", now=now)


def closing(became: OpenActivity | Closed) -> ev.Event:
    assert isinstance(became, Closed)
    return became.events[-1]


def test_the_start_is_written_with_the_end() -> None:
    scheduled = activity()
    became = attempts.complete(begun(scheduled, T + 5), Payload(data=b"1"))
    assert became.events == (
        ev.ActivityStarted(seq=1, attempt=1, started=T + 5, identity="me"),
        ev.ActivityCompleted(seq=1, result=Payload(data=b"1")),
    )


def test_a_failed_attempt_waits_for_the_next() -> None:
    scheduled = activity()
    became = attempts.fail(scheduled, begun(scheduled), ERROR, T + 100)
    assert isinstance(became, OpenActivity)
    assert (became.visible, became.wake, became.attempt) == (T + 1100, T + 1100, 1)
    assert not became.is_started
    assert became.last_failure == ERROR


def test_the_next_attempt_has_the_last_ones_heartbeat() -> None:
    scheduled = activity(heartbeat_timeout=1000)
    alive = attempts.beat(scheduled, begun(scheduled), (Payload(data=b"7"),), T + 500)
    became = attempts.fail(scheduled, alive, ERROR, T + 600)
    assert isinstance(became, OpenActivity)
    again = attempts.begin(scheduled, became, worker_id="x", identity="x", now=T + 2000)
    assert again.heartbeat_details == (Payload(data=b"7"),)
    assert again.attempt == 2
    assert again.wake == T + 3000


@pytest.mark.parametrize(
    ("options", "failure", "attempt", "state"),
    [
        pytest.param(
            {}, replace(ERROR, info=ApplicationInfo(non_retryable=True)), 1,
            RetryState.NON_RETRYABLE_FAILURE, id="non-retryable",
        ),
        pytest.param(
            {"retry_policy": RetryPolicy(non_retryable_error_types=("Declined",))}, ERROR, 1,
            RetryState.NON_RETRYABLE_FAILURE, id="type-not-retried",
        ),
        pytest.param(
            {"retry_policy": RetryPolicy(maximum_attempts=3)}, ERROR, 3,
            RetryState.MAXIMUM_ATTEMPTS_REACHED, id="attempts-used-up",
        ),
        pytest.param(
            {"schedule_to_close_timeout": 1000}, ERROR, 1, RetryState.TIMEOUT,
            id="next-attempt-would-be-too-late",
        ),
    ],
)  # fmt: skip
def test_some_failures_are_final(
    options: dict[str, object], failure: Failure, attempt: int, state: RetryState
) -> None:
    scheduled = activity(**options)
    end = closing(attempts.fail(scheduled, begun(scheduled, attempt=attempt), failure, T + 1))
    assert end == ev.ActivityFailed(seq=1, failure=failure, retry_state=state)


def test_an_error_may_say_when_it_is_tried_again() -> None:
    scheduled = activity()
    failure = Failure(info=ApplicationInfo(next_retry_delay=77))
    became = attempts.fail(scheduled, begun(scheduled), failure, T)
    assert isinstance(became, OpenActivity)
    assert became.visible == T + 77


def test_start_to_close_is_retried() -> None:
    scheduled = activity()
    running = begun(scheduled)
    assert running.wake == T + 10_000
    assert attempts.look(scheduled, running, T + 9_999) is running
    became = attempts.look(scheduled, running, T + 10_000)
    assert isinstance(became, OpenActivity)
    assert became.last_failure is not None
    assert became.last_failure.info == TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)


def test_start_to_close_is_final_when_the_policy_says_so() -> None:
    policy = RetryPolicy(non_retryable_error_types=("TemporalTimeout:StartToClose",))
    scheduled = activity(retry_policy=policy)
    end = closing(attempts.look(scheduled, begun(scheduled), T + 10_000))
    assert isinstance(end, ev.ActivityTimedOut)
    assert end.retry_state is RetryState.NON_RETRYABLE_FAILURE


def test_a_silent_attempt_times_out_with_its_last_details() -> None:
    scheduled = activity(heartbeat_timeout=1000, retry_policy=RetryPolicy(maximum_attempts=1))
    alive = attempts.beat(scheduled, begun(scheduled), (Payload(data=b"7"),), T + 900)
    assert attempts.look(scheduled, alive, T + 1800) is alive
    end = closing(attempts.look(scheduled, alive, T + 1900))
    assert isinstance(end, ev.ActivityTimedOut)
    assert end.failure.info == TimeoutInfo(
        timeout=TimeoutKind.HEARTBEAT, last_heartbeat_details=(Payload(data=b"7"),)
    )


def test_schedule_to_close_ends_a_running_attempt_for_good() -> None:
    scheduled = activity(schedule_to_close_timeout=3000)
    running = begun(scheduled)
    assert running.wake == T + 3000
    end = closing(attempts.look(scheduled, running, T + 3000))
    assert isinstance(end, ev.ActivityTimedOut)
    assert end.failure.info == TimeoutInfo(timeout=TimeoutKind.SCHEDULE_TO_CLOSE)


def test_schedule_to_close_ends_a_waiting_activity_without_a_start() -> None:
    scheduled = activity(schedule_to_close_timeout=3000)
    became = attempts.look(scheduled, attempts.schedule(scheduled, T), T + 3000)
    assert isinstance(became, Closed)
    assert [ev.event_name(each) for each in became.events] == ["ActivityTimedOut"]


def test_schedule_to_start_is_never_retried() -> None:
    scheduled = activity(schedule_to_start_timeout=500)
    waiting = attempts.look(scheduled, attempts.schedule(scheduled, T), T)
    assert isinstance(waiting, OpenActivity)
    assert waiting.wake == T + 500
    end = closing(attempts.look(scheduled, waiting, T + 500))
    assert isinstance(end, ev.ActivityTimedOut)
    assert end.failure.info == TimeoutInfo(timeout=TimeoutKind.SCHEDULE_TO_START)
    assert end.retry_state is RetryState.TIMEOUT


def test_schedule_to_start_does_not_count_between_attempts() -> None:
    scheduled = activity(schedule_to_start_timeout=500)
    became = attempts.fail(scheduled, begun(scheduled), ERROR, T)
    assert isinstance(became, OpenActivity)
    assert isinstance(attempts.look(scheduled, became, T + 60_000), OpenActivity)


def test_an_activity_that_waits_for_a_worker_wakes_nobody() -> None:
    scheduled = activity()
    waiting = attempts.look(scheduled, attempts.schedule(scheduled, T), T)
    assert isinstance(waiting, OpenActivity)
    assert waiting.wake == NEVER


def test_a_lost_worker_is_replaced_at_once() -> None:
    scheduled = activity()
    became = attempts.lose_worker(scheduled, begun(scheduled), T + 50)
    assert isinstance(became, OpenActivity)
    assert became.visible == T + 50
    assert "worker lost: me" in became.last_failure.message


def test_a_lost_worker_is_replaced_though_a_failure_would_have_to_wait_too_long() -> None:
    policy = RetryPolicy(initial_interval=60_000)
    scheduled = activity(schedule_to_close_timeout=60_000, retry_policy=policy)
    became = attempts.lose_worker(scheduled, begun(scheduled), T + 50)
    assert isinstance(became, OpenActivity)
    assert became.visible == T + 50
    late = attempts.lose_worker(scheduled, begun(scheduled), T + 60_000)
    assert isinstance(closing(late), ev.ActivityTimedOut)


def test_a_lost_worker_is_not_replaced_beyond_the_last_attempt() -> None:
    scheduled = activity(retry_policy=RetryPolicy(maximum_attempts=1))
    end = closing(attempts.lose_worker(scheduled, begun(scheduled), T + 50))
    assert isinstance(end, ev.ActivityTimedOut)
    assert end.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED


def test_a_cancelled_activity_closes_when_its_worker_says_so() -> None:
    scheduled = activity()
    asked = attempts.request_cancel(begun(scheduled))
    assert isinstance(asked, OpenActivity)
    assert isinstance(closing(attempts.fail(scheduled, asked, CANCELLED, T)), ev.ActivityCanceled)


def test_being_cancelled_unasked_is_a_failure() -> None:
    scheduled = activity()
    assert isinstance(attempts.fail(scheduled, begun(scheduled), CANCELLED, T), OpenActivity)


def test_a_cancelled_activity_is_not_retried_when_it_fails() -> None:
    scheduled = activity()
    asked = attempts.request_cancel(begun(scheduled))
    assert isinstance(asked, OpenActivity)
    end = closing(attempts.fail(scheduled, asked, ERROR, T))
    assert isinstance(end, ev.ActivityFailed)
    assert end.retry_state is RetryState.CANCEL_REQUESTED


def test_a_cancelled_activity_whose_worker_is_lost_is_over() -> None:
    scheduled = activity()
    asked = attempts.request_cancel(begun(scheduled))
    assert isinstance(asked, OpenActivity)
    assert isinstance(closing(attempts.lose_worker(scheduled, asked, T)), ev.ActivityCanceled)


POLICIES = st.builds(
    RetryPolicy,
    initial_interval=st.integers(1, 10**6),
    backoff_coefficient=st.floats(1, 10),
    maximum_interval=st.integers(0, 10**9),
)


@given(POLICIES, st.integers(1, 2000))
def test_delays_never_shrink_and_never_pass_the_cap(policy: RetryPolicy, attempt: int) -> None:
    cap = policy.maximum_interval or 100 * policy.initial_interval
    delay = attempts.retry_delay(policy, attempt)
    assert delay <= attempts.retry_delay(policy, attempt + 1) <= cap


@given(st.integers(1, 20))
def test_attempts_never_exceed_the_limit(limit: int) -> None:
    scheduled = activity(retry_policy=RetryPolicy(maximum_attempts=limit))
    running: OpenActivity | Closed = attempts.schedule(scheduled, T)
    tries = 0
    while isinstance(running, OpenActivity):
        running = attempts.begin(scheduled, running, worker_id="w", identity="w", now=T)
        tries += 1
        running = attempts.fail(scheduled, running, ERROR, T)
    assert tries == limit
