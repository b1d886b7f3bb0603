"""What workflow code asks of its run, as values, and what it holds while it waits.

The public functions check and gather what the user wrote into a request; the run numbers it,
turns it into a command or a step, and gives back a handle. A handle is a future, so everything in
asyncio that takes futures takes handles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from perdure.protocol.payloads import Millis, RetryPolicy
from perdure.protocol.placements import Placement

T = TypeVar("T")
DEFAULT_RETRY_POLICY = RetryPolicy()


class ActivityCancellationType(IntEnum):
    """What cancelling the wait for an activity does."""

    TRY_CANCEL = 0
    """Ask the activity to stop, and go on at once."""
    WAIT_CANCELLATION_COMPLETED = 1
    """Ask the activity to stop, and go on when it has."""
    ABANDON = 2
    """Let it run, and go on at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRequest:
    """An activity that is wanted; durations in milliseconds."""

    name: str
    args: tuple[Any, ...]
    result_type: Any | None
    task_queue: str = ""
    schedule_to_close_timeout: Millis | None = None
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    activity_id: str = ""
    """Empty means: made from its number."""
    summary: str = ""
    placement: Placement | None = None
    """Set when it has a pod of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A batch that is wanted: an activity for each of some items."""

    activity: ActivityRequest
    """What each item runs; it has no arguments of its own."""
    items: tuple[Any, ...]
    parallelism: int = 0
    """0 for no bound of the user's."""
    tolerated_failures: int = 0
    streamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """A step that is wanted."""

    name: str
    """Empty means: made from its number."""
    fn: Callable[..., Any] | None
    """None when an activity is named that only the worker knows."""
    args: tuple[Any, ...]
    result_type: Any | None
    retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY
    timeout: Millis | None = None
    """Of one attempt."""
    activity: str = ""
    """Set when an activity is run as a step: its registered name."""


class Handle(asyncio.Future[T]):
    """What a run still waits for; what cancelling it means, its run decides."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        key: int,
        seq: int,
        on_cancel: Callable[[Handle[Any], Any | None], bool],
    ) -> None:
        super().__init__(loop=loop)
        self.seq = seq
        """The number that the run gave it."""
        self._key = key
        self._on_cancel = on_cancel

    def __hash__(self) -> int:
        # Sets of handles are iterated in the same order on every replay.
        return self._key

    def cancel(self, msg: Any | None = None) -> bool:
        """Stop waiting; return whether that has any effect."""
        return not self.done() and self._on_cancel(self, msg)

    def cancel_wait(self, msg: Any | None = None) -> bool:
        """Cancel the mere future."""
        return super().cancel(msg)


class ActivityHandle(Handle[T]):
    """A started activity: await it for its result.

    Cancelling it cancels the activity, after its :class:`ActivityCancellationType`; whoever waits
    gets an :class:`~perdure.exceptions.ActivityError` caused by a
    :class:`~perdure.exceptions.CancelledError`.
    """
