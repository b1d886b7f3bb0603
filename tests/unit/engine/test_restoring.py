"""A run from a history that comes from elsewhere: what begins anew, what keeps its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import RunRef
from perdure_operator.engine import attempts, decisions, restoring
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.recording import record
from perdure_operator.engine.transitions import RUN_TIMEOUT_SEQ, Timer
from support.runs import NOW, REF, Driver, begun_by, schedule

LATER = NOW + 3_600_000
History = list[HistoryEvent]


def half_done() -> Driver:
    """Charged; a timer of two hours and an activity that a worker runs are open."""
    driver = Driver(run_timeout=7_200_000)
    driver.progress(schedule(1), assign=begun_by("w1"))
    charged = attempts.complete(driver.run.activities[1], None)
    driver.record(decisions.close_activity(driver.run, charged))
    driver.progress(
        cmd.StartTimer(seq=2, delay=5_000), schedule(3), assign=begun_by("w1", driver.now)
    )
    return driver


def test_open_activities_begin_anew_and_timers_keep_their_time() -> None:
    driver = half_done()
    run, transition = restoring.restore(REF, driver.history, LATER)

    assert (run.digest, run.through, run.scheduled) == (
        driver.run.digest,
        driver.run.through,
        driver.run.scheduled,
    )
    assert transition.expected == 0
    assert transition.events == tuple(driver.history)
    [activity] = transition.put_activities
    assert (activity.seq, activity.attempt, activity.is_started) == (3, 0, False)
    assert (activity.scheduled, activity.visible) == (LATER, LATER)
    assert set(transition.put_timers) == {
        Timer(seq=2, fires=NOW + 5_000),
        Timer(seq=RUN_TIMEOUT_SEQ, fires=NOW + 7_200_000),
    }


def test_a_restored_run_goes_on_from_where_it_was() -> None:
    driver = half_done()
    run, _ = restoring.restore(REF, driver.history, LATER)
    ours = record(run, decisions.fire_timer(run, 2, LATER), LATER)
    theirs = driver.record(decisions.fire_timer(driver.run, 2, driver.now))
    assert [each.event for each in ours.events] == [each.event for each in theirs.events]
    assert ours.expected == 1


def test_an_activity_that_was_to_stop_is_canceled_and_not_run_again() -> None:
    driver = half_done()
    driver.record(decisions.fire_timer(driver.run, 2, driver.now + 5_000))
    driver.progress(cmd.RequestCancelActivity(seq=3))
    run, transition = restoring.restore(REF, driver.history, LATER)

    [activity] = transition.put_activities
    assert activity.wake == LATER
    assert activity.visible > LATER
    became = attempts.look(run.scheduled[3], activity, LATER)
    assert became == attempts.Closed((ev.ActivityCanceled(seq=3),))


def test_a_closed_run_is_simply_there() -> None:
    driver = half_done()
    driver.record([ev.WorkflowTerminated(reason="enough")])
    run, transition = restoring.restore(REF, driver.history, LATER, watched=True)

    assert run.is_closed
    assert transition.row.closed == driver.run.closed_at
    assert transition.row.watched
    assert not transition.put_activities
    assert not transition.put_timers


def nothing(_history: History) -> History:
    return []


def headless(history: History) -> History:
    return [replace(each, id=each.id - 1) for each in history[1:]]


def with_a_gap(history: History) -> History:
    return [*history[:3], *history[4:]]


def going_back_in_time(history: History) -> History:
    return [replace(history[0], time=LATER), *history[1:]]


def with_a_result_of_nothing(history: History) -> History:
    return [*history, replace(history[-1], id=len(history) + 1, event=ev.TimerFired(seq=99))]


def too_long(history: History) -> History:
    return [*history, *[history[-1]] * decisions.MAX_EVENTS]


@pytest.mark.parametrize(
    "spoil",
    [nothing, headless, with_a_gap, going_back_in_time, with_a_result_of_nothing, too_long],
    ids=lambda spoil: spoil.__name__,
)
def test_a_broken_history_makes_no_run(spoil: Callable[[History], History]) -> None:
    with pytest.raises(BrokenHistoryError):
        restoring.restore(REF, spoil(half_done().history), LATER)


def test_a_history_stays_with_its_run_id() -> None:
    with pytest.raises(BrokenHistoryError, match="is that of run run-1"):
        restoring.restore(RunRef("default", "order-42", "another"), half_done().history, LATER)
