"""Workflow time, timers and deterministic random numbers."""

from __future__ import annotations

import random as _random
import uuid
from datetime import datetime, timedelta

from perdure.common import from_instant
from perdure.workflow._runtime import current


def now() -> datetime:
    """Return the current time of the run, in UTC: that of the activation, constant within it."""
    return from_instant(current().now_ms())


def time() -> float:
    """Return the current time of the run, in seconds since the epoch."""
    return current().now_ms() / 1000


def time_ns() -> int:
    """Return the current time of the run, in nanoseconds since the epoch."""
    return current().now_ms() * 1_000_000


async def sleep(duration: float | timedelta, *, summary: str | None = None) -> None:
    """Wait on a durable timer: it costs nothing, and survives every crash.

    Args:
        duration: Seconds or a duration, rounded to milliseconds; 0 or less only lets other tasks
            run.
        summary: What the timer is for; shown with it.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    await current().sleep(seconds, summary=summary or "")


def random() -> _random.Random:
    """Return the run's random numbers: the same ones on every replay. Not for secrets."""
    return current().random


def uuid4() -> uuid.UUID:
    """Return an UUID made of the run's random numbers: the same one on every replay."""
    return uuid.UUID(int=current().random.getrandbits(128), version=4)
