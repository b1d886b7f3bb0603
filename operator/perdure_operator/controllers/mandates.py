"""The right to change anything, which every write asks for just before it is sent.

It ends by a clock of this machine well before another operator may take the lead, whatever this
process was doing meanwhile: one that was stopped for minutes wakes up without it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from perdure_operator.cluster import NotLeadingError


def monotonic_seconds() -> float:
    """Return a time that also passes while the machine sleeps, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Mandate:
    """Good until a time, which each renewal of the lease moves on."""

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        self.clock = clock
        """What measures time, in seconds."""
        self._until = -math.inf

    @property
    def is_good(self) -> bool:
        """Whether a change may be sent now."""
        return self.clock() < self._until

    def extend(self, until: float) -> None:
        """The lease was taken or renewed."""
        self._until = until

    def end(self) -> None:
        """The lease is another's, or was given back."""
        self._until = -math.inf

    def require(self, request: str) -> None:
        """Return when a change may be sent now.

        Raises:
            NotLeadingError: It may not.
        """
        if not self.is_good:
            raise NotLeadingError(
                request, "not sent: the lease was not renewed, and another operator may lead by now"
            )


def for_good() -> Mandate:
    """Return the mandate of an operator that is alone."""
    mandate = Mandate()
    mandate.extend(math.inf)
    return mandate
