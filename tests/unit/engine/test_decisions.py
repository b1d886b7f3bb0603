"""Which events an input causes, and what is refused."""

from __future__ import annotations

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.failures import Failure
from perdure.protocol.messages import Activation, StepResult, TaskProgress
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import CancelRequest, SignalRequest, StartRequest, TerminateRequest
from perdure_operator.engine import attempts, decisions
from perdure_operator.engine.errors import RefusedError, RunClosedError
from perdure_operator.engine.transitions import NEVER, RUN_TIMEOUT_SEQ, Timer
from support.runs import NOW, Driver, begun_by, schedule, standalone

TARGET = {"namespace": "default", "workflow_id": "order-42"}
STEP = StepResult(seq=1, name="charge", result=Payload(data=b"1"))


def test_a_step_costs_one_event() -> None:
    driver = Driver()
    driver.progress(steps=(STEP,), done=False)
    assert driver.names == ["WorkflowStarted", "StepCompleted"]
    assert driver.history[1].event.through == 1


def test_steps_that_finish_together_share_a_boundary() -> None:
    driver = Driver()
    driver.progress(steps=(STEP, StepResult(seq=2, name="ship")), done=False)
    assert [each.event.through for each in driver.history[1:]] == [1, 0]


def test_a_failed_step_is_recorded_with_its_failure() -> None:
    driver = Driver()
    failure = Failure(message="declined")
    driver.progress(steps=(StepResult(seq=1, name="s", failure=failure, attempt=3),), done=False)
    assert driver.history[1].event == ev.StepFailed(
        seq=1, name="s", failure=failure, attempt=3, through=1, started=NOW
    )


def test_commands_follow_the_boundary_in_the_order_asked() -> None:
    driver = Driver()
    driver.progress(cmd.StartTimer(seq=1, delay=5), schedule(2), cmd.CancelTimer(seq=1))
    assert driver.names[1:] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "ActivityScheduled",
        "TimerCanceled",
    ]


def test_several_activations_keep_their_boundaries() -> None:
    driver = Driver()
    driver.record([ev.SignalReceived(name="a")])
    report = TaskProgress(
        task=1,
        number=1,
        activations=(Activation(1, NOW), Activation(2, NOW)),
        steps=(STEP,),
    )
    events = decisions.record_progress(driver.run, report, NOW)
    assert [getattr(each, "through", None) for each in events] == [1, 2, 0]


def test_a_report_at_rest_ends_being_busy() -> None:
    driver = Driver()
    driver.progress(cmd.StartTimer(seq=1, delay=5), done=False)
    assert driver.run.busy
    driver.progress(told=False, done=True)
    assert not driver.run.needs_task


def test_an_activity_without_a_queue_goes_to_the_workflows_own() -> None:
    driver = Driver()
    driver.progress(schedule(1))
    assert driver.run.scheduled[1].task_queue == "q"


@pytest.mark.parametrize(
    "command",
    [cmd.CompleteWorkflow(), cmd.FailWorkflow(failure=Failure()), cmd.CancelWorkflow()],
    ids=lambda each: type(each).__name__,
)
def test_an_end_is_refused_while_there_is_news(command: cmd.Command) -> None:
    driver = Driver()
    driver.record([ev.SignalReceived(name="late")])
    report = TaskProgress(
        task=1, number=1, activations=(Activation(1, NOW),), commands=(command,), done=True
    )
    with pytest.raises(RefusedError, match="event 2 happened while the run was ending"):
        decisions.record_progress(driver.run, report, NOW)


def test_the_first_end_wins() -> None:
    driver = Driver()
    driver.progress(cmd.CompleteWorkflow(), cmd.FailWorkflow(failure=Failure()))
    assert driver.names[-1] == "WorkflowCompleted"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param({"activations": (Activation(5, NOW),)}, "does not fit", id="told-the-future"),
        pytest.param(
            {"activations": (Activation(1, NOW), Activation(1, NOW))},
            "does not fit",
            id="told-twice",
        ),
        pytest.param({"commands": (schedule(1),)}, "without the activation", id="no-activation"),
        pytest.param(
            {"activations": (Activation(1, NOW),), "commands": (schedule(1), schedule(1))},
            "taken",
            id="number-twice",
        ),
        pytest.param(
            {"activations": (Activation(1, NOW),), "commands": (cmd.CancelTimer(seq=3),)},
            "never asked for",
            id="cancel-of-nothing",
        ),
    ],
)
def test_a_report_that_does_not_fit_is_refused(report: dict[str, object], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        decisions.record_progress(Driver().run, TaskProgress(task=1, number=1, **report), NOW)


def test_a_number_that_an_earlier_report_has_taken_is_refused() -> None:
    driver = Driver()
    driver.progress(schedule(1))
    driver.record([ev.SignalReceived(name="s")])
    with pytest.raises(RefusedError, match="taken"):
        driver.progress(schedule(1))


def test_a_closed_run_takes_no_report() -> None:
    driver = Driver()
    driver.progress(cmd.CompleteWorkflow())
    with pytest.raises(RunClosedError):
        decisions.record_progress(driver.run, TaskProgress(task=1, number=1), NOW)


# --- signals, cancel, terminate ----------------------------------------------------------------


def test_a_signal_id_counts_once() -> None:
    driver = Driver()
    request = SignalRequest(**TARGET, name="approve", signal_id="a1")
    driver.record(decisions.signal(driver.run, request))
    assert decisions.signal(driver.run, request) == []


def test_the_same_signal_again_is_harmless_after_the_end() -> None:
    driver = Driver()
    request = SignalRequest(**TARGET, name="approve", signal_id="a1")
    driver.record(decisions.signal(driver.run, request))
    driver.progress(cmd.CompleteWorkflow())
    assert decisions.signal(driver.run, request) == []


def test_signals_without_an_id_all_count() -> None:
    driver = Driver()
    for _ in range(2):
        driver.record(decisions.signal(driver.run, SignalRequest(**TARGET, name="s")))
    assert driver.names.count("SignalReceived") == 2


@pytest.mark.parametrize(
    ("decide", "request_"),
    [
        (decisions.signal, SignalRequest(**TARGET, name="s")),
        (decisions.request_cancel, CancelRequest(**TARGET)),
        (decisions.terminate, TerminateRequest(**TARGET)),
    ],
    ids=["signal", "cancel", "terminate"],
)
def test_a_closed_run_refuses(decide: object, request_: object) -> None:
    driver = Driver()
    driver.progress(cmd.CompleteWorkflow())
    with pytest.raises(RunClosedError, match="is Completed and cannot be"):
        decide(driver.run, request_)


def test_a_run_is_asked_to_end_once() -> None:
    driver = Driver()
    driver.record(decisions.request_cancel(driver.run, CancelRequest(**TARGET, reason="why")))
    assert decisions.request_cancel(driver.run, CancelRequest(**TARGET)) == []


def test_a_failing_task_is_recorded_once_in_a_row() -> None:
    driver = Driver()
    failure = Failure(message="boom")
    driver.record(decisions.fail_task(driver.run, "WorkflowError", failure, "w", ""))
    assert decisions.fail_task(driver.run, "WorkflowError", failure, "w", "") == []
    driver.progress()
    assert decisions.fail_task(driver.run, "WorkflowError", failure, "w", "") != []


# --- timers -----------------------------------------------------------------------------------


def test_a_timer_fires_once_and_only_when_due() -> None:
    driver = Driver()
    driver.progress(cmd.StartTimer(seq=1, delay=5))
    assert decisions.fire_timer(driver.run, 1, NOW + 4) == []
    driver.record(decisions.fire_timer(driver.run, 1, NOW + 5))
    assert decisions.fire_timer(driver.run, 1, NOW + 5) == []


def test_a_cancelled_timer_never_fires() -> None:
    driver = Driver()
    driver.progress(cmd.StartTimer(seq=1, delay=5))
    driver.record([ev.SignalReceived(name="s")])
    driver.progress(cmd.CancelTimer(seq=1))
    assert decisions.fire_timer(driver.run, 1, NOW + 5) == []


def test_a_timer_cancelled_after_it_fired_untold_is_no_error() -> None:
    driver = Driver()
    driver.progress(cmd.StartTimer(seq=1, delay=5))
    driver.record([ev.SignalReceived(name="s")])
    told = driver.run.last_event
    driver.record(decisions.fire_timer(driver.run, 1, NOW + 5))
    report = TaskProgress(
        task=1,
        number=1,
        activations=(Activation(told, NOW),),
        commands=(cmd.CancelTimer(seq=1),),
        done=True,
    )
    driver.record(decisions.record_progress(driver.run, report, NOW))
    assert driver.run.needs_task


def test_a_run_that_takes_too_long_times_out() -> None:
    driver = Driver(run_timeout=100, execution_timeout=50)
    assert driver.transitions[0].put_timers == (Timer(seq=RUN_TIMEOUT_SEQ, fires=NOW + 50),)
    assert decisions.fire_timer(driver.run, RUN_TIMEOUT_SEQ, NOW + 49) == []
    transition = driver.record(decisions.fire_timer(driver.run, RUN_TIMEOUT_SEQ, NOW + 50))
    assert driver.names[-1] == "WorkflowTimedOut"
    assert transition.drop_timers == (RUN_TIMEOUT_SEQ,)


def test_a_run_that_is_over_does_not_time_out() -> None:
    driver = Driver(run_timeout=50)
    driver.progress(cmd.CompleteWorkflow())
    assert decisions.fire_timer(driver.run, RUN_TIMEOUT_SEQ, NOW + 50) == []


def test_a_timer_that_begins_after_the_clock_went_back_still_lasts_its_whole_time() -> None:
    driver = Driver()
    driver.now = NOW - 60_000
    transition = driver.progress(cmd.StartTimer(seq=1, delay=5))
    assert transition.put_timers == (Timer(seq=1, fires=NOW + 5),)


def test_a_timer_of_an_endless_time_fits_into_the_store() -> None:
    driver = Driver()
    transition = driver.progress(cmd.StartTimer(seq=1, delay=2**63 - 1))
    assert transition.put_timers == (Timer(seq=1, fires=NEVER),)


# --- activities -------------------------------------------------------------------------------


def test_a_waiting_activity_is_cancelled_at_once() -> None:
    driver = Driver()
    driver.progress(schedule(1))
    driver.record([ev.SignalReceived(name="s")])
    transition = driver.progress(cmd.RequestCancelActivity(seq=1))
    assert driver.names[-2:] == ["ActivityCancelRequested", "ActivityCanceled"]
    assert transition.drop_activities == (1,)


def test_an_activity_cancelled_as_it_is_scheduled_never_begins() -> None:
    driver = Driver()
    transition = driver.progress(
        schedule(1), cmd.RequestCancelActivity(seq=1), assign=begun_by("w")
    )
    assert driver.names[-1] == "ActivityCanceled"
    assert transition.put_activities == ()


def test_a_running_activity_is_only_asked_to_stop() -> None:
    driver = Driver()
    driver.progress(schedule(1), assign=begun_by("w"))
    driver.record([ev.SignalReceived(name="s")])
    transition = driver.progress(cmd.RequestCancelActivity(seq=1))
    assert driver.names[-1] == "ActivityCancelRequested"
    assert transition.put_activities[0].cancel_requested


def test_an_end_drops_every_row() -> None:
    driver = Driver()
    driver.progress(schedule(1), cmd.StartTimer(seq=2, delay=5), assign=begun_by("w"))
    driver.record([ev.SignalReceived(name="s")])
    transition = driver.progress(cmd.CompleteWorkflow())
    assert transition.drop_activities == (1,)
    assert transition.drop_timers == (2,)


@pytest.mark.parametrize(
    ("closing", "end"),
    [
        (ev.ActivityCompleted(seq=1, result=Payload(data=b"1")), "WorkflowCompleted"),
        (
            ev.ActivityFailed(seq=1, failure=Failure(), retry_state=2),
            "WorkflowFailed",
        ),
        (ev.ActivityTimedOut(seq=1, failure=Failure(), retry_state=3), "WorkflowFailed"),
        (ev.ActivityCanceled(seq=1), "WorkflowCanceled"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_a_standalone_activity_ends_with_its_activity(closing: ev.Event, end: str) -> None:
    driver = standalone()
    driver.record(decisions.close_activity(driver.run, attempts.Closed((closing,))))
    assert driver.names[-1] == end
    assert not driver.run.needs_task


def test_a_standalone_activity_that_waits_is_cancelled_at_once() -> None:
    driver = standalone()
    driver.record(decisions.request_cancel(driver.run, CancelRequest(**TARGET)))
    assert driver.names[-1] == "WorkflowCanceled"


def test_a_standalone_activity_takes_no_signal() -> None:
    with pytest.raises(RefusedError, match="takes no signals"):
        decisions.signal(standalone().run, SignalRequest(**TARGET, name="s"))


def test_a_standalone_activity_needs_options() -> None:
    request = StartRequest(**TARGET, workflow_type="a", task_queue="q", kind="activity")
    with pytest.raises(RefusedError, match="options"):
        decisions.start(request, "run-1")


def test_a_start_may_bring_a_signal() -> None:
    assert Driver(start_signal="go").names == ["WorkflowStarted", "SignalReceived"]


def test_a_history_has_a_limit() -> None:
    driver = Driver()
    driver.run.last_event = decisions.MAX_EVENTS
    assert "50,000 events" in decisions.over_limit(driver.run, [ev.SignalReceived(name="s")])
    assert decisions.over_limit(Driver().run, [ev.SignalReceived(name="s")]) == ""
