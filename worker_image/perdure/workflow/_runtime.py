"""How workflow code finds the run that it belongs to.

Functions like :func:`perdure.workflow.sleep` take no run: while workflow code runs, the running
asyncio loop of the thread is its run's own loop, and that loop knows the runtime behind it. The
runtime is implemented by :class:`perdure.replay.instance.WorkflowInstance`; this package knows
only the :class:`Runtime` protocol, so that nothing here depends on the replay.
"""

from __future__ import annotations

import random
from asyncio.events import _get_running_loop
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from perdure.workflow._activities import ActivityHandle, ActivityRequest
    from perdure.workflow._info import Info
    from perdure.workflow._steps import StepHandle, StepRequest

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

    def memo(self) -> Mapping[str, Any]:
        """Return the run's memo, decoded."""

    def is_replaying(self) -> bool:
        """Whether recorded activations are being run again."""

    def history_length(self) -> int:
        """Return the id of the last event of the current activation."""

    def cancellation_reason(self) -> str | None:
        """Return why the run was asked to end; ``None`` while it was not."""

    def is_failure(self, error: BaseException) -> bool:
        """Whether ``error`` fails the workflow (and not only its task)."""

    def start_activity(self, request: ActivityRequest) -> ActivityHandle[Any]:
        """Ask for an activity."""

    def start_step(self, request: StepRequest) -> StepHandle[Any]:
        """Ask for a step."""

    async def sleep(self, duration: float, *, summary: str) -> None:
        """Wait for ``duration`` seconds on a durable timer."""

    async def wait_condition(
        self, fn: Callable[[], bool], *, timeout: timedelta | float | None, timeout_summary: str
    ) -> None:
        """Wait until ``fn`` is true."""

    def handler(self, kind: str, name: str | None) -> Callable[..., Any] | None:
        """Return the ``signal`` or ``query`` handler of a name (``None``: the dynamic one)."""

    def set_handler(self, kind: str, name: str | None, fn: Callable[..., Any] | None) -> None:
        """Set or drop a ``signal`` or ``query`` handler while the run lives."""

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
