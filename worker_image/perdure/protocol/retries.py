"""Where a retried run comes from, and whose idempotency keys it goes on with.

A retry is a new run: its history begins with what is kept of the earlier one. What was asked for
in that part has the key that it had there, because it may have happened there; what is asked for
later has keys of its own, because the earlier run may have used those numbers for something else.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from perdure.protocol.items import is_item, item_of, key_text
from perdure.protocol.payloads import Millis

EVERY_NUMBER = 2**62
"""An upper bound that no number reaches."""


class RetryPoint(StrEnum):
    """Where a retry begins."""

    FAILED_STEP = "failed-step"
    """At what made the run end: nothing that was done before or beside it is done again."""
    START = "start"
    """At the beginning, with the same input."""


class Retried(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of which run this is a retry."""

    run_id: str
    event: int
    """The first event of that run that was taken back."""
    point: RetryPoint
    time: Millis
    """When it was asked for: the run's timeouts count from here."""
    request_id: str = ""
    """The same non-empty id again is the same retry."""
    reason: str = ""
    identity: str = ""


class KeyRange(msgspec.Struct, frozen=True, array_like=True):
    """Numbers up to ``last`` (behind the range before) have the idempotency keys of a run."""

    last: int
    run_id: str


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that the earlier run did after the point that its retry goes back to.

    The new run knows nothing of it.
    """

    event: int
    """Of the earlier run."""
    name: str
    """Of the activity or step."""
    is_completed: bool = True
    """Otherwise it was asked for, and may have happened."""


class RetryResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The new run is on disk."""

    run_id: str
    retried_run_id: str
    event: int
    """The first event of that run which is taken back."""
    effects: tuple[Effect, ...] = ()
    """What that run did afterwards: the new one knows nothing of it."""
    retried: bool = True
    """False when it was there before (same request)."""


def idempotency_key(run_id: str, keys: tuple[KeyRange, ...], seq: int) -> str:
    """Return the key of the activity, step or item ``seq`` of a run started with ``keys``."""
    number = item_of(seq)[0] if is_item(seq) else seq
    owner = next((each.run_id for each in keys if number <= each.last), run_id)
    return f"{owner}:{key_text(seq)}"
