"""Activities with a pod of their own: their queue, their tokens, and who hears of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.failures import Failure, TimeoutInfo, TimeoutKind
from perdure.protocol.placements import Placement
from perdure_operator.engine import attempts, placing, restoring
from perdure_operator.engine.attempts import Closed
from perdure_operator.engine.placing import TakenAttempt, read_token
from perdure_operator.engine.transitions import OpenActivity
from support.runs import NOW, REF, Driver, schedule, standalone

CONTAINER = Placement(container=True, template={"image": "busybox"})
OWN_POD = Placement(template={"resources": {"limits": {"cpu": "2"}}})


def scheduled_by(driver: Driver, seq: int = 1) -> ev.ActivityScheduled:
    return driver.run.scheduled[seq]


def taken(driver: Driver, secret: str = "s") -> OpenActivity:
    activity = placing.take(
        scheduled_by(driver), driver.run.activities[1], secret=secret, identity="pod/x", now=NOW
    )
    driver.record([], attempts_changed=(activity,))
    return activity


def test_a_registered_activity_with_its_own_pod_is_dispatched_on_a_queue_of_its_own() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=OWN_POD), schedule(2))
    assert driver.run.activities[1].task_queue == "pod/run-1/1"
    assert scheduled_by(driver).task_queue == "q"  # whose code it is
    assert driver.run.activities[2].task_queue == "q"


def test_a_container_has_no_queue_of_its_own() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    assert driver.run.activities[1].task_queue == "q"
    assert placing.own_queue("run-1", scheduled_by(driver)) == ""


@pytest.mark.parametrize("placement", [CONTAINER, OWN_POD], ids=["container", "own-pod"])
def test_a_run_with_a_placed_activity_is_watched_from_then_on(placement: Placement) -> None:
    driver = Driver()
    assert not driver.run.watched
    transition = driver.progress(schedule(1), schedule(2, placement=placement))
    assert transition.row.watched
    assert driver.folded().watched


def test_a_standalone_activity_with_a_placement_is_watched_from_its_first_commit() -> None:
    driver = standalone(placement=CONTAINER)
    assert driver.transitions[0].row.watched
    assert scheduled_by(driver).placement == CONTAINER


def test_a_restored_run_has_its_queues_again_and_is_watched() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=OWN_POD))
    run, transition = restoring.restore(REF, driver.history, NOW + 5)
    assert run.activities[1].task_queue == "pod/run-1/1"
    assert transition.row.watched


def test_the_placement_comes_through_the_history() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    [recorded] = ev.decode_events(ev.encode_events(driver.history[-1:]))
    assert isinstance(recorded.event, ev.ActivityScheduled)
    assert recorded.event.placement == CONTAINER


def test_an_attempt_that_was_taken_is_told_from_a_workers() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    assert not placing.is_taken(driver.run.activities[1])
    activity = taken(driver)
    assert placing.is_taken(activity)
    assert (activity.attempt, activity.started, activity.identity) == (1, NOW, "pod/x")
    by_worker = attempts.begin(
        scheduled_by(driver), activity, worker_id="default/w", identity="w", now=NOW
    )
    assert not placing.is_taken(by_worker)


def test_only_the_tokens_own_secret_opens_the_attempt() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    activity = taken(driver, secret="right")
    token = placing.taken_attempt("run-1", activity)
    assert token.opens(activity)
    for secret in ("wrong", "right ", "", "Right"):
        assert not TakenAttempt(run_id="run-1", seq=1, attempt=1, secret=secret).opens(activity)
    assert not token.opens(replace(activity, worker_id=""))


@given(
    run_id=st.text(min_size=1, max_size=40),
    seq=st.integers(1, 99_999),
    attempt=st.integers(1, 99_999),
    secret=st.text(alphabet="abcXYZ019-_", min_size=1, max_size=40),
)
def test_a_token_says_what_was_put_into_it(
    run_id: str, seq: int, attempt: int, secret: str
) -> None:
    written = TakenAttempt(run_id=run_id, seq=seq, attempt=attempt, secret=secret)
    assert read_token(written.token()) == written


@pytest.mark.parametrize(
    "token",
    ["", "run-1", "run-1.1.1", ".1.1.s", "run-1.1.1.", "run-1.x.1.s", "run-1.1.-1.s", "r.²...s"],
)
def test_what_is_no_token_is_not_read_as_one(token: str) -> None:
    assert read_token(token) is None


@given(token=st.text(max_size=80))
def test_any_text_is_either_a_token_or_none(token: str) -> None:
    read = read_token(token)
    assert read is None or read.run_id


def test_nobody_in_time_is_said_of_the_operator() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER, schedule_to_start_timeout=1000))
    became = attempts.look(scheduled_by(driver), driver.run.activities[1], NOW + 1000)
    assert isinstance(became, Closed)
    closing = became.events[-1]
    assert isinstance(closing, ev.ActivityTimedOut)
    assert closing.failure.message == "no operator began its container in time"


def test_a_lost_pod_is_no_fault_of_the_activity_and_tried_again_at_once() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    became = attempts.lose_worker(scheduled_by(driver), taken(driver), NOW + 50, "its node is gone")
    assert isinstance(became, OpenActivity)
    assert became.visible == NOW + 50
    assert became.last_failure == Failure(
        message="its node is gone", info=TimeoutInfo(timeout=TimeoutKind.HEARTBEAT)
    )


def test_cancelling_a_taken_attempt_waits_for_its_report() -> None:
    driver = Driver()
    driver.progress(schedule(1, placement=CONTAINER))
    taken(driver)
    driver.progress(cmd.RequestCancelActivity(seq=1))
    assert driver.run.activities[1].cancel_requested
    assert driver.run.activities[1].is_started


def test_after_an_outage_a_running_attempt_has_its_whole_heartbeat_timeout_again() -> None:
    scheduled = ev.ActivityScheduled(
        seq=1,
        activity_id="1",
        activity_type="x",
        task_queue="q",
        heartbeat_timeout=1000,
        start_to_close_timeout=60_000,
    )
    activity = attempts.begin(
        scheduled, attempts.schedule(scheduled, NOW), worker_id="token:s", identity="", now=NOW
    )
    revived = attempts.revive(scheduled, activity, NOW + 30_000)
    assert revived.wake == NOW + 31_000
    assert attempts.look(scheduled, revived, NOW + 30_500) is revived
    # One that was heard later than that, and one without such a timeout, stay as they are.
    heard = attempts.beat(scheduled, activity, (), NOW + 40_000)
    assert attempts.revive(scheduled, heard, NOW + 30_000) == heard
    silent = replace(scheduled, heartbeat_timeout=None)
    assert attempts.revive(silent, activity, NOW + 30_000) is activity
