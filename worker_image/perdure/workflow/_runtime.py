"""How workflow code finds the run that it belongs to.

Functions like :func:`perdure.workflow.sleep` take no run: while workflow code runs, the running
asyncio loop of the thread is its run's own loop, and that loop knows the runtime behind it. The
runtime is implemented by :class:`perdure.replay.instance.WorkflowInstance`; this package knows
only the :class:`Runtime` protocol, so that nothing here depends on the replay.
"""

from __future__ import annotations

import random
from asyncio.events import _get_running_loop
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from perdure.workflow._requests import (
    ActivityCancellationType,
    ActivityHandle,
    ActivityRequest,
    BatchRequest,
    StepRequest,
)

if TYPE_CHECKING:
    from perdure.converter import PayloadConverter
    from perdure.workflow._batch_handle import Batch
    from perdure.workflow._info import Info

HandlerKind = Literal["signal", "query"]

RUNTIME_ATTRIBUTE = "__perdure_runtime__"
"""Where a workflow's loop keeps its runtime; no other loop has it."""


class Runtime(Protocol):
    """What a run offers to the workflow code in it."""

    def now_ms(self) -> int:
        """Return the time of the current activation, in milliseconds since the epoch."""

    @property
    def random(self) -> random.Random:
        """The run's random numbers, seeded from its run id."""

    def info(self) -> Info:
        """Return what is known of the run."""

    @property
    def instance(self) -> Any:
        """The object whose methods are the workflow."""

    @property
    def payload_converter(self) -> PayloadConverter:
        """What values are turned into payloads with."""

    def is_replaying(self) -> bool:
        """Whether recorded activations are being run again."""

    def is_read_only(self) -> bool:
        """Whether nothing may be asked for right now, because a query is answered."""

    def history_length(self) -> int:
        """Return the id of the last event that the run has been told of."""

    def cancellation_reason(self) -> str | None:
        """Return why the run was asked to end; ``None`` while it was not."""

    def fail_task(self, error: Exception) -> None:
        """Have the activation fail with ``error``, also when the code catches it."""

    def is_failure(self, error: BaseException) -> bool:
        """Whether ``error`` fails the workflow (and not only its task)."""

    def start_activity(self, request: ActivityRequest) -> ActivityHandle[Any]:
        """Ask for an activity."""

    def start_batch(self, request: BatchRequest) -> Batch[Any]:
        """Ask for a batch."""

    def start_local_activity(
        self, request: StepRequest, *, cancellation_type: ActivityCancellationType, activity_id: str
    ) -> ActivityHandle[Any]:
        """Ask for an activity as a step."""

    def start_step(self, request: StepRequest) -> Awaitable[Any]:
        """Ask for a step."""

    def sleep(self, seconds: float, *, summary: str) -> Awaitable[None]:
        """Wait on a durable timer."""

    def wait_condition(
        self, fn: Callable[[], bool], *, timeout: timedelta | float | None, timeout_summary: str
    ) -> Awaitable[None]:
        """Wait until ``fn`` is true."""

    def handler(self, kind: HandlerKind, name: str | None) -> Callable[..., Any] | None:
        """Return the handler of a name (``None``: the dynamic one)."""

    def set_handler(
        self, kind: HandlerKind, name: str | None, fn: Callable[..., Any] | None
    ) -> None:
        """Set or drop a handler while the run lives."""

    def all_handlers_finished(self) -> bool:
        """Whether no signal handler is running."""


class NotInWorkflowError(RuntimeError):
    """This can only be asked from workflow code."""


def current_or_none() -> Runtime | None:
    """Return the run whose code is running on this thread, if there is one."""
    # The accessor without the error: this is asked at every guarded call of the process.
    return getattr(_get_running_loop(), RUNTIME_ATTRIBUTE, None)


def current() -> Runtime:
    """Return the run whose code is running on this thread.

    Raises:
        NotInWorkflowError: this is no workflow code.
    """
    runtime = current_or_none()
    if runtime is None:
        message = (
            "not in workflow code: functions of perdure.workflow work only while a workflow's run, "
            "its handlers or a task that they started are running, not in activities, in steps or "
            "at import"
        )
        raise NotInWorkflowError(message)
    return runtime
