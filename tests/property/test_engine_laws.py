"""The engine's laws, against random sequences of everything that can happen to a run.

Law 2, crash anywhere: the fold of the history equals the state that made it. Law 3: what is
delivered twice changes nothing. Law 4: a history has at most one end, and nothing behind it.
Law 5: what is decided is never refused by the evolution. Besides: rows are in step with events,
and a history that is exported and imported makes the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import decode_events, encode_events
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure
from perdure.protocol.items import is_item, item_key, item_of
from perdure.protocol.messages import Activation, StepResult, TaskProgress
from perdure.protocol.payloads import RetryPolicy
from perdure.protocol.placements import Placement
from perdure.protocol.verbs import (
    CancelRequest,
    ResumeRequest,
    SignalRequest,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.engine import attempts, batching, decisions, item_rows, placing
from perdure_operator.engine.batches import OPEN_ITEMS
from perdure_operator.engine.errors import RefusedError
from perdure_operator.engine.recording import Assign
from perdure_operator.engine.restoring import restore
from perdure_operator.engine.transitions import OpenActivity, Transition, WaitingResult
from support.runs import REF, Driver, begun_by, schedule

TARGET = {"namespace": "default", "workflow_id": "order-42"}
FAILURES = st.sampled_from(
    [
        Failure(message="no"),
        Failure(message="never", info=ApplicationInfo(non_retryable=True)),
        Failure(message="stopped", info=CanceledInfo()),
    ]
)

PLACEMENTS = st.sampled_from(
    [None, Placement(container=True, template={"image": "scan"}), Placement()]
)

FOLDED = (
    "watched",
    *("status", "through", "busy", "scheduled", "timers", "digest", "seqs", "last_resolution"),
    *("history_bytes", "cancel_requested", "closing", "signal_ids", "task_failure"),
)


def by_worker(now: int) -> Assign:
    """Give activities to a worker, but for those that no worker can run."""
    begin = begun_by("w", now)
    return lambda scheduled, activity: (
        activity if placing.is_container(scheduled) else begin(scheduled, activity)
    )


class RunMachine(RuleBasedStateMachine):
    """One run, its worker, and the world around them."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(run_timeout=10**9)
        self.seq = 0
        self.activities: dict[int, OpenActivity] = {}
        self.timers: dict[int, int] = {}
        self.items: dict[int, WaitingResult] = {}
        self.assign = by_worker(self.driver.now)
        self.tokens: list[str] = []
        self.acknowledged: set[int] = set()
        """Items whose workers were told that their result is recorded."""
        self.keep_rows(self.driver.transitions[0])

    # --- what the worker does -----------------------------------------------------------------

    def report(
        self, *commands: cmd.Command, steps: tuple[StepResult, ...] = (), done: bool
    ) -> bool:
        run = self.driver.run
        through = run.last_event
        news = through > run.through
        report = TaskProgress(
            task=1,
            number=1,
            activations=(Activation(through, self.driver.now),) if news else (),
            commands=commands if news else (),
            steps=steps,
            done=done,
        )
        try:
            events = decisions.record_progress(run, report, self.driver.now)
        except RefusedError:
            return False
        self.record(events, assign=self.assign)
        return news

    @rule(
        activities=st.lists(st.tuples(st.booleans(), PLACEMENTS), max_size=3),
        timers=st.lists(st.integers(0, 50), max_size=3),
        steps=st.integers(0, 2),
        done=st.booleans(),
        taken=st.booleans(),
    )
    def the_code_goes_on(
        self,
        activities: list[tuple[bool, Placement | None]],
        timers: list[int],
        steps: int,
        done: bool,
        taken: bool,
    ) -> None:
        commands: list[cmd.Command] = []
        for has_heartbeat, placement in activities:
            self.seq += 1
            options: dict[str, Any] = {"placement": placement}
            options |= {"heartbeat_timeout": 40} if has_heartbeat else {}
            policy = RetryPolicy(initial_interval=10, maximum_attempts=3)
            commands.append(
                schedule(self.seq, retry_policy=policy, start_to_close_timeout=90, **options)
            )
        for delay in timers:
            self.seq += 1
            commands.append(cmd.StartTimer(seq=self.seq, delay=delay))
        results = tuple(StepResult(seq=self.seq + 100_000 + n, name="step") for n in range(steps))
        self.assign = by_worker(self.driver.now) if taken else (lambda _s, activity: activity)
        self.report(*commands, steps=results, done=done)

    @rule(
        items=st.integers(1, 6),
        parallelism=st.integers(0, 3),
        tolerated=st.integers(0, 6),
        streamed=st.booleans(),
        limit=st.none() | st.integers(1, 200),
        begun=st.integers(0, 6),
        cancelled=st.integers(0, 19),
    )
    def the_code_asks_for_a_batch(
        self,
        *,
        items: int,
        parallelism: int,
        tolerated: int,
        streamed: bool,
        limit: int | None,
        begun: int,
        cancelled: int,
    ) -> None:
        self.seq += 1
        batch = cmd.ScheduleBatch(
            seq=self.seq,
            activity_id=str(self.seq),
            activity_type="resize",
            items=((),) * items,
            parallelism=parallelism,
            tolerated_failures=tolerated,
            streamed=streamed,
            schedule_to_close_timeout=limit,
            start_to_close_timeout=90,
            retry_policy=RetryPolicy(initial_interval=10, maximum_attempts=2),
        )
        begin, free = begun_by("w", self.driver.now), iter(range(begun))
        self.assign = lambda s, a: a if next(free, None) is None else begin(s, a)
        stop = [cmd.RequestCancelActivity(seq=self.seq)] if cancelled == 0 else []
        self.report(batch, *stop, done=True)

    @rule(data=st.data())
    def the_code_cancels_something(self, data: st.DataObject) -> None:
        run = self.driver.run
        self.assign = by_worker(self.driver.now)
        if (run.scheduled or run.batches) and data.draw(st.booleans()):
            seq = data.draw(st.sampled_from(sorted([*run.scheduled, *run.batches])))
            self.report(cmd.RequestCancelActivity(seq=seq), done=True)
        elif run.timers:
            seq = data.draw(st.sampled_from(sorted(run.timers)))
            self.report(cmd.CancelTimer(seq=seq), done=True)

    @rule(
        end=st.sampled_from([cmd.CompleteWorkflow(), cmd.CancelWorkflow()]), often=st.integers(0, 9)
    )
    def the_code_ends(self, end: cmd.Command, often: int) -> None:
        if often == 0:
            self.report(end, done=True)

    # --- what the world does ---------------------------------------------------------------------

    @rule(number=st.integers(0, 3))
    def somebody_signals(self, number: int) -> None:
        self.decide(decisions.signal, SignalRequest(**TARGET, name="s", signal_id=f"{number}"))

    @rule()
    def somebody_cancels(self) -> None:
        self.decide(decisions.request_cancel, CancelRequest(**TARGET))

    @rule(held=st.booleans())
    def somebody_suspends_or_resumes(self, held: bool) -> None:
        if held:
            self.decide(decisions.suspend, SuspendRequest(**TARGET))
        else:
            self.decide(decisions.resume, ResumeRequest(**TARGET))

    @rule(often=st.integers(0, 19))
    def somebody_terminates(self, often: int) -> None:
        if often == 0:
            self.decide(decisions.terminate, TerminateRequest(**TARGET))

    @rule(passed=st.integers(0, 100))
    def time_passes(self, passed: int) -> None:
        self.driver.now += passed
        for seq, fires in sorted(self.timers.items()):
            if fires <= self.driver.now:
                for _ in range(2):  # an alarm that rings twice fires once
                    self.record(decisions.fire_timer(self.driver.run, seq, fires))
        for seq, activity in sorted(self.driver.run.activities.items()):
            if activity.wake <= self.driver.now and seq in self.driver.run.activities:
                scheduled = self.driver.run.asked(seq)
                self.become(seq, attempts.look(scheduled, activity, self.driver.now))

    @precondition(lambda self: self.driver.run.activities)
    @rule(data=st.data(), failure=st.none() | FAILURES, lost=st.booleans())
    def an_attempt_ends(self, data: st.DataObject, failure: Failure | None, lost: bool) -> None:
        run = self.driver.run
        seq = data.draw(st.sampled_from(sorted(run.activities)))
        activity, scheduled = run.activities[seq], run.asked(seq)
        if not activity.is_started:
            return
        if lost:
            self.become(seq, attempts.lose_worker(scheduled, activity, self.driver.now))
        elif failure is not None:
            self.become(seq, attempts.fail(scheduled, activity, failure, self.driver.now))
        else:
            self.become(seq, attempts.complete(activity, None))

    @precondition(lambda self: self.driver.run.batches)
    @rule(data=st.data())
    def reports_of_many_items_share_a_transition(self, data: st.DataObject) -> None:
        run, now = self.driver.run, self.driver.now
        closed: list[batching.ItemClosed] = []
        changed: list[OpenActivity] = []
        for seq in sorted(key for key in run.activities if is_item(key)):
            activity = run.activities[seq]
            if not activity.is_started or not data.draw(st.booleans()):
                continue
            failure = data.draw(st.none() | FAILURES)
            became: OpenActivity | attempts.Closed = attempts.complete(activity, None)
            if failure is not None:
                became = attempts.fail(run.asked(seq), activity, failure, now)
            if isinstance(became, attempts.Closed):
                closed.append(batching.item_closed(seq, became))
            else:
                changed.append(became)
        events = batching.close_items(run, closed)
        self.record(events, attempts_changed=changed, items_closed=closed)

    @precondition(lambda self: self.driver.run.activities)
    @rule(data=st.data())
    def a_worker_takes_an_activity(self, data: st.DataObject) -> None:
        run = self.driver.run
        seq = data.draw(st.sampled_from(sorted(run.activities)))
        activity = run.activities[seq]
        if not activity.is_started and activity.visible <= self.driver.now:
            begun = by_worker(self.driver.now)(run.asked(seq), activity)
            if begun is activity:
                begun = self.take(seq, activity)
            assert begun.attempt == activity.attempt + 1
            self.become(seq, begun)

    def take(self, seq: int, activity: OpenActivity) -> OpenActivity:
        begun = placing.take(
            self.driver.run.scheduled[seq],
            activity,
            secret=f"s{len(self.tokens)}",
            identity="pod",
            now=self.driver.now,
        )
        self.tokens.append(placing.taken_attempt(REF.run_id, begun).token())
        return begun

    # --- bookkeeping ---------------------------------------------------------------------------

    def decide(self, decide: Any, request: Any) -> None:
        try:
            events = decide(self.driver.run, request)
        except RefusedError:
            assert self.driver.run.is_closed
            return
        self.record(events)
        if not self.driver.run.is_closed:
            assert decide(self.driver.run, request) == [] or isinstance(request, TerminateRequest)

    def become(self, seq: int, became: OpenActivity | attempts.Closed) -> None:
        if isinstance(became, attempts.Closed) and is_item(seq):
            closed = [batching.item_closed(seq, became)]
            events = batching.close_items(self.driver.run, closed)
            self.record(events, items_closed=closed, assign=begun_by("w", self.driver.now))
        elif isinstance(became, attempts.Closed):
            self.record(decisions.close_activity(self.driver.run, became))
        elif became is not self.driver.run.activities[seq]:
            self.record([], attempts_changed=(became,))

    def record(self, events: list[ev.Event], **options: Any) -> None:
        closed: Sequence[batching.ItemClosed] = options.get("items_closed", ())
        self.acknowledged |= {each.key for each in closed if each.result is not None}
        if not events and not any(options.get(n) for n in ("attempts_changed", "items_closed")):
            return
        self.keep_rows(self.driver.record(events, **options))

    def keep_rows(self, transition: Transition) -> None:
        for seq in transition.drop_activities:
            self.activities.pop(seq, None)
        for each in transition.put_activities:
            self.activities[each.seq] = each
        for item in transition.drop_items:
            del self.items[item]
        for waiting in transition.put_items:
            assert waiting.item not in self.items
            self.items[waiting.item] = waiting
        for timer in transition.put_timers:
            self.timers[timer.seq] = timer.fires
        for seq in transition.drop_timers:
            self.timers.pop(seq, None)

    @invariant()
    def the_state_is_the_fold_of_the_history(self) -> None:
        folded, run = self.driver.folded(), self.driver.run
        for name in FOLDED:
            assert getattr(folded, name) == getattr(run, name), name
        assert list(folded.batches) == list(run.batches)
        for seq, batch in run.batches.items():
            told = folded.batches[seq]
            assert (told.scheduled, told.since) == (batch.scheduled, batch.since)
            assert told.is_canceling == batch.is_canceling
            assert told.ended == batch.ended - len(batch.waiting)
            assert all(told.lacks(index) for index in (*batch.waiting, *batch.open))

    @invariant()
    def history_and_rows_make_the_same_batches(self) -> None:
        run, read = self.driver.run, self.driver.folded()
        read.activities |= self.activities
        item_rows.take_up(read, self.items.values())
        assert set(self.items) == {
            item_key(seq, index) for seq, each in run.batches.items() for index in each.waiting
        }
        for seq, batch in run.batches.items():
            same = read.batches[seq]
            assert (same.open, same.waiting) == (batch.open, batch.waiting)
            assert (same.succeeded, same.failed) == (batch.succeeded, batch.failed)
            assert same.waiting_bytes == batch.waiting_bytes
            assert batch.open == {i for s, i in map(item_of, self.activities) if s == seq}

    @invariant()
    def a_result_that_was_acknowledged_is_in_history_or_in_a_row_for_ever(self) -> None:
        history = {
            item_key(each.event.seq, result.index)
            for each in self.driver.history
            if isinstance(each.event, ev.BatchItemsClosed)
            for result in each.event.items
        }
        assert history | set(self.items) == self.acknowledged

    @invariant()
    def as_many_items_are_open_as_may_be(self) -> None:
        for batch in self.driver.run.batches.values():
            bound = batch.scheduled.parallelism or OPEN_ITEMS
            begun = batch.ended + len(batch.open)
            if batch.is_canceling:
                assert all(self.activities[key].cancel_requested for key in batch.open_keys)
                assert batch.open
            else:
                assert len(batch.open) == min(bound, batch.total - batch.ended)
                assert begun == sum(not batch.lacks(index) for index in range(batch.total))

    @invariant()
    def what_ends_a_batch_counts_what_history_has_of_it(self) -> None:
        ended: dict[int, list[ev.ItemResult]] = {}
        for each in self.driver.history:
            match each.event:
                case ev.BatchScheduled(seq=seq):
                    ended[seq] = []
                case ev.BatchItemsClosed(seq=seq, items=items):
                    ended[seq] += items
                case (
                    ev.BatchCompleted(seq=seq, succeeded=succeeded, failed=failed)
                    | ev.BatchFailed(seq=seq, succeeded=succeeded, failed=failed)
                    | ev.BatchCanceled(seq=seq, succeeded=succeeded, failed=failed)
                ):
                    results = ended.pop(seq)
                    assert len({result.index for result in results}) == len(results)
                    assert failed == sum(result.failure is not None for result in results)
                    assert succeeded == len(results) - failed
        if not self.driver.run.is_closed:
            assert set(ended) == set(self.driver.run.batches)

    @invariant()
    def rows_are_in_step_with_the_state(self) -> None:
        run = self.driver.run
        assert self.activities == run.activities
        assert {seq for seq in run.activities if not is_item(seq)} == set(run.scheduled)
        timers = {seq: timer.fires for seq, timer in run.timers.items()}
        timers |= {timer.seq: timer.fires for timer in run.batch_timers()}
        if not run.is_closed:
            timers[0] = run.deadline
        assert self.timers == timers

    @invariant()
    def a_token_opens_its_own_attempt_while_that_runs_and_nothing_else(self) -> None:
        taken = [each for each in self.driver.run.activities.values() if placing.is_taken(each)]
        opened = [
            (token, each.seq)
            for token in self.tokens
            for read in [placing.read_token(token)]
            for each in taken
            if read is not None and (read.seq, read.attempt) == (each.seq, each.attempt)
            if read.opens(each)
        ]
        assert sorted(seq for _, seq in opened) == sorted(each.seq for each in taken)

    @invariant()
    def a_history_that_left_and_came_back_makes_the_same_run(self) -> None:
        run = self.driver.run
        carried = decode_events(encode_events(self.driver.history))
        restored, transition = restore(REF, carried, self.driver.now)
        for name in FOLDED:
            assert getattr(restored, name) == getattr(run, name), name
        assert transition.row == replace(run.row(), version=1)
        assert transition.events == tuple(self.driver.history)
        assert {each.seq: each.fires for each in transition.put_timers} == self.timers
        put = {each.seq for each in transition.put_activities}
        assert {seq for seq in put if not is_item(seq)} == set(run.scheduled)
        assert {item_of(seq)[0] for seq in put if is_item(seq)} == set(run.batches)
        for each in transition.put_activities:
            assert each == restored.activities[each.seq]
            assert (each.attempt, each.worker_id) == (0, "")
            assert each.wake <= self.driver.now

    @invariant()
    def a_history_has_at_most_one_end_and_nothing_behind_it(self) -> None:
        ends = [isinstance(each.event, ev.CLOSING_EVENTS) for each in self.driver.history]
        assert sum(ends) <= 1
        assert not any(ends[:-1])

    @invariant()
    def versions_and_events_have_no_gaps(self) -> None:
        transitions = self.driver.transitions
        assert [each.expected for each in transitions] == list(range(len(transitions)))
        history = self.driver.history
        assert [each.id for each in history] == list(range(1, len(history) + 1))
        assert all(a.time <= b.time for a, b in pairwise(history))


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
