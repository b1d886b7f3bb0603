"""The events of batches: a part of :mod:`perdure.protocol.events`, where they are imported from."""

from __future__ import annotations

import msgspec

from perdure.protocol.failures import Failure
from perdure.protocol.items import ItemResult
from perdure.protocol.payloads import Millis, Payload, Payloads, RetryPolicy


class BatchScheduled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Command event of ``ScheduleBatch``, whose fields it repeats."""

    seq: int
    activity_id: str
    activity_type: str
    task_queue: str
    items: tuple[Payloads, ...]
    parallelism: int = 0
    tolerated_failures: int = 0
    streamed: bool = False
    schedule_to_close_timeout: Millis | None = None
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    headers: dict[str, Payload] = {}
    summary: str = ""


class BatchItemsClosed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Resolution: these items of a batch ended; each item is told once."""

    seq: int
    items: tuple[ItemResult, ...]


class BatchCompleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Resolution: every item ended, and no more of them failed than are tolerated."""

    seq: int
    succeeded: int = 0
    failed: int = 0
    failed_indexes: str = ""
    """Which, as :func:`perdure.protocol.items.indexes_text` says it."""


class BatchFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Resolution: too many items failed, or the time of the whole is up; the rest is stopped."""

    seq: int
    failure: Failure
    """In words that count; its cause is the first failed item's failure."""
    succeeded: int = 0
    failed: int = 0
    failed_indexes: str = ""
    """Which, as :func:`perdure.protocol.items.indexes_text` says it."""


class BatchCanceled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Resolution: the batch ended because it was asked to; some items have no result."""

    seq: int
    succeeded: int = 0
    failed: int = 0
    failed_indexes: str = ""
    """Which, as :func:`perdure.protocol.items.indexes_text` says it."""
