"""When to try again, and what starting an id twice means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from perdure.common._times import from_millis, to_millis
from perdure.protocol import payloads

_ZERO = timedelta(0)


@dataclass
class RetryPolicy:
    """When a failed attempt of an activity, a step or a run is tried again."""

    initial_interval: timedelta = timedelta(seconds=1)
    """Delay before the second attempt."""
    backoff_coefficient: float = 2.0
    """What each delay is multiplied with to make the next; 1 or more."""
    maximum_interval: timedelta | None = None
    """Cap of the delay; without it 100 times ``initial_interval``."""
    maximum_attempts: int = 0
    """How often it is tried in all; 0 means no limit, 1 means no second attempt."""
    non_retryable_error_types: Sequence[str] | None = None
    """Values of ``ApplicationError.type`` (for other exceptions: the class name) that are final."""

    def __post_init__(self) -> None:
        self._validate()

    def to_protocol(self) -> payloads.RetryPolicy:
        """Return the form that crosses the wire.

        Raises:
            ValueError: a field, changed after construction, makes no sense.
        """
        self._validate()
        return payloads.RetryPolicy(
            initial_interval=to_millis(self.initial_interval),
            backoff_coefficient=float(self.backoff_coefficient),
            maximum_interval=to_millis(self.maximum_interval) or 0,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=tuple(self.non_retryable_error_types or ()),
        )

    @staticmethod
    def from_protocol(policy: payloads.RetryPolicy) -> RetryPolicy:
        """Return the policy that ``policy`` is the wire's form of."""
        return RetryPolicy(
            initial_interval=from_millis(policy.initial_interval),
            backoff_coefficient=policy.backoff_coefficient,
            maximum_interval=from_millis(policy.maximum_interval or None),
            maximum_attempts=policy.maximum_attempts,
            non_retryable_error_types=policy.non_retryable_error_types or None,
        )

    def _validate(self) -> None:
        # One attempt means no delay is ever used, so what they hold does not matter then.
        if self.maximum_attempts == 1:
            return
        if self.maximum_attempts < 0:
            raise ValueError(
                f"maximum_attempts is {self.maximum_attempts}: give 0 (no limit) or more"
            )
        if self.initial_interval <= _ZERO:
            raise ValueError(f"initial_interval is {self.initial_interval}: it must be above 0")
        if not self.backoff_coefficient >= 1:
            raise ValueError(
                f"backoff_coefficient is {self.backoff_coefficient}: it must be 1 or more"
            )
        if self.maximum_interval is not None and self.maximum_interval < self.initial_interval:
            raise ValueError(
                f"maximum_interval ({self.maximum_interval}) is below initial_interval "
                f"({self.initial_interval})"
            )


class WorkflowIDReusePolicy(IntEnum):
    """May a workflow id be started again when its last run is closed?"""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    """Only when the last run did not complete."""
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4
    """Like ``ALLOW_DUPLICATE``, and an open run is terminated.

    Prefer :attr:`WorkflowIDConflictPolicy.TERMINATE_EXISTING`."""


class WorkflowIDConflictPolicy(IntEnum):
    """What starting a workflow id does while a run of it is open."""

    UNSPECIFIED = 0
    """``FAIL``."""
    FAIL = 1
    USE_EXISTING = 2
    """Start nothing and return a handle of the open run."""
    TERMINATE_EXISTING = 3


class ActivityIDReusePolicy(IntEnum):
    """May the id of a standalone activity be started again when the last one is closed?"""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class ActivityIDConflictPolicy(IntEnum):
    """What starting a standalone activity's id does while it is open."""

    FAIL = 1
    USE_EXISTING = 2


class QueryRejectCondition(IntEnum):
    """Which runs a query is not put to."""

    NONE = 1
    """Every run answers, closed ones too."""
    NOT_OPEN = 2
    """Only open runs answer."""
    NOT_COMPLETED_CLEANLY = 3
    """Runs that failed, timed out, or were cancelled or terminated do not answer."""
