"""What a run offers to the code in it: the runtime behind :mod:`perdure.workflow`.

It numbers what the code asks for, gathers it as commands and steps until the activation is over,
and lets those who wait go on when history says so. When an activation runs, and what it is told, is
:mod:`perdure.replay.instance`'s business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from typing import Any

from perdure.converter import DataConverter, PayloadConverter
from perdure.exceptions import FailureError, is_cancelled_exception
from perdure.protocol import commands as cmd
from perdure.protocol.events import HistoryEvent, StepCompleted, StepFailed, WorkflowStarted
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Millis
from perdure.protocol.retries import idempotency_key
from perdure.replay._asked import Asked
from perdure.replay._conditions import Conditions
from perdure.replay._facts import build_info
from perdure.replay._handlers import Handlers
from perdure.replay._loop import DeterministicLoop, DurableTimer
from perdure.replay._origins import failed_seq
from perdure.replay._waits import TimerWait, Waits
from perdure.replay._work import Work
from perdure.replay.errors import RunEvictedError
from perdure.workflow._batch_handle import Batch
from perdure.workflow._definition import WorkflowDefinition
from perdure.workflow._errors import ReadOnlyContextError
from perdure.workflow._info import Info
from perdure.workflow._logging import log_lost_error
from perdure.workflow._requests import (
    ActivityCancellationType,
    ActivityHandle,
    ActivityRequest,
    BatchRequest,
    Handle,
    StepRequest,
)
from perdure.workflow._runtime import RUNTIME_ATTRIBUTE, HandlerKind


class Run:
    """One run, as its code sees it."""

    def __init__(
        self,
        definition: WorkflowDefinition,
        ref: RunRef,
        converter: DataConverter,
        failure_types: tuple[type[BaseException], ...],
    ) -> None:
        self.definition = definition
        self.ref = ref
        self.converter = converter
        self._failures = (
            FailureError,
            TimeoutError,
            asyncio.CancelledError,
            *definition.failure_exception_types,
            *failure_types,
        )
        self.loop = DeterministicLoop(self)
        setattr(self.loop, RUNTIME_ATTRIBUTE, self)
        self.asked = Asked()
        self.waits = Waits(converter)
        self.conditions = Conditions(self.loop)
        self.handlers = Handlers(self)
        self.work = Work(self)
        self.context = Context()
        """Of every task: nothing of the worker's context variables shows in workflow code."""
        self.started: HistoryEvent | None = None
        self.instance: Any = None
        self.replaying = False
        self.last_event = 0
        self.cancel_reason: str | None = None
        self.task_error: BaseException | None = None
        """What makes the task fail; once set, nothing that the code asked for counts."""
        self.evicted = False
        self._seq = 0
        self._now_ms: Millis = 0
        self._random: random.Random | None = None
        self._info: Info | None = None

    # --- facts ---------------------------------------------------------------------------------

    def now_ms(self) -> Millis:
        """Return the time of the current activation."""
        return self._now_ms

    def set_now(self, now_ms: Millis) -> Millis:
        """Set the time, which never goes back; return what it is."""
        self._now_ms = max(self._now_ms, now_ms)
        self.loop.set_now(self._now_ms)
        return self._now_ms

    @property
    def seed(self) -> str:
        """What the random numbers are seeded from: the id of the run, or of the one retried."""
        return self.start_event.seed or self.ref.run_id

    def idempotency_key(self, seq: int) -> str:
        """Return the key of the step ``seq``: the same whenever it is run."""
        return idempotency_key(self.ref.run_id, self.start_event.keys, seq)

    @property
    def random(self) -> random.Random:
        """The run's random numbers."""
        self.assert_writable("take random numbers")
        if self._random is None:
            self._random = random.Random(self.seed)  # noqa: S311 - must be repeatable
        return self._random

    def info(self) -> Info:
        """Return what is known of the run."""
        if self._info is None:
            assert self.started is not None
            self._info = build_info(self.ref, self.started)
        return self._info

    @property
    def start_event(self) -> WorkflowStarted:
        """The run's first event."""
        assert self.started is not None
        assert isinstance(self.started.event, WorkflowStarted)
        return self.started.event

    @property
    def payload_converter(self) -> PayloadConverter:
        """What values are turned into payloads with."""
        return self.converter.payload_converter

    def is_replaying(self) -> bool:
        """Whether recorded activations are being run again."""
        return self.replaying or self.evicted

    def is_read_only(self) -> bool:
        """Whether nothing may be asked for right now."""
        return bool(self.loop.read_only)

    def fail_task(self, error: Exception) -> None:
        """Have the activation fail with ``error``, also when the code catches it."""
        # A query that does what it must not has failed, and nothing else has.
        if not self.loop.read_only and not self.evicted:
            self.task_error = self.task_error or error

    def history_length(self) -> int:
        """Return the id of the last event that the run has been told of."""
        return self.last_event

    def cancellation_reason(self) -> str | None:
        """Return why the run was asked to end; ``None`` while it was not."""
        return self.cancel_reason

    def is_failure(self, error: BaseException) -> bool:
        """Whether ``error`` fails the workflow (and not only its task)."""
        return isinstance(error, self._failures)

    # --- guarding ------------------------------------------------------------------------------

    @contextmanager
    def read_only(self, why: str) -> Iterator[None]:
        """Let the code in the block look, and change nothing."""
        before, self.loop.read_only = self.loop.read_only, why
        try:
            yield
        finally:
            self.loop.read_only = before

    def assert_writable(self, what: str) -> None:
        """Raise when nothing may be asked for right now."""
        if self.evicted:
            raise RunEvictedError
        if where := self.loop.read_only:
            raise ReadOnlyContextError(f"cannot {what} in {where}: it may only look")

    def lose_error(self, message: str, error: BaseException | None) -> None:
        """Log an error that nobody looked at."""
        if self.started is not None and not self.is_replaying():
            log_lost_error(message, error, self.info())

    def end_with_error(self, error: BaseException) -> None:
        """The run's code has raised: end the run or fail its task, as the error has it."""
        if self.evicted:
            return
        if self.cancel_reason is not None and is_cancelled_exception(error):
            self.asked.close(cmd.CancelWorkflow())
        elif self.is_failure(error):
            failure = self.converter.to_failure(error)
            self.asked.close(cmd.FailWorkflow(failure=failure, failed_seq=failed_seq(error)))
        elif self.task_error is None:
            self.task_error = error

    # --- activities and steps ------------------------------------------------------------------

    def start_activity(self, request: ActivityRequest) -> ActivityHandle[Any]:
        """Ask for an activity."""
        return self.work.start_activity(request)

    def start_batch(self, request: BatchRequest) -> Batch[Any]:
        """Ask for a batch."""
        return self.work.start_batch(request)

    def start_local_activity(
        self, request: StepRequest, *, cancellation_type: ActivityCancellationType, activity_id: str
    ) -> ActivityHandle[Any]:
        """Ask for an activity as a step."""
        return self.work.start_local_activity(
            request, cancellation_type=cancellation_type, activity_id=activity_id
        )

    def start_step(self, request: StepRequest) -> Handle[Any]:
        """Ask for a step."""
        return self.work.start_step(request)

    # --- timers and conditions -----------------------------------------------------------------

    async def sleep(self, seconds: float, *, summary: str) -> None:
        """Wait on a durable timer."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = self.loop.create_future()
        timer = self.loop.start_timer(seconds, _release, future, summary=summary)
        try:
            await future
        finally:
            timer.cancel()

    async def wait_condition(
        self, fn: Callable[[], bool], *, timeout: timedelta | float | None, timeout_summary: str
    ) -> None:
        """Wait until ``fn`` is true."""
        self.assert_writable("wait for a condition")
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        await self.conditions.wait(fn, seconds, timeout_summary)

    def check_conditions(self) -> bool:
        """Wake those whose condition has come true; return whether there are any."""
        if not self.conditions:
            return False
        with self.read_only("a wait condition"):
            met = self.conditions.met()
        for wake in met:
            wake()
        return bool(met)

    def start_timer(self, timer: DurableTimer, delay: Millis, summary: str) -> None:
        """Ask for a timer."""
        timer.seq = seq = self.next_seq()
        self.waits.add(TimerWait(seq, timer, self.loop))
        self.asked.begin(seq, cmd.StartTimer(seq=seq, delay=delay, summary=summary))

    def cancel_timer(self, timer: DurableTimer) -> None:
        """Ask for a timer no longer, if it is not over."""
        seq = timer.seq
        if self.evicted or self.waits.get(seq) is None:
            return
        if self.asked.take_back(seq):
            self.waits.forget(seq)
        else:
            self.waits.drop(seq)
            self.asked.command(cmd.CancelTimer(seq=seq))

    def resolve(self, recorded: HistoryEvent) -> None:
        """Let whoever waits for what ``recorded`` ends go on."""
        seq = self.waits.resolve(recorded)
        if isinstance(recorded.event, (StepCompleted, StepFailed)):
            self.asked.forget_step(seq)

    # --- handlers ------------------------------------------------------------------------------

    def handler(self, kind: HandlerKind, name: str | None) -> Callable[..., Any] | None:
        """Return the handler of a name."""
        return self.handlers.get(kind, name)

    def set_handler(
        self, kind: HandlerKind, name: str | None, fn: Callable[..., Any] | None
    ) -> None:
        """Set or drop a handler."""
        self.assert_writable(f"set a {kind} handler")
        self.handlers.set(kind, name, fn)

    def all_handlers_finished(self) -> bool:
        """Whether no signal handler is running."""
        return not self.handlers.running

    @property
    def last_seq(self) -> int:
        """The highest number that the code has taken."""
        return self._seq

    def next_seq(self) -> int:
        """Return the next number of what the run waits for."""
        self._seq += 1
        return self._seq


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
