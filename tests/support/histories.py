"""A run without a server: drives workflow code, and records what a server would record.

:class:`RunDriver` holds one run's history. Things happen to it (``signal``, ``fire``,
``complete_activity``…), :meth:`RunDriver.activate` tells the code of them as one activation, and
what the code asks for is recorded after the rules of ``docs/explanation/architecture.md``.
:meth:`RunDriver.play` goes on by itself until the run waits for something from outside.

With ``cached=False`` every activation is a full replay on a fresh instance, as with a cache of
size 0; the history must come out the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError, FailureError
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.commands import Command
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.failures import Failure, RetryState, TimeoutInfo, TimeoutKind
from perdure.protocol.messages import Activation, RunRef
from perdure.protocol.payloads import Payload, Payloads
from perdure.replay import StepInvocation, Told, WorkflowInstance
from perdure.replay._history import recorded_activations
from perdure.workflow._definition import WorkflowDefinition

CONVERTER = DataConverter.default
open_drivers: list[RunDriver] = []
"""For a fixture that closes what a test leaves open."""
EPOCH = 1_700_000_000_000
"""When every run begins: 2023-11-14T22:13:20Z."""


@dataclass(eq=False)
class RunDriver:
    """One run and its history."""

    workflow: type
    args: Sequence[Any] = ()
    workflow_id: str = "wf"
    run_id: str = "run-1"
    cached: bool = True
    input: Sequence[Payload] | None = None
    """Instead of ``args``, as it is encoded."""
    failure_exception_types: Sequence[type[BaseException]] = ()
    start: dict[str, Any] = field(default_factory=dict)
    """More fields of the WorkflowStarted event."""

    def __post_init__(self) -> None:
        open_drivers.append(self)
        self.now = EPOCH
        self.events: list[HistoryEvent] = []
        self.commits: list[int] = []
        """How many events there were after each transaction."""
        self.instance: WorkflowInstance | None = None
        self.told: list[Told] = []
        self.steps: dict[int, StepInvocation] = {}
        """Running in the worker."""
        self.handed_steps: list[int] = []
        self.timers: dict[int, int] = {}
        self.activities: dict[int, cmd.ScheduleActivity] = {}
        self.batches: dict[int, dict[int, Payloads]] = {}
        """Of each open batch: the items that have not ended, and their inputs."""
        self.batch_types: dict[int, str] = {}
        self.batches_tolerate: dict[int, int] = {}
        self.batch_counts: dict[int, list[int]] = {}
        """Of each batch: how many items succeeded and failed."""
        self.sent = 0
        self.crossing: list[Callable[[RunDriver], object]] = []
        """What happens while the next report is on its way."""
        self._unreported: list[Activation] = []
        self._task_open = False
        payloads = CONVERTER.to_payloads(self.args) if self.input is None else tuple(self.input)
        self.record(
            ev.WorkflowStarted(
                workflow_type=self.workflow.__name__,
                task_queue="tests",
                input=payloads,
                run_id=self.run_id,
                **self.start,
            )
        )

    # --- what happens to the run ---------------------------------------------------------------

    def signal(self, name: str, *args: Any) -> RunDriver:
        return self.record(ev.SignalReceived(name=name, input=CONVERTER.to_payloads(args)))

    def cancel(self, reason: str = "") -> RunDriver:
        return self.record(ev.CancelRequested(reason=reason))

    def complete_activity(self, seq: int, result: Any = None) -> RunDriver:
        self.activities.pop(seq)
        payload = CONVERTER.to_payload(result)
        return self.record(
            ev.ActivityStarted(seq=seq, attempt=1, started=self.now),
            ev.ActivityCompleted(seq=seq, result=payload),
        )

    def fail_activity(self, seq: int, error: BaseException | None = None) -> RunDriver:
        self.activities.pop(seq)
        failure = CONVERTER.to_failure(error or ApplicationError("boom", type="Boom"))
        state = RetryState.MAXIMUM_ATTEMPTS_REACHED
        return self.record(ev.ActivityFailed(seq=seq, failure=failure, retry_state=state))

    def time_out_activity(self, seq: int) -> RunDriver:
        self.activities.pop(seq)
        failure = Failure(message="too late", info=TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE))
        return self.record(
            ev.ActivityTimedOut(seq=seq, failure=failure, retry_state=RetryState.TIMEOUT)
        )

    def finish_cancelled_activity(self, seq: int) -> RunDriver:
        self.activities.pop(seq)
        return self.record(ev.ActivityCanceled(seq=seq))

    def close_items(self, seq: int, results: dict[int, Any], *, ends: bool = False) -> RunDriver:
        """Items of a batch end, with a value or an error; with ``ends`` the batch does too."""
        items = []
        for index, result in results.items():
            self.batches[seq].pop(index)
            failed = isinstance(result, BaseException)
            self.batch_counts[seq][failed] += 1
            items.append(
                ev.ItemResult(index, 1, failure=CONVERTER.to_failure(result))
                if failed
                else ev.ItemResult(index, 1, CONVERTER.to_payload(result))
            )
        events: list[Event] = [ev.BatchItemsClosed(seq=seq, items=tuple(items))]
        if ends:
            good, bad = self.batch_counts[seq]
            events.append(ev.BatchCompleted(seq=seq, succeeded=good, failed=bad))
            del self.batches[seq]
        return self.record(*events)

    def fail_batch(self, seq: int, failure: Failure) -> RunDriver:
        """A batch fails as it is."""
        del self.batches[seq]
        succeeded, failed = self.batch_counts[seq]
        return self.record(
            ev.BatchFailed(seq=seq, failure=failure, succeeded=succeeded, failed=failed)
        )

    def finish_cancelled_batch(self, seq: int) -> RunDriver:
        del self.batches[seq]
        succeeded, failed = self.batch_counts[seq]
        return self.record(ev.BatchCanceled(seq=seq, succeeded=succeeded, failed=failed))

    def fire(self, seq: int) -> RunDriver:
        self.now = max(self.now, self.timers.pop(seq))
        return self.record(ev.TimerFired(seq=seq))

    def advance(self, seconds: float) -> RunDriver:
        """Let time pass; timers that become due fire, in order."""
        until = self.now + round(seconds * 1000)
        while due := [seq for seq, fires in self.timers.items() if fires <= until]:
            self.fire(min(due, key=lambda seq: (self.timers[seq], seq)))
        self.now = until
        return self

    def terminate(self) -> RunDriver:
        return self.record(ev.WorkflowTerminated())

    def record(self, *events: Event) -> RunDriver:
        """Append events as one transaction."""
        for event in events:
            self.events.append(HistoryEvent(len(self.events) + 1, self.now, event))
        if events:
            self.commits.append(len(self.events))
        return self

    # --- what the worker does ------------------------------------------------------------------

    def activate(self) -> Told:
        """Tell the code what is new, as one activation, and report what must be reported."""
        if not self._task_open and not self.cached:
            self.evict()
        started = self.now if not self._task_open else self.events[-1].time
        self._task_open = True
        told = self._tell(started)
        self.told.append(told)
        self._unreported += told.activations
        for seq in told.cancel_steps:
            self.steps.pop(seq, None)
        for each in told.start_steps:
            self.handed_steps.append(each.seq)
            self.steps[each.seq] = each
        if told.closed:
            self.steps.clear()
        if told.commands or not self.steps:
            self._report(told.commands, [])
        return told

    def _tell(self, started: int) -> Told:
        if self.instance is None:
            self.instance = new_instance(self)
            told = self.instance.activate(tuple(self.events), started=started, complete=True)
        else:
            told = self.instance.activate(tuple(self.events[self.sent :]), started=started)
        self.sent = len(self.events)
        return told

    def finish_steps(self, *seqs: int) -> RunDriver:
        """Let running steps (by default all) end, and report them together."""
        results = [self._run_step(self.steps.pop(seq)) for seq in seqs or sorted(self.steps)]
        self._report([], results)
        return self

    def fail_step(self, seq: int, error: BaseException) -> RunDriver:
        """Let a running step fail for good."""
        step = self.steps.pop(seq)
        failure = CONVERTER.to_failure(error)
        self._report([], [ev.StepFailed(seq=seq, name=step.name, failure=failure)])
        return self

    def lose_worker(self) -> RunDriver:
        """The worker dies: what it had not reported never happened."""
        self.evict()
        self.steps.clear()
        self._unreported.clear()
        self._task_open = False
        self.sent = 0
        return self

    def evict(self) -> None:
        """Drop the instance: the next activation is a full replay."""
        if self.instance is not None:
            self.instance.close()
            self.instance = None

    def query(self, name: str, *args: Any) -> Any:
        """Ask the code; raise what it raised."""
        if self.instance is None:
            self.instance = new_instance(self)
            self.instance.activate(tuple(self.events), started=None, complete=True)
            self.sent = len(self.events)
        result, failure = self.instance.query(name, CONVERTER.to_payloads(args))
        if failure is not None:
            raise CONVERTER.from_failure(failure)
        return CONVERTER.from_payload(result)

    def play(
        self,
        activities: dict[str, Callable[..., Any]] | None = None,
        *,
        timers: bool = True,
        limit: int = 1000,
    ) -> RunDriver:
        """Go on until the run is closed or waits for something from outside.

        Steps are run, activities that are given answered, and (unless ``timers`` is false) time
        passes when nothing else can happen.
        """
        for _ in range(limit):
            if len(self.events) > self.sent:
                self.activate()
            if self.is_closed:
                return self
            if self.steps:
                self.finish_steps()
            elif answer := self._answerable(activities or {}):
                self._answer(*answer)
            elif batch := self._answerable_batch(activities or {}):
                self._answer_batch(*batch)
            elif self.timers and timers:
                self.fire(min(self.timers, key=lambda seq: (self.timers[seq], seq)))
            elif len(self.events) == self.sent:
                return self
        raise AssertionError(f"still going on after {limit} rounds")

    def _answerable(
        self, activities: dict[str, Callable[..., Any]]
    ) -> tuple[int, Callable[..., Any]] | None:
        for seq, command in self.activities.items():
            if command.activity_type in activities:
                return seq, activities[command.activity_type]
        return None

    def _answer(self, seq: int, fn: Callable[..., Any]) -> None:
        args = CONVERTER.from_payloads(self.activities[seq].input)
        try:
            self.complete_activity(seq, _call(fn, args))
        except Exception as error:  # noqa: BLE001 - whatever the test's activity raises
            self.fail_activity(seq, error)

    def _answerable_batch(
        self, activities: dict[str, Callable[..., Any]]
    ) -> tuple[int, Callable[..., Any]] | None:
        for seq in self.batches:
            if self.batch_types[seq] in activities:
                return seq, activities[self.batch_types[seq]]
        return None

    def _answer_batch(self, seq: int, fn: Callable[..., Any]) -> None:
        inputs = self.batches[seq].items()
        results = {index: _call(fn, CONVERTER.from_payloads(each)) for index, each in inputs}
        self.close_items(seq, results, ends=True)

    # --- recording -----------------------------------------------------------------------------

    def _report(self, commands: Sequence[Command], steps: list[Event]) -> None:
        if self._is_refused(commands):
            self.lose_worker()
            return
        # A step's result brings another activation: the task goes on.
        done = not steps and not self.steps
        activations, self._unreported = self._unreported, []
        recorded: list[Event] = []
        if steps and not commands and len(activations) == 1:
            steps = [_with_boundary(steps[0], activations[0]), *steps[1:]]
        else:
            recorded = [_completed(each) for each in activations]
        recorded += [self._command_event(each) for each in commands]
        recorded += steps
        if done:
            self._task_open = False
        self.record(*recorded)
        if not any(type(each.event) in TOLD_KINDS for each in self.events[self.sent :]):
            # The events come back, but there is nothing in them to tell.
            if self.instance is not None:
                self.instance.activate(tuple(self.events[self.sent :]), started=self.now)
            self.sent = len(self.events)

    def _is_refused(self, commands: Sequence[Command]) -> bool:
        """Whether something has happened while the report of an end was on its way."""
        crossing, self.crossing = self.crossing, []
        before = len(self.events)
        for happen in crossing:
            happen(self)
        return any(isinstance(each, cmd.CLOSING_COMMANDS) for each in commands) and any(
            isinstance(each.event, ev.RESOLUTIONS) for each in self.events[before:]
        )

    def _command_event(self, command: Command) -> Event:
        fields = msgspec.structs.asdict(command)
        match command:
            case cmd.ScheduleActivity(seq=seq):
                self.activities[seq] = command
                return ev.ActivityScheduled(**{**fields, "task_queue": "tests"})
            case cmd.ScheduleBatch(seq=seq):
                self.batches[seq] = dict(enumerate(command.items))
                self.batch_types[seq] = command.activity_type
                self.batches_tolerate[seq] = command.tolerated_failures
                self.batch_counts[seq] = [0, 0]
                return ev.BatchScheduled(**{**fields, "task_queue": "tests"})
            case cmd.StartTimer(seq=seq, delay=delay):
                self.timers[seq] = self.now + delay
                return ev.TimerStarted(fires=self.now + delay, **fields)
            case cmd.CancelTimer(seq=seq):
                self.timers.pop(seq, None)
                return ev.TimerCanceled(seq=seq)
            case cmd.RequestCancelActivity(seq=seq):
                return ev.ActivityCancelRequested(seq=seq)
            case cmd.CompleteWorkflow():
                return ev.WorkflowCompleted(**fields)
            case cmd.FailWorkflow():
                return ev.WorkflowFailed(**fields)
            case cmd.CancelWorkflow():
                return ev.WorkflowCanceled(**fields)

    def _run_step(self, step: StepInvocation) -> Event:
        assert step.fn is not None
        try:
            result = _call(step.fn, step.args)
        except Exception as error:  # noqa: BLE001 - whatever the test's step raises
            failure = CONVERTER.to_failure(error)
            return ev.StepFailed(seq=step.seq, name=step.name, failure=failure)
        payload = CONVERTER.to_payload(result)
        return ev.StepCompleted(seq=step.seq, name=step.name, result=payload)

    # --- looking -------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return isinstance(self.events[-1].event, ev.CLOSING_EVENTS)

    @property
    def result(self) -> Any:
        """What the run returned; raises as it raised."""
        event = self.events[-1].event
        if isinstance(event, ev.WorkflowFailed):
            raise CONVERTER.from_failure(event.failure)
        assert isinstance(event, ev.WorkflowCompleted), self.kinds()
        return CONVERTER.from_payload(event.result)

    @property
    def failure(self) -> FailureError:
        """How the run failed."""
        event = self.events[-1].event
        assert isinstance(event, ev.WorkflowFailed), self.kinds()
        return CONVERTER.from_failure(event.failure)

    def kinds(self) -> list[str]:
        """The names of the events, in order."""
        return [ev.event_name(each.event) for each in self.events]

    def commands(self) -> list[str]:
        """The names of the command events, in order."""
        return [
            ev.event_name(each.event)
            for each in self.events
            if isinstance(each.event, ev.COMMAND_EVENTS)
        ]


TOLD_KINDS = frozenset((ev.WorkflowStarted, *ev.RESOLUTIONS))


def new_instance(driver: RunDriver) -> WorkflowInstance:
    """A fresh instance of the driver's run."""
    return WorkflowInstance(
        WorkflowDefinition.of(driver.workflow),
        RunRef("default", driver.workflow_id, driver.run_id),
        CONVERTER,
        failure_exception_types=driver.failure_exception_types,
    )


def replay(driver: RunDriver, workflow: type | None = None) -> Told:
    """Replay the whole history, by default with the code that made it."""
    return replay_events(workflow or driver.workflow, driver.events)


def replay_events(workflow: type, events: Sequence[HistoryEvent]) -> Told:
    """Replay a history with some code."""
    start = events[0].event
    assert isinstance(start, ev.WorkflowStarted)
    instance = WorkflowInstance(
        WorkflowDefinition.of(workflow), RunRef("default", "wf", start.run_id), CONVERTER
    )
    try:
        return instance.activate(tuple(events), started=events[-1].time, complete=True)
    finally:
        instance.close()


def assert_replays(driver: RunDriver) -> None:
    """Law 1: from any prefix, replaying yields the commands that made the history."""
    events = driver.events
    known = 0
    for activation in recorded_activations(events):
        if known > activation.through:
            # The activation before was recorded later than this one was told: a worker that knows
            # only this much would make one activation of both.
            continue
        known = activation.recorded.id
        told = _activate_fresh(driver, activation.through, activation.started)
        if not told.activations:
            continue
        recorded = [_without_server_fields(each.event) for each in activation.commands]
        asked = [_without_server_fields(each) for each in told.commands]
        assert asked == recorded, f"activation through {activation.through}"
        asked = activation.recorded.event.asked
        assert told.activations == [Activation(activation.through, activation.started, asked)]
    for count in driver.commits:
        _activate_fresh(driver, count, events[count - 1].time)


def _activate_fresh(driver: RunDriver, count: int, started: int) -> Told:
    instance = new_instance(driver)
    try:
        return instance.activate(tuple(driver.events[:count]), started=started, complete=True)
    finally:
        instance.close()


def _without_server_fields(value: Any) -> dict[str, Any]:
    fields = msgspec.structs.asdict(value)
    for name in ("fires", "task_queue"):
        fields.pop(name, None)
    if isinstance(fields.get("failure"), Failure):
        fields["failure"] = _without_stacks(fields["failure"])
    return fields


def _without_stacks(failure: Failure | None) -> Failure | None:
    if failure is None:
        return None
    cause = _without_stacks(failure.cause)
    return msgspec.structs.replace(failure, stack_trace="", cause=cause)


def _completed(activation: Activation) -> Event:
    return ev.WorkflowTaskCompleted(
        through=activation.through, started=activation.started, asked=activation.asked
    )


def _with_boundary(step: Event, activation: Activation) -> Event:
    assert isinstance(step, (ev.StepCompleted, ev.StepFailed))
    return msgspec.structs.replace(
        step,
        through=activation.through,
        started=activation.started,
        asked=activation.asked,
    )


def _call(fn: Callable[..., Any], args: Iterable[Any]) -> Any:
    result = fn(*args)
    if not inspect.iscoroutine(result):
        return result
    try:
        result.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("steps and activities of these tests do not wait")
