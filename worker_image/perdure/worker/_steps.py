"""Steps: light side effects that run in the worker of their workflow.

A step is tried again here, in this process, after its retry policy; only its end is reported.
Whoever started it is told on the loop, and collects what ends in one round into one report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perdure.activity._context import Context, Flag
from perdure.activity._definition import is_async
from perdure.activity._info import ActivityCancellationDetails, Info
from perdure.common import RetryPolicy, from_millis
from perdure.converter import DataConverter
from perdure.protocol.failures import ApplicationInfo, Failure, TimeoutInfo, TimeoutKind
from perdure.protocol.messages import RunRef, StepResult
from perdure.protocol.payloads import Millis
from perdure.protocol.payloads import RetryPolicy as Policy
from perdure.replay import StepInvocation
from perdure.worker._calls import AsyncCall, Call, ThreadCall
from perdure.worker._outcomes import NOT_REGISTERED, Outcome, failed, raised, returned
from perdure.worker._registry import Registry
from perdure.worker._threads import Interrupter

logger = logging.getLogger("perdure.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """What all steps of a worker share."""

    registry: Registry
    converter: DataConverter
    executor: Executor
    shutdown: Flag
    task_queue: str


class Step:
    """Runs one step until it succeeds or is not to be tried again.

    Args:
        run: Whose it is.
        workflow_type: The type of that run.
        invocation: What was asked for.
        settings: The worker's.
        ended: Takes the result, unless the step was cancelled.
    """

    def __init__(
        self,
        run: RunRef,
        workflow_type: str,
        invocation: StepInvocation,
        settings: StepSettings,
        ended: Callable[[StepResult], None],
    ) -> None:
        self._run_ref = run
        self._workflow_type = workflow_type
        self._invocation = invocation
        self._settings = settings
        self._ended = ended
        self._attempt = 0
        self._context: Context | None = None
        self._cancelled = False
        # The task's own name is what a log of a blocked loop says.
        self._task = asyncio.create_task(self._run(), name=self.label)

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"step {self._invocation.name} (of {self._run_ref.workflow_id})"

    def cancel(self, *, worker_shutdown: bool = False) -> None:
        """Stop it and tell nobody how it ended."""
        self._cancelled = True
        if self._context is not None:
            self._context.cancel(
                ActivityCancellationDetails(
                    worker_shutdown=worker_shutdown, cancel_requested=not worker_shutdown
                )
            )
        self._task.cancel()

    async def _run(self) -> None:
        try:
            outcome = await self._tried()
        except asyncio.CancelledError:
            return  # only cancel() lets one through
        if not self._cancelled:
            self._ended(
                StepResult(
                    seq=self._invocation.seq,
                    name=self._invocation.name,
                    result=outcome.result,
                    failure=outcome.failure,
                    attempt=self._attempt,
                )
            )

    async def _tried(self) -> Outcome:
        while True:
            self._attempt += 1
            outcome = await self._once()
            if outcome.failure is None:
                return outcome
            delay = retry_delay(self._invocation.retry_policy, outcome.failure, self._attempt)
            message = outcome.failure.message
            if delay is None:
                logger.warning("The %s failed for good: %s", self.label, message)
                return outcome
            logger.warning(
                "The %s failed (attempt %d) and is tried again in %.3f s: %s",
                self.label,
                self._attempt,
                delay / 1000,
                message,
            )
            await asyncio.sleep(delay / 1000)

    async def _once(self) -> Outcome:
        call = self._make_call()
        if call is None:
            return self._unknown()
        limit = self._invocation.timeout
        timeout = None if limit is None else asyncio.timeout(limit / 1000)
        try:
            if timeout is None:
                result = await call.run()
            else:
                async with timeout:
                    result = await call.run()
        except GeneratorExit:  # the loop is being torn down; nobody can be told
            raise
        except BaseException as error:
            if self._cancelled:
                raise asyncio.CancelledError from error
            if timeout is not None and timeout.expired() and isinstance(error, TimeoutError):
                kind = TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)
                return Outcome(failure=Failure(message=f"timed out after {limit} ms", info=kind))
            return raised(error, self._settings.converter)
        what = f"the result of step {self._invocation.name}"
        return returned(result, self._settings.converter, what)

    def _make_call(self) -> Call | None:
        invocation, settings = self._invocation, self._settings
        fn, is_interruptible = invocation.fn, True
        # The worker's own callable of that name first: it may be a method bound to its object.
        registered = settings.registry.activities.get(invocation.activity)
        if registered is not None:
            fn = registered.definition.fn
            is_interruptible = not registered.definition.no_thread_cancel_exception
        if fn is None:
            return None

        in_loop = is_async(fn)
        interrupter = Interrupter() if is_interruptible and not in_loop else None
        self._context = Context(
            info=self._info,
            heartbeat=_ignore,
            shutdown=settings.shutdown,
            shield=interrupter.shield if interrupter else nullcontext,
            payload_converter=lambda: settings.converter.payload_converter,
        )
        if in_loop:
            return AsyncCall(fn, invocation.args, self._context)
        return ThreadCall(
            fn,
            invocation.args,
            self._context,
            executor=settings.executor,
            interrupter=interrupter,
        )

    def _unknown(self) -> Outcome:
        known = ", ".join(sorted(self._settings.registry.activities)) or "none"
        return failed(
            f"Activity {self._invocation.activity!r} is not registered on this worker; registered "
            f"are: {known}. Give it to Worker(activities=[...])",
            type_=NOT_REGISTERED,
        )

    def _info(self) -> Info:
        run, invocation = self._run_ref, self._invocation
        now = datetime.now(UTC)
        timeout = from_millis(invocation.timeout)
        return Info(
            activity_id=str(invocation.seq),
            activity_type=invocation.name,
            attempt=self._attempt,
            current_attempt_scheduled_time=now,
            heartbeat_details=(),
            heartbeat_timeout=None,
            is_local=True,
            namespace=run.namespace,
            schedule_to_close_timeout=None,
            scheduled_time=now,
            start_to_close_timeout=timeout,
            started_time=now,
            task_queue=self._settings.task_queue,
            task_token=b"",
            workflow_id=run.workflow_id,
            workflow_namespace=run.namespace,
            workflow_run_id=run.run_id,
            workflow_type=self._workflow_type,
            retry_policy=RetryPolicy.from_protocol(invocation.retry_policy),
            idempotency_key=invocation.idempotency_key,
        )


def retry_delay(policy: Policy, failure: Failure, attempt: int) -> Millis | None:
    """Return how long to wait after the failure of ``attempt`` (from 1); None: no further one."""
    final, asked = False, None
    match failure.info:
        case ApplicationInfo() as info:
            final = info.non_retryable or info.type in policy.non_retryable_error_types
            asked = info.next_retry_delay
        case TimeoutInfo():
            final = "TemporalTimeout:StartToClose" in policy.non_retryable_error_types
        case _:
            pass  # an error of something else that failed, passed on
    if final or (policy.maximum_attempts and attempt >= policy.maximum_attempts):
        return None
    return asked if asked is not None else _backoff(policy, attempt)


def _backoff(policy: Policy, attempt: int) -> Millis:
    longest = policy.maximum_interval or 100 * policy.initial_interval
    try:
        delay = policy.initial_interval * policy.backoff_coefficient ** (attempt - 1)
    except OverflowError:
        return longest
    return round(min(longest, delay))


def _ignore(*_details: Any) -> None:
    """A step needs no heartbeats: its workflow's task is alive with it."""
