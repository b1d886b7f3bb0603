"""Batches: which events follow when items end, and which rows change with them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import ItemResult
from perdure.protocol.failures import ApplicationInfo, Failure, RetryState, TimeoutInfo, TimeoutKind
from perdure.protocol.items import is_item, item_key, item_of
from perdure.protocol.payloads import Payload, RetryPolicy
from perdure.protocol.verbs import ActivityOptions, CancelRequest
from perdure_operator.engine import attempts, batches, batching, decisions, item_rows, restoring
from perdure_operator.engine.errors import BrokenHistoryError, RefusedError
from perdure_operator.engine.transitions import Timer, Transition, WaitingResult
from support.runs import NOW, REF, Driver, begun_by, schedule, schedule_batch

ONCE = RetryPolicy(maximum_attempts=1)
FINAL = Failure(message="no", info=ApplicationInfo(non_retryable=True))
TARGET = {"namespace": "default", "workflow_id": "order-42"}
RUNS = begun_by("w1")


def keys(*indices: int, seq: int = 1) -> list[int]:
    return [item_key(seq, index) for index in indices]


def batch(items: int = 3, **options: Any) -> Driver:
    """A run that has asked for one batch, whose items begin as soon as they are open."""
    driver = Driver()
    driver.progress(schedule_batch(1, items, **options), assign=RUNS)
    return driver


def end(driver: Driver, *indices: int, failure: Failure | None = None) -> Transition:
    """Let items end, all in one transition."""
    run, closed = driver.run, []
    for key in keys(*indices):
        activity = run.activities[key]
        became: object = attempts.complete(activity, Payload(data=b"%d" % key))
        if failure is not None:
            became = attempts.fail(run.asked(key), activity, failure, driver.now)
        assert isinstance(became, attempts.Closed)
        closed.append(batching.item_closed(key, became))
    events = batching.close_items(run, closed)
    return driver.record(events, items_closed=closed, assign=RUNS)


def told(driver: Driver) -> list[int]:
    """The items whose results are in history, in the order in which they are."""
    events = (each.event for each in driver.history)
    closed = (event.items for event in events if isinstance(event, ev.BatchItemsClosed))
    return [result.index for items in closed for result in items]


@pytest.mark.parametrize(("seq", "index"), [(1, 0), (1, 99_999), (2**20, 7)])
def test_an_items_number_tells_its_batch_and_its_place(seq: int, index: int) -> None:
    key = item_key(seq, index)
    assert is_item(key)
    assert not is_item(seq)
    assert item_of(key) == (seq, index)


def test_a_batch_is_one_event_and_opens_as_many_items_as_may_run() -> None:
    driver = batch(5, parallelism=2, task_queue="other")
    assert driver.names[-1] == "BatchScheduled"
    opened = driver.transitions[-1].put_activities
    assert [each.seq for each in opened] == keys(0, 1)
    assert {each.task_queue for each in opened} == {"other"}
    assert all(each.is_started for each in opened)


def test_a_batch_goes_to_the_workflows_own_queue() -> None:
    assert batch().history[-1].event.task_queue == "q"


def test_a_batch_without_a_bound_opens_only_so_many_items_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "OPEN_ITEMS", 4)
    assert len(batch(9).run.activities) == 4


def test_an_items_activity_is_made_from_its_batch() -> None:
    driver = batch(heartbeat_timeout=5_000, schedule_to_close_timeout=60_000, summary="photos")
    asked = driver.run.asked(item_key(1, 2))
    assert (asked.activity_id, asked.input) == ("1.2", (Payload(data=b"2"),))
    assert (asked.start_to_close_timeout, asked.heartbeat_timeout) == (10_000, 5_000)
    assert asked.schedule_to_close_timeout is None, "that is the whole batch's"


def test_an_item_that_ended_makes_room_for_the_next_in_the_same_transition() -> None:
    driver = batch(5, parallelism=2)
    transition = end(driver, 1)
    assert transition.events == ()
    assert transition.drop_activities == (item_key(1, 1),)
    assert [each.seq for each in transition.put_activities] == keys(2)
    assert transition.put_items == (
        WaitingResult(item_key(1, 1), ItemResult(1, 1, Payload(data=b"%d" % item_key(1, 1)))),
    )


def test_results_wait_in_rows_until_the_last_item_has_ended() -> None:
    driver = batch()
    end(driver, 2)
    end(driver, 0)
    assert told(driver) == []
    assert not driver.run.needs_task
    last = end(driver, 1)
    assert told(driver) == [2, 0, 1]
    assert driver.history[-1].event == ev.BatchCompleted(seq=1, succeeded=3)
    assert (last.put_items, last.drop_items) == ((), tuple(keys(2, 0)))
    assert driver.run.needs_task
    assert driver.run.batches == driver.run.activities == {}


def test_many_results_are_moved_before_the_end_without_waking_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "MOVED_RESULTS", 3)
    driver = batch(9)
    end(driver, 0, 1)
    assert told(driver) == []
    moved = end(driver, 5)
    assert told(driver) == [0, 1, 5]
    assert moved.drop_items == tuple(keys(0, 1))
    assert driver.run.batches[1].waiting_bytes == 0
    assert not driver.run.needs_task


def test_large_results_are_moved_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOVED_BYTES", 150)
    driver = batch(9)
    end(driver, 0, 1)
    end(driver, 2)
    assert told(driver) == []
    end(driver, 3, 4)
    assert told(driver) == [0, 1, 2, 3, 4]


def test_streamed_results_are_told_as_soon_as_the_code_has_heard_the_ones_before() -> None:
    driver = batch(6, streamed=True)
    end(driver, 0)
    assert told(driver) == [0]
    assert driver.run.needs_task
    end(driver, 1)
    end(driver, 2)
    assert told(driver) == [0], "the code has not been told of the first one yet"
    driver.progress()
    assert told(driver) == [0, 1, 2]
    assert driver.run.needs_task
    driver.progress()
    assert not driver.run.needs_task


def test_a_long_history_is_told_streamed_results_in_larger_portions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "PORTION_EVENTS", 3)
    driver = batch(6, streamed=True)
    end(driver, 0)
    assert told(driver) == []
    driver.record([ev.SignalReceived(name="a")])
    driver.progress()
    assert told(driver) == [], "one is too few for a history that has come so far"
    end(driver, 1)
    assert told(driver) == [0, 1]


def test_no_more_failures_than_are_tolerated_complete_the_batch() -> None:
    driver = batch(3, tolerated_failures=1)
    end(driver, 1, failure=FINAL)
    end(driver, 0, 2)
    assert driver.history[-1].event == ev.BatchCompleted(
        seq=1, succeeded=2, failed=1, failed_indexes="1"
    )
    (result,) = [r for r in driver.history[-2].event.items if r.index == 1]
    assert result == ItemResult(1, 1, None, FINAL, RetryState.NON_RETRYABLE_FAILURE)


def test_one_failure_too_many_fails_the_batch_at_once_and_drops_what_is_open() -> None:
    driver = batch(9, parallelism=3, tolerated_failures=1)
    first = Failure(message="first", info=ApplicationInfo(non_retryable=True))
    end(driver, 0)
    end(driver, 1, failure=first)
    transition = end(driver, 2, failure=FINAL)
    failed = driver.history[-1].event
    assert isinstance(failed, ev.BatchFailed)
    assert (failed.succeeded, failed.failed, failed.failure.cause) == (1, 2, first)
    assert failed.failure.message == "2 of 9 items failed (1 tolerated), 1 succeeded"
    assert told(driver) == [0, 1, 2]
    assert sorted(transition.drop_activities) == keys(2, 3, 4)
    assert transition.put_activities == ()


def test_an_item_that_failed_is_tried_again_and_stays_open() -> None:
    driver = batch(3, parallelism=1)
    activity = driver.run.activities[item_key(1, 0)]
    failure = Failure(message="later")
    became = attempts.fail(driver.run.asked(activity.seq), activity, failure, NOW)
    assert isinstance(became, attempts.OpenActivity)
    driver.record([], attempts_changed=(became,))
    assert driver.run.batches[1].open == {0}
    assert driver.run.activities[activity.seq].last_failure == failure


def test_a_retry_that_crosses_the_end_of_its_batch_is_dropped() -> None:
    driver = batch(2)
    run = driver.run
    again = attempts.fail(run.asked(item_key(1, 0)), run.activities[item_key(1, 0)], Failure(), NOW)
    closed = attempts.fail(run.asked(item_key(1, 1)), run.activities[item_key(1, 1)], FINAL, NOW)
    assert isinstance(closed, attempts.Closed)
    items = [batching.item_closed(item_key(1, 1), closed)]
    transition = driver.record(
        batching.close_items(run, items), attempts_changed=(again,), items_closed=items
    )
    assert driver.names[-1] == "BatchFailed"
    assert transition.put_activities == ()


# --- cancellation --------------------------------------------------------------------------


def test_a_batch_that_nobody_runs_is_cancelled_at_once() -> None:
    driver = Driver()
    driver.progress(schedule_batch())
    driver.record([ev.SignalReceived(name="stop")])
    transition = driver.progress(cmd.RequestCancelActivity(seq=1))
    assert driver.names[-2:] == ["ActivityCancelRequested", "BatchCanceled"]
    assert sorted(transition.drop_activities) == keys(0, 1, 2)


def test_a_batch_is_cancelled_when_the_last_item_that_ran_has_stopped() -> None:
    driver = batch(9, parallelism=2)
    end(driver, 0)
    driver.record([ev.SignalReceived(name="stop")])
    asked = driver.progress(cmd.RequestCancelActivity(seq=1))
    assert [each.cancel_requested for each in asked.put_activities] == [True, True]

    end(driver, 1)
    assert list(driver.run.activities) == keys(2), "nothing begins any more"
    stopped = attempts.lose_worker(
        driver.run.asked(item_key(1, 2)), driver.run.activities[item_key(1, 2)], NOW
    )
    assert isinstance(stopped, attempts.Closed)
    closed = [batching.item_closed(item_key(1, 2), stopped)]
    driver.record(batching.close_items(driver.run, closed), items_closed=closed)
    assert driver.history[-1].event == ev.BatchCanceled(seq=1, succeeded=2)
    assert told(driver) == [0, 1]


def test_a_batch_whose_items_all_ended_nevertheless_is_complete() -> None:
    driver = batch(2)
    driver.record([ev.SignalReceived(name="stop")])
    driver.progress(cmd.RequestCancelActivity(seq=1))
    end(driver, 0, 1)
    assert driver.history[-1].event == ev.BatchCompleted(seq=1, succeeded=2)


def test_a_batch_cancelled_in_the_breath_that_asks_for_it_opens_nothing() -> None:
    driver = Driver()
    cancels = cmd.RequestCancelActivity(seq=1)
    transition = driver.progress(schedule_batch(), cancels, cancels, assign=RUNS)
    assert driver.names[-1] == "BatchCanceled"
    assert (transition.put_activities, driver.run.activities) == ((), {})


def test_a_run_that_ends_has_its_items_results_in_history_and_drops_their_rows() -> None:
    driver = batch(5, parallelism=2, schedule_to_close_timeout=9_000)
    end(driver, 0)
    transition = driver.record([ev.WorkflowTerminated()])
    assert told(driver) == [0]
    assert driver.names[-2:] == ["BatchItemsClosed", "WorkflowTerminated"]
    assert sorted(transition.drop_activities) == keys(1, 2)
    assert transition.drop_items == (item_key(1, 0),)
    assert 1 in transition.drop_timers


def test_a_run_that_ends_by_its_code_has_them_before_the_record_of_what_it_asked_for() -> None:
    driver = batch(3)
    end(driver, 1)
    driver.progress(cmd.CancelTimer(seq=1), cmd.CompleteWorkflow())
    assert driver.names[-4:] == [
        "BatchItemsClosed",
        "WorkflowTaskCompleted",
        "TimerCanceled",
        "WorkflowCompleted",
    ]


def test_a_batch_that_ends_with_its_run_has_its_results_in_history_once() -> None:
    driver = standalone(2)
    end(driver, 1)
    end(driver, 0)
    assert driver.run.is_closed
    assert told(driver) == [1, 0]


# --- the time of the whole -----------------------------------------------------------------


def test_the_time_of_the_whole_batch_is_one_timer() -> None:
    driver = batch(3, schedule_to_close_timeout=60_000)
    assert driver.transitions[-1].put_timers == (Timer(seq=1, fires=NOW + 60_000),)
    end(driver, 0)
    assert decisions.fire_timer(driver.run, 1, NOW + 59_999) == [], "it is an old alarm"
    transition = driver.record(decisions.fire_timer(driver.run, 1, NOW + 60_000))
    failed = driver.history[-1].event
    assert isinstance(failed, ev.BatchFailed)
    assert failed.failure.info == TimeoutInfo(timeout=TimeoutKind.SCHEDULE_TO_CLOSE)
    assert "1 of 3 items ended" in failed.failure.message
    assert told(driver) == [0]
    assert transition.drop_timers == (1,)
    assert decisions.fire_timer(driver.run, 1, NOW + 60_000) == []


# --- histories and rows --------------------------------------------------------------------


def test_a_history_with_an_item_that_ends_twice_is_broken() -> None:
    driver = batch(streamed=True)
    end(driver, 0)
    twice = ev.BatchItemsClosed(seq=1, items=(ItemResult(0),))
    with pytest.raises(BrokenHistoryError, match="item 0 of batch 1"):
        driver.record([twice])


@pytest.mark.parametrize(
    "event",
    [
        ev.BatchItemsClosed(seq=2, items=(ItemResult(0),)),
        ev.BatchItemsClosed(seq=1, items=(ItemResult(3),)),
        ev.BatchCompleted(seq=2),
        ev.BatchScheduled(seq=1, activity_id="1", activity_type="x", task_queue="q", items=((),)),
    ],
    ids=["no-such-batch", "no-such-item", "ends-what-is-not-open", "number-taken"],
)
def test_an_impossible_event_of_a_batch_is_refused(event: ev.Event) -> None:
    history = [*batch().history, ev.HistoryEvent(4, NOW, event)]
    with pytest.raises(BrokenHistoryError):
        restoring.restore(REF, history, NOW)


@pytest.mark.parametrize("item", [item_key(1, 3), item_key(2, 0)], ids=["no-item", "no-batch"])
def test_a_row_of_an_item_that_is_not_open_in_history_is_found_out(item: int) -> None:
    run = batch().folded()
    with pytest.raises(BrokenHistoryError, match="there is a row of item"):
        item_rows.take_up(run, [WaitingResult(item, ItemResult(item_of(item)[1]))])


def test_items_whose_results_are_not_in_history_begin_anew_elsewhere() -> None:
    driver = batch(4, streamed=True, schedule_to_close_timeout=60_000)
    end(driver, 0)
    end(driver, 1)
    run, transition = restoring.restore(REF, driver.history, NOW + 5_000)
    assert sorted(each.seq for each in transition.put_activities) == keys(1, 2, 3)
    assert all(each.attempt == 0 for each in transition.put_activities)
    assert transition.put_timers == (Timer(seq=1, fires=NOW + 60_000),)
    assert (run.batches[1].succeeded, run.batches[1].waiting) == (1, {})


def test_a_batch_that_was_being_cancelled_ends_where_it_is_restored() -> None:
    driver = batch(4)
    end(driver, 0)
    driver.record([ev.SignalReceived(name="stop")])
    driver.progress(cmd.RequestCancelActivity(seq=1))
    run, transition = restoring.restore(REF, driver.history, NOW)
    (stands_for_all,) = transition.put_activities
    became = attempts.look(run.asked(stands_for_all.seq), stands_for_all, NOW)
    assert isinstance(became, attempts.Closed)
    closed = [batching.item_closed(stands_for_all.seq, became)]
    assert batching.close_items(run, closed) == [ev.BatchCanceled(seq=1)]


# --- beside other things -------------------------------------------------------------------


def test_the_newest_of_what_a_run_waits_for_is_its_current_step() -> None:
    driver = Driver()
    driver.progress(schedule(1), schedule_batch(2, summary="photos"), schedule(3, summary="pay"))
    assert driver.run.current_step == "pay"
    driver.record([ev.ActivityCanceled(seq=3)])
    assert driver.run.current_step == "photos"


def test_a_batch_takes_a_number_that_is_free() -> None:
    driver = Driver()
    with pytest.raises(RefusedError, match="takes number 1, which is taken"):
        driver.progress(schedule(1), schedule_batch(1))


# --- on its own ----------------------------------------------------------------------------


def standalone(items: int = 3, **options: Any) -> Driver:
    inputs = tuple((Payload(data=b"%d" % index),) for index in range(items))
    activity = ActivityOptions(items=inputs, start_to_close_timeout=10_000, **options)
    driver = Driver(kind="activity", activity=activity)
    for each in list(driver.run.activities.values()):
        begun = RUNS(driver.run.asked(each.seq), each)
        driver.record([], attempts_changed=(begun,))
    return driver


def test_a_batch_on_its_own_ends_its_run_and_returns_nothing() -> None:
    driver = standalone(tolerated_failures=1)
    end(driver, 0, failure=FINAL)
    end(driver, 1, 2)
    assert driver.names == [
        "WorkflowStarted",
        "BatchScheduled",
        "BatchItemsClosed",
        "BatchCompleted",
        "WorkflowCompleted",
    ]
    assert driver.run.closing == ev.WorkflowCompleted()


def test_a_batch_on_its_own_that_fails_fails_its_run() -> None:
    driver = standalone()
    end(driver, 0, failure=FINAL)
    failed, closing = (each.event for each in driver.history[-2:])
    assert closing == ev.WorkflowFailed(failure=failed.failure)


def test_a_batch_on_its_own_is_cancelled_with_its_run() -> None:
    driver = standalone()
    driver.record(decisions.request_cancel(driver.run, CancelRequest(**TARGET)))
    assert not driver.run.is_closed
    closed = [
        batching.item_closed(key, attempts.Closed((ev.ActivityCanceled(seq=key),)))
        for key in keys(0, 1, 2)
    ]
    driver.record(batching.close_items(driver.run, closed), items_closed=closed)
    assert driver.names[-2:] == ["BatchCanceled", "WorkflowCanceled"]


def test_a_batch_on_its_own_has_no_input_besides_its_items() -> None:
    with pytest.raises(RefusedError, match="no input besides them"):
        Driver(
            kind="activity",
            activity=ActivityOptions(items=((),)),
            input=(Payload(data=b"1"),),
        )


def test_an_empty_report_of_items_changes_nothing() -> None:
    driver = batch(streamed=True)
    assert batching.close_items(driver.run, []) == []
    stopped = replace(driver.run.activities[item_key(1, 0)], cancel_requested=True)
    closed = attempts.lose_worker(driver.run.asked(stopped.seq), stopped, NOW)
    assert isinstance(closed, attempts.Closed)
    assert batching.item_closed(stopped.seq, closed).result is None
