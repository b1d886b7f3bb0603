"""What may follow what, and what it makes of a run."""

from __future__ import annotations

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.messages import StepResult
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.runs import Run
from support.runs import NOW, REF, Driver, schedule

STARTED = ev.WorkflowStarted(workflow_type="Order", task_queue="q", run_id="run-1")
TIMER = ev.TimerStarted(seq=1, delay=5, fires=NOW + 5)
SCHEDULED = ev.ActivityScheduled(seq=1, activity_id="1", activity_type="a", task_queue="q")
FAILURE = Failure(message="no")


def folded(*events: ev.Event) -> Run:
    return fold(Run(ref=REF), [HistoryEvent(n, NOW, e) for n, e in enumerate(events, 1)])


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([TIMER], id="anything-before-the-start"),
        pytest.param([STARTED, STARTED], id="started-twice"),
        pytest.param([STARTED, ev.TimerFired(seq=1)], id="fired-before-started"),
        pytest.param(
            [STARTED, TIMER, ev.TimerFired(seq=1), ev.TimerFired(seq=1)], id="fired-twice"
        ),
        pytest.param([STARTED, TIMER, TIMER], id="number-taken-twice"),
        pytest.param([STARTED, TIMER, ev.TimerCanceled(seq=2)], id="cancelled-never-asked-for"),
        pytest.param([STARTED, ev.ActivityCompleted(seq=1)], id="completed-before-scheduled"),
        pytest.param([STARTED, ev.ActivityCancelRequested(seq=1)], id="cancel-of-nothing"),
        pytest.param(
            [STARTED, SCHEDULED, ev.ActivityCompleted(seq=1), ev.ActivityCompleted(seq=1)],
            id="completed-twice",
        ),
        pytest.param([STARTED, ev.WorkflowCompleted(), TIMER], id="anything-after-the-close"),
        pytest.param(
            [STARTED, ev.WorkflowCompleted(), ev.WorkflowFailed(failure=FAILURE)], id="two-ends"
        ),
        pytest.param(
            [STARTED, ev.WorkflowTaskCompleted(through=2, started=1)], id="told-the-future"
        ),
        pytest.param(
            [
                STARTED,
                ev.SignalReceived(name="s"),
                ev.WorkflowTaskCompleted(through=2, started=1),
                ev.StepCompleted(seq=1, name="s", through=1),
            ],
            id="told-backwards",
        ),
    ],
)
def test_an_impossible_history_is_refused(events: list[ev.Event]) -> None:
    with pytest.raises(BrokenHistoryError):
        folded(*events)


def test_a_gap_in_the_numbers_is_refused() -> None:
    with pytest.raises(BrokenHistoryError, match="event 3 recorded behind event 1"):
        fold(Run(ref=REF), [HistoryEvent(1, NOW, STARTED), HistoryEvent(3, NOW, TIMER)])


def test_every_kind_of_event_has_an_evolution() -> None:
    from typing import get_args

    from perdure_operator.engine.evolution import _EVOLUTIONS

    assert set(_EVOLUTIONS) == set(get_args(ev.Event))


@pytest.mark.parametrize(
    ("closing", "status"),
    [
        (ev.WorkflowCompleted(), RunStatus.COMPLETED),
        (ev.WorkflowFailed(failure=FAILURE), RunStatus.FAILED),
        (ev.WorkflowCanceled(), RunStatus.CANCELED),
        (ev.WorkflowTerminated(), RunStatus.TERMINATED),
        (ev.WorkflowTimedOut(), RunStatus.TIMED_OUT),
    ],
    ids=lambda each: getattr(each, "value", type(each).__name__),
)
def test_a_closed_run_waits_for_nothing(closing: ev.Event, status: RunStatus) -> None:
    run = folded(STARTED, TIMER, ev.SignalReceived(name="s"), closing)
    assert run.status is status
    assert run.closed_at == NOW
    assert not run.timers
    assert not run.needs_task
    assert run.current_step == ""


def test_a_new_run_needs_its_code_run() -> None:
    assert folded(STARTED).needs_task


def test_a_told_run_needs_nothing() -> None:
    assert not folded(STARTED, ev.WorkflowTaskCompleted(through=1, started=NOW)).needs_task


def test_a_busy_run_needs_its_worker() -> None:
    run = folded(STARTED, ev.WorkflowTaskCompleted(through=1, started=NOW, busy=True))
    assert run.needs_task


@pytest.mark.parametrize(
    "news",
    [
        ev.SignalReceived(name="s"),
        ev.CancelRequested(),
        ev.StepCompleted(seq=9, name="s"),
        ev.StepFailed(seq=9, name="s", failure=FAILURE),
    ],
    ids=ev.event_name,
)
def test_news_needs_the_code_run_again(news: ev.Event) -> None:
    run = folded(STARTED, ev.WorkflowTaskCompleted(through=1, started=NOW), news)
    assert run.needs_task
    assert run.last_resolution == 3


def test_a_steps_boundary_tells_through_its_event() -> None:
    run = folded(STARTED, ev.StepCompleted(seq=1, name="charge", through=1, started=NOW))
    assert (run.through, run.last_resolution) == (1, 2)


def test_a_failed_task_is_remembered_until_the_code_runs() -> None:
    failed = ev.WorkflowTaskFailed(cause="WorkflowError", failure=FAILURE)
    run = folded(STARTED, failed)
    assert run.task_failure == failed
    run = folded(STARTED, failed, ev.WorkflowTaskCompleted(through=1, started=NOW))
    assert run.task_failure is None


@pytest.mark.parametrize(
    ("events", "step"),
    [
        pytest.param([TIMER], "timer", id="a-timer"),
        pytest.param(
            [ev.TimerStarted(seq=1, delay=1, fires=2, summary="wait-for-warehouse")],
            "wait-for-warehouse",
            id="a-timer-with-a-summary",
        ),
        pytest.param(
            [
                TIMER,
                SCHEDULED.__class__(
                    **{**{f: getattr(SCHEDULED, f) for f in SCHEDULED.__struct_fields__}, "seq": 2}
                ),
            ],
            "a",
            id="an-activity-before-a-timer",
        ),
    ],
)
def test_the_current_step_is_what_the_run_waits_for(events: list[ev.Event], step: str) -> None:
    assert folded(STARTED, *events).current_step == step


def test_the_digest_depends_on_every_event() -> None:
    one, other = folded(STARTED, TIMER), folded(STARTED, ev.SignalReceived(name="s"))
    assert one.digest != other.digest
    assert len(one.digest) == 32
    assert one.history_bytes > 0


def test_a_run_is_the_fold_of_its_history() -> None:
    driver = Driver()
    driver.progress(schedule(1), cmd.StartTimer(seq=2, delay=5), done=False)
    driver.progress(steps=(StepResult(seq=3, name="s"),), told=False, done=False)
    again = driver.folded()
    assert again.row() == driver.run.row().__class__(
        **{
            f: getattr(driver.run.row(), f)
            for f in driver.run.row().__struct_fields__
            if f != "version"
        },
        version=0,
    )
