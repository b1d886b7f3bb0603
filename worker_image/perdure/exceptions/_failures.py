"""The errors that travel: recorded in history, raised again in other processes.

Their recorded form is :class:`perdure.protocol.failures.Failure`; a failure converter makes
one from the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any

from perdure.exceptions._base import PerdureError
from perdure.protocol.failures import Failure, RetryState


class TimeoutType(IntEnum):
    """Which limit was passed."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class ApplicationErrorCategory(IntEnum):
    """How much noise an error deserves."""

    UNSPECIFIED = 0
    BENIGN = 1
    """Expected: logged quietly and not counted as a failure."""


class FailureError(PerdureError):
    """An error that history can hold."""

    def __init__(self, message: str, *, failure: Failure | None = None) -> None:
        super().__init__(message)
        self._message = message
        self.failure = failure
        """The recorded form that it was read from; None for one raised here."""

    @property
    def message(self) -> str:
        """What happened."""
        return self._message


class WorkflowAlreadyStartedError(FailureError):
    """A run with this workflow id is there already."""

    def __init__(self, workflow_id: str, workflow_type: str, *, run_id: str | None = None) -> None:
        super().__init__(f"Workflow execution already started: {workflow_id!r}")
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id
        """The run that is there."""


class ApplicationError(FailureError):
    """User code says that something went wrong."""

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,  # noqa: A002 - Temporal's name
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message, failure=failure)
        self.details: Sequence[Any] = details
        """Values that travel with it."""
        self.type = type
        """What retry policies match against; other exceptions get their class's name."""
        self.non_retryable = non_retryable
        """Never tried again, whatever the policy says."""
        self.next_retry_delay = next_retry_delay
        """Instead of the delay that the policy would give."""
        self.category = category

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.type else self.message


class CancelledError(FailureError):
    """It ended because it was asked to.

    Not :class:`asyncio.CancelledError`; see :func:`is_cancelled_exception` for both.
    """

    def __init__(
        self, message: str = "Cancelled", *details: Any, failure: Failure | None = None
    ) -> None:
        super().__init__(message, failure=failure)
        self.details: Sequence[Any] = details


class TerminatedError(FailureError):
    """It was ended from outside, without asking its code."""

    def __init__(
        self, message: str = "Terminated", *details: Any, failure: Failure | None = None
    ) -> None:
        super().__init__(message, failure=failure)
        self.details: Sequence[Any] = details


class TimeoutError(FailureError):  # noqa: A001 - Temporal's name
    """A time limit passed. Not the builtin of the same name."""

    def __init__(
        self,
        message: str,
        *,
        type: TimeoutType | None,  # noqa: A002 - Temporal's name
        last_heartbeat_details: Sequence[Any] = (),
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message, failure=failure)
        self.type = type
        """Which limit."""
        self.last_heartbeat_details = last_heartbeat_details
        """What the attempt said last."""


class ActivityError(FailureError):
    """An activity failed and is not tried again; ``cause`` says why."""

    def __init__(  # noqa: PLR0913 - Temporal's parameters, all by keyword
        self,
        message: str,
        *,
        scheduled_event_id: int = 0,
        started_event_id: int = 0,
        identity: str = "",
        activity_type: str,
        activity_id: str,
        retry_state: RetryState | None = None,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message, failure=failure)
        self.scheduled_event_id = scheduled_event_id
        """The event that scheduled it, 0 when unknown."""
        self.started_event_id = started_event_id
        """The event that started the last attempt, 0 when unknown."""
        self.identity = identity
        """The worker that ran the last attempt."""
        self.activity_type = activity_type
        self.activity_id = activity_id
        self.retry_state = retry_state
        """Why it is not tried again."""
        self.seq = 0
        """The number that the run's history has it under; 0 when unknown."""


def is_cancelled_exception(exception: BaseException) -> bool:
    """Return whether an exception means cancellation, here or in an activity."""
    return isinstance(exception, (asyncio.CancelledError, CancelledError)) or (
        isinstance(exception, ActivityError) and isinstance(exception.cause, CancelledError)
    )
