"""Where a run is, and what may be done with its id: the words that clients and the store share."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run is; the values are what people read."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    """Open, but its code is not run and no attempt begins until it is resumed."""
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    TERMINATED = "Terminated"
    TIMED_OUT = "TimedOut"

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self in (RunStatus.RUNNING, RunStatus.SUSPENDED)


class IdReusePolicy(StrEnum):
    """May an id be started again when its last run is closed?"""

    ALLOW_DUPLICATE = "AllowDuplicate"
    ALLOW_DUPLICATE_FAILED_ONLY = "AllowDuplicateFailedOnly"
    REJECT_DUPLICATE = "RejectDuplicate"


class IdConflictPolicy(StrEnum):
    """What starting an id does while a run of it is open."""

    FAIL = "Fail"
    USE_EXISTING = "UseExisting"
    TERMINATE_EXISTING = "TerminateExisting"
