"""One attempt of an activity, from the task to the report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.activity._context import Context, Flag
from perdure.activity._info import ActivityCancellationDetails, Info
from perdure.common import from_instant, from_millis
from perdure.converter import DataConverter
from perdure.exceptions import (
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ConversionError,
    PayloadTooLargeError,
)
from perdure.protocol.failures import CanceledInfo, Failure, TimeoutInfo, TimeoutKind
from perdure.protocol.items import key_text
from perdure.protocol.messages import ActivityHeartbeat, ActivityReport, ActivityTask
from perdure.worker._calls import AsyncCall, Call, ThreadCall
from perdure.worker._heartbeats import Heartbeats
from perdure.worker._outcomes import (
    INVALID_INPUT,
    WORKER_SHUTDOWN,
    Outcome,
    failed,
    raised,
    returned,
)
from perdure.worker._registry import RegisteredActivity
from perdure.worker._threads import Interrupter

if TYPE_CHECKING:
    from perdure.client import Client

logger = logging.getLogger("perdure.worker")

_LATE = 1.0
"""Seconds past start-to-close after which the worker itself stops an attempt: the server says so
in time, unless it cannot be heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettings:
    """What all attempts of a worker share."""

    converter: DataConverter
    executor: Executor
    shutdown: Flag
    throttle: Callable[[int | None], float]
    """Seconds between heartbeats for a heartbeat timeout in milliseconds."""
    client: Client | None = None


class Attempt:
    """Runs an activity once.

    Args:
        task: What the server handed out.
        registered: What to call.
        settings: The worker's.
        send: Takes heartbeats.
        report: Takes the end, once.
    """

    def __init__(
        self,
        task: ActivityTask,
        registered: RegisteredActivity,
        settings: AttemptSettings,
        *,
        send: Callable[[ActivityHeartbeat], None],
        report: Callable[[ActivityReport], None],
    ) -> None:
        self.task = task
        self._registered = registered
        self._settings = settings
        self._send = send
        self._report = report
        self._interrupter = self._make_interrupter()
        self._heartbeats = Heartbeats(
            interval=settings.throttle(task.heartbeat_timeout), send=self._send_heartbeat
        )
        self._context = Context(
            info=self._info,
            heartbeat=self._heartbeats.beat,
            shutdown=settings.shutdown,
            shield=self._interrupter.shield if self._interrupter else nullcontext,
            payload_converter=lambda: settings.converter.payload_converter,
            client=settings.client if registered.definition.is_async else None,
        )
        self._call: Call | None = None
        self._reported = False

    @property
    def label(self) -> str:
        """What to call it in messages."""
        task = self.task
        item = "" if task.item is None else f" item {task.item},"
        return (
            f"activity {task.activity_type} (id {task.activity_id},{item} attempt "
            f"{task.attempt.attempt}, of {task.workflow_id})"
        )

    async def run(self) -> None:
        """Run it to its end and report; never raises for what the activity does."""
        limit = self.task.start_to_close_timeout
        timer = None
        if limit is not None:
            timer = asyncio.get_running_loop().call_later(limit / 1000 + _LATE, self._time_out)
        try:
            self._finish(await self._outcome())
        finally:
            if timer is not None:
                timer.cancel()

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """Ask it to stop; the first reason counts."""
        if self._context.cancel(details) and self._call is not None:
            self._call.cancel()

    def give_up(self, why: str) -> None:
        """Report that it failed although it goes on: nobody waits for it any longer."""
        logger.error("The %s did not stop when it was asked to: %s", self.label, why)
        self._finish(failed(why, type_=WORKER_SHUTDOWN, next_retry_delay=0))

    async def _outcome(self) -> Outcome:
        converter = self._settings.converter
        try:
            args = self._registered.decode(self.task.input, converter)
        except ConversionError as error:
            return failed(str(error), type_=INVALID_INPUT, non_retryable=True)
        try:
            result = await self._make_call(args).run()
        except GeneratorExit:  # the loop is being torn down; nobody can be told
            raise
        except BaseException as error:  # noqa: BLE001 - the border of user code: recorded, logged
            outcome = self._raised(error)
            self._heartbeats.finish(flush=True)
            return outcome
        return returned(result, converter, f"the result of activity {self.task.activity_type}")

    def _make_call(self, args: Sequence[Any]) -> Call:
        definition = self._registered.definition
        if definition.is_async:
            self._call = AsyncCall(definition.fn, args, self._context)
        else:
            self._call = ThreadCall(
                definition.fn,
                args,
                self._context,
                executor=self._settings.executor,
                interrupter=self._interrupter,
            )
        if self._context.cancelled.is_set():
            self._call.cancel()
        return self._call

    def _make_interrupter(self) -> Interrupter | None:
        definition = self._registered.definition
        unwanted = definition.is_async or definition.no_thread_cancel_exception
        return None if unwanted else Interrupter()

    def _raised(self, error: BaseException) -> Outcome:
        details = self._context.cancellation_details
        stopped = isinstance(error, (asyncio.CancelledError, CancelledError))
        if details is not None and stopped:
            return self._stopped(details, error)
        outcome = raised(error, self._settings.converter)
        logger.log(_loudness(error), "The %s failed", self.label, exc_info=error)
        return outcome

    def _stopped(self, details: ActivityCancellationDetails, error: BaseException) -> Outcome:
        """It ended because it was asked to; why it was asked says what that is called."""
        if details.worker_shutdown:
            why = "the worker is shutting down; it is tried again on another"
            return failed(why, type_=WORKER_SHUTDOWN, next_retry_delay=0)
        if details.timed_out:
            kind = TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)
            return Outcome(failure=Failure(message="timed out and was stopped", info=kind))
        failure = self._settings.converter.to_failure(error)
        if not isinstance(failure.info, CanceledInfo):
            failure = msgspec.structs.replace(failure, info=CanceledInfo())
        return Outcome(failure=failure)

    def _finish(self, outcome: Outcome) -> None:
        self._heartbeats.finish(flush=False)
        if not self._reported:
            self._reported = True
            self._report(
                ActivityReport(
                    attempt=self.task.attempt, result=outcome.result, failure=outcome.failure
                )
            )

    def _time_out(self) -> None:
        self.cancel(ActivityCancellationDetails(timed_out=True))

    def _send_heartbeat(self, details: Sequence[Any]) -> None:
        try:
            payloads = self._settings.converter.to_payloads(details, f"heartbeat of {self.label}")
        except (ConversionError, PayloadTooLargeError):
            logger.exception(
                "Details of a heartbeat cannot be sent; only the sign of life is. Give heartbeat() "
                "small values that the data converter knows"
            )
            payloads = ()
        self._send(ActivityHeartbeat(attempt=self.task.attempt, details=payloads))

    def _info(self) -> Info:
        task = self.task
        run_id, seq, attempt = task.attempt.run_id, task.attempt.seq, task.attempt.attempt
        in_workflow = not task.standalone
        return Info(
            activity_id=task.activity_id,
            activity_type=task.activity_type,
            attempt=attempt,
            current_attempt_scheduled_time=from_instant(task.scheduled),
            heartbeat_details=self._settings.converter.from_payloads(task.heartbeat_details),
            heartbeat_timeout=from_millis(task.heartbeat_timeout),
            is_local=False,
            namespace=task.namespace,
            schedule_to_close_timeout=from_millis(task.schedule_to_close_timeout),
            scheduled_time=from_instant(task.scheduled),
            start_to_close_timeout=from_millis(task.start_to_close_timeout),
            started_time=from_instant(task.started),
            task_queue=task.task_queue,
            task_token=msgspec.msgpack.encode(task.attempt),
            workflow_id=task.workflow_id if in_workflow else None,
            workflow_namespace=task.namespace if in_workflow else None,
            workflow_run_id=run_id if in_workflow else None,
            workflow_type=task.workflow_type if in_workflow else None,
            activity_run_id=None if in_workflow else run_id,
            item=task.item,
            idempotency_key=task.idempotency_key or f"{run_id}:{key_text(seq)}",
        )


def _loudness(error: BaseException) -> int:
    if isinstance(error, ApplicationError) and error.category is ApplicationErrorCategory.BENIGN:
        return logging.DEBUG
    # What is no Exception is meant to end a process: somebody should look at that.
    return logging.WARNING if isinstance(error, Exception) else logging.ERROR
