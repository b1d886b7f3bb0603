"""One run's code, told what has happened and asked what it wants.

:meth:`WorkflowInstance.activate` is given events and returns what the code asks for next; it does
no I/O and holds no state but what those events make of the code. With a whole history it first
replays the activations that are recorded in it, and raises when the code does not do again what it
did then. See ``docs/explanation/architecture.md`` for activations and the seam to the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.common import RawValue
from perdure.converter import DataConverter
from perdure.exceptions import (
    ApplicationError,
    ConversionError,
    NondeterminismError,
    PayloadTooLargeError,
)
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.commands import Command
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.messages import Activation, RunRef
from perdure.protocol.payloads import Millis, Payload
from perdure.replay._asked import StepInvocation
from perdure.replay._handlers import decode_arguments
from perdure.replay._history import has_news, is_over, recorded_activations
from perdure.replay._matching import check_commands
from perdure.replay._run import Run
from perdure.replay._teardown import tear_down
from perdure.replay.errors import WorkflowTaskError
from perdure.workflow._definition import WorkflowDefinition

INVALID_INPUT = "InvalidInput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of telling a run something."""

    activations: list[Activation]
    """Live ones only: at most one, none when there was nothing to tell."""
    commands: list[Command]
    start_steps: list[StepInvocation]
    cancel_steps: list[int]
    """Numbers of steps that were handed out before."""
    closed: bool
    """A closing command is among the commands: it is the last one."""


class WorkflowInstance:
    """One run's code on its deterministic loop.

    Args:
        definition: Of the workflow.
        run: Which run.
        converter: Payloads to values and back; a codec has done its part before.
        failure_exception_types: More exceptions that fail a workflow, for every definition.
    """

    def __init__(
        self,
        definition: WorkflowDefinition,
        run: RunRef,
        converter: DataConverter,
        *,
        failure_exception_types: Sequence[type[BaseException]] = (),
    ) -> None:
        self._run = Run(definition, run, converter, tuple(failure_exception_types))
        self._main: asyncio.Task[None] | None = None
        self._args: Sequence[Any] = ()
        self._untold: list[HistoryEvent] = []
        self._closed = False

    @property
    def last_event(self) -> int:
        """The id of the last event that was given to :meth:`activate`."""
        return self._untold[-1].id if self._untold else self._run.last_event

    def activate(
        self, events: Sequence[HistoryEvent], *, started: Millis | None, complete: bool = False
    ) -> Told:
        """Tell the run what has happened.

        Args:
            events: The whole history when ``complete``, else what follows the last event given.
            started: The time of the live activation. ``None`` tells nothing new: recorded
                activations are replayed, so that queries can be answered, and the rest is kept for
                the next call.
            complete: ``events`` begin with the first event of the history.

        Raises:
            WorkflowTaskError: the code could not be run; the instance is of no more use.
        """
        try:
            with self._run.loop.entered():
                return self._activate(events, started, complete=complete)
        except NondeterminismError as error:
            raise self._task_error("Nondeterminism", error) from error
        except PayloadTooLargeError as error:
            raise self._task_error("PayloadTooLarge", error) from error
        except (Exception, SystemExit) as error:
            if isinstance(error, WorkflowTaskError):
                raise
            raise self._task_error("WorkflowError", error) from error

    def query(
        self,
        name: str,
        input: Sequence[Payload] = (),  # noqa: A002 - the word of the protocol
    ) -> tuple[Payload | None, Failure | None]:
        """Ask the run's code something: its answer, or how it failed."""
        run = self._run
        try:
            if run.instance is None:
                raise ApplicationError(
                    f"run {run.ref.workflow_id!r} has not begun: ask again when its first task is "
                    "done",
                    type="NotStarted",
                )
            with run.loop.entered(), run.read_only(f"query {name!r}"):
                return run.handlers.answer(name, input), None
        except Exception as error:  # noqa: BLE001 - the border of the user's code
            return None, run.converter.to_failure(error)

    def close(self) -> None:
        """Tear down the run's coroutines, quietly; nothing that they ask for is heard."""
        if self._closed:
            return
        self._closed = True
        self._run.evicted = True
        with self._run.loop.entered():
            tear_down(self._run.loop.take_tasks())
        self._run.loop.take_tasks()

    # --- telling -------------------------------------------------------------------------------

    def _activate(
        self, events: Sequence[HistoryEvent], started: Millis | None, *, complete: bool
    ) -> Told:
        self._check_order(events, complete=complete)
        news = self._replay(events) if complete else events
        if self._untold:
            news, self._untold = [*self._untold, *news], []
        if started is None:
            self._untold = list(news)
            return Told(activations=[], commands=[], start_steps=[], cancel_steps=[], closed=False)
        activations: list[Activation] = []
        if news and has_news(news) and not is_over(news):
            time = self._tell(news, started)
            activations.append(Activation(news[-1].id, time, self._run.last_seq))
        else:
            self._pass_over(news)
        if activations and self._run.asked.is_closed:
            self._run.handlers.warn_unfinished()
        commands = self._run.asked.take_commands()
        start_steps, cancel_steps = self._run.asked.take_steps()
        return Told(
            activations=activations,
            commands=commands,
            start_steps=start_steps,
            cancel_steps=cancel_steps,
            closed=self._run.asked.is_closed,
        )

    def _check_order(self, events: Sequence[HistoryEvent], *, complete: bool) -> None:
        expected = 1 if complete else self.last_event + 1
        if events and events[0].id != expected:
            problem = f"expected event {expected} next, got event {events[0].id}"
            raise WorkflowTaskError("HistoryGap", Failure(message=problem))

    def _replay(self, events: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
        """Run the recorded activations again; return the events behind them."""
        run = self._run
        run.replaying = True
        told = 0
        for recorded in recorded_activations(events):
            portion = events[told : recorded.through]
            if has_news(portion):
                self._tell(portion, recorded.started)
            else:
                self._pass_over(portion)
            check_commands(recorded, run.asked.take_commands(), run.waits.labels)
            told = recorded.through
        run.replaying = False
        return events[told:]

    def _tell(self, events: Sequence[HistoryEvent], started: Millis) -> Millis:
        """Run one activation; return its time."""
        run = self._run
        now = run.set_now(started)
        run.last_event = events[-1].id
        if run.started is None:
            self._begin(events[0])
        signals = [each.event for each in events if type(each.event) is ev.SignalReceived]
        if signals and not run.asked.is_closed:
            for signal in signals:
                run.handlers.receive(signal)
            self._settle()
        for each in events:
            tell = _TELL.get(type(each.event))
            if tell is not None:
                tell(self, each)
        self._settle()
        return now

    def _pass_over(self, events: Sequence[HistoryEvent]) -> None:
        """Take note of events that the code is not told of: there is no activation."""
        for each in events:
            self._run.last_event = each.id
            if type(each.event) is ev.TimerCanceled:
                self._timer_is_gone(each)

    def _settle(self) -> None:
        """Let the code run until all of it waits."""
        run = self._run
        while True:
            run.loop.drain()
            if run.task_error is not None:
                raise run.task_error
            if not run.check_conditions():
                return

    def _begin(self, first: HistoryEvent) -> None:
        """Make the workflow's object: handlers of early signals run before ``run`` does."""
        run = self._run
        run.started = first
        run.loop.seed(run.seed)
        definition = run.definition
        try:
            self._args = self._decode_input()
        except ConversionError as error:
            failure = ApplicationError(str(error), type=INVALID_INPUT, non_retryable=True)
            run.asked.close(cmd.FailWorkflow(failure=run.converter.to_failure(failure)))
            return
        try:
            run.instance = definition.cls(*(self._args if definition.init_takes_input else ()))
        except Exception as error:  # noqa: BLE001 - the border of the user's code
            run.end_with_error(error)
        else:
            run.handlers.install(run.instance)

    def _decode_input(self) -> Sequence[Any]:
        definition = self._run.definition
        payloads = self._run.start_event.input
        if definition.is_dynamic:
            return ([RawValue(payload) for payload in payloads],)
        return decode_arguments(
            self._run.converter,
            definition,
            payloads,
            of=f"{definition.label}.run",
        )

    def _start(self, _recorded: HistoryEvent) -> None:
        run = self._run
        if not run.asked.is_closed:
            name = f"run {run.ref.workflow_id}"
            self._main = run.loop.create_task(
                self._run_main(), name=name, context=run.context.copy()
            )

    async def _run_main(self) -> None:
        run = self._run
        try:
            result = await run.definition.run_fn(run.instance, *self._args)
            payload = None
            if result is not None:
                payload = run.converter.to_payload(result, f"the result of {run.definition.label}")
            run.asked.close(cmd.CompleteWorkflow(result=payload))
        except BaseException as error:
            run.end_with_error(error)
            if not isinstance(error, Exception):
                raise

    def _cancel(self, recorded: HistoryEvent) -> None:
        assert isinstance(recorded.event, ev.CancelRequested)
        first = self._run.cancel_reason is None
        self._run.cancel_reason = recorded.event.reason
        if first and self._main is not None:
            # Not at once: code that has not begun yet must come to where it can notice.
            self._run.loop.call_soon(self._main.cancel)

    def _resolve(self, recorded: HistoryEvent) -> None:
        self._run.resolve(recorded)

    def _collect(self, recorded: HistoryEvent) -> None:
        self._run.waits.collect(recorded)

    def _timer_is_gone(self, recorded: HistoryEvent) -> None:
        assert isinstance(recorded.event, ev.TimerCanceled)
        self._run.waits.settle(recorded.event.seq)

    def _task_error(self, cause: str, error: BaseException) -> WorkflowTaskError:
        return WorkflowTaskError(cause, self._run.converter.to_failure(error))


_TELL: dict[type, Callable[[WorkflowInstance, HistoryEvent], None]] = {
    ev.WorkflowStarted: WorkflowInstance._start,  # noqa: SLF001 - a table of its own methods
    ev.CancelRequested: WorkflowInstance._cancel,  # noqa: SLF001
    ev.TimerCanceled: WorkflowInstance._timer_is_gone,  # noqa: SLF001
    **{
        kind: WorkflowInstance._resolve  # noqa: SLF001
        for kind in ev.RESOLUTIONS
        if kind not in (ev.SignalReceived, ev.CancelRequested)
    },
    ev.BatchItemsClosed: WorkflowInstance._collect,  # noqa: SLF001
}
"""How each kind of event reaches the code; signals go before all of these."""
