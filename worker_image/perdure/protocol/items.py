"""Batches' items: their numbers, how they end, how far they are.

A batch takes one ``seq`` of its run. Each of its items is an activity like any other to those who
run it, so it needs a number that no other activity of the run has: :func:`item_key` makes one of
the batch's number and the item's place, and :func:`item_of` takes it apart.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from perdure.protocol.failures import Failure, RetryState
from perdure.protocol.payloads import Millis, Payload

_BITS = 24
MAX_ITEMS = 100_000
"""Of one batch."""
MAX_INDEXES_TEXT = 1_000
"""Characters that :func:`indexes_text` gives out at most, besides the sign that there are more."""


def item_key(seq: int, index: int) -> int:
    """Return the number of item ``index`` (from 0) of batch ``seq``."""
    return (seq << _BITS) + index + 1


def is_item(key: int) -> bool:
    """Whether a number is an item's, and not that of something that code asked for by itself."""
    return key >> _BITS != 0


def item_of(key: int) -> tuple[int, int]:
    """Return the batch and the index of what :func:`item_key` made."""
    return key >> _BITS, (key & ((1 << _BITS) - 1)) - 1


def key_text(key: int) -> str:
    """Return a number as people and other systems are told it: ``7``, an item's ``7.0``."""
    if not is_item(key):
        return str(key)
    seq, index = item_of(key)
    return f"{seq}.{index}"


def indexes_text(indexes: Iterable[int]) -> str:
    """Return items as Kubernetes writes those of a Job: ``0,3-5,7``, cut where it gets long."""
    spans: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if spans and index == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
    text = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
    if len(text) <= MAX_INDEXES_TEXT:
        return text
    return f"{text[: text.rindex(',', 0, MAX_INDEXES_TEXT)]},…"


class ItemResult(msgspec.Struct, frozen=True, array_like=True):
    """How one item of a batch ended: with ``failure``, otherwise it returned ``result``."""

    index: int
    """From 0, in the order of the batch's items."""
    attempt: int = 1
    """How many tries it took; 0 when none began."""
    result: Payload | None = None
    failure: Failure | None = None
    retry_state: RetryState | None = None
    """With ``failure``: why it was not tried again."""


class PendingBatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch that a run waits for; its items are not among the pending activities."""

    seq: int
    activity_id: str
    activity_type: str
    total: int
    succeeded: int = 0
    failed: int = 0
    failed_indexes: str = ""
    """Which, as :func:`indexes_text` says it."""
    running: int = 0
    """Items that workers have."""
    scheduled: Millis
    summary: str = ""
    last_failure: Failure | None = None
    """The newest of an item, also of one that is tried again."""
