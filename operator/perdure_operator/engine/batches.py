"""An open batch: which of its items are open, which have ended, and which results wait.

Which items have ended *in history* is part of the run's fold. The rest is not, and has rows of
its own: results that wait to be moved into an event, and the attempts of open items, which are
those of activities (:meth:`OpenBatch.item` says what an item would have been scheduled with). An
item that is neither ended nor open has not begun, or begins anew.

What follows from all this is decided in :mod:`perdure_operator.engine.batching`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from perdure.protocol import events as ev
from perdure.protocol.events import ItemResult
from perdure.protocol.failures import Failure
from perdure.protocol.items import item_key
from perdure.protocol.payloads import Millis
from perdure_operator.engine.transitions import NEVER

OPEN_ITEMS = 1_000
"""Items of one batch that are open at once when its code sets no bound: each is a row."""

_UNOPENED, _OPENED, _ENDED, _RECORDED = range(4)
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True, kw_only=True, eq=False)
class OpenBatch:
    """A batch that is scheduled and not yet closed."""

    scheduled: ev.BatchScheduled
    since: Millis
    """When it was scheduled."""
    is_canceling: bool = False
    """It was asked to stop: nothing of it begins any more."""
    succeeded: int = 0
    failed_indexes: list[int] = field(default_factory=list)
    first_failure: Failure | None = None
    last_failure: Failure | None = None
    waiting: dict[int, ItemResult] = field(default_factory=dict)
    """Results that are in rows and not yet in history, in the order in which they came."""
    waiting_bytes: int = 0
    """About what they take."""
    open: set[int] = field(default_factory=set)
    """Items that are activities just now."""
    _states: bytearray = field(init=False)
    _next: int = 0

    def __post_init__(self) -> None:
        self._states = bytearray(len(self.scheduled.items))

    @property
    def total(self) -> int:
        """How many items it has."""
        return len(self._states)

    @property
    def failed(self) -> int:
        """How many of them have failed for good."""
        return len(self.failed_indexes)

    @property
    def ended(self) -> int:
        """How many of them have a result."""
        return self.succeeded + self.failed

    @property
    def deadline(self) -> Millis | None:
        """When the time of the whole is up, if ever."""
        limit = self.scheduled.schedule_to_close_timeout
        return min(NEVER, self.since + limit) if limit else None

    @property
    def open_keys(self) -> list[int]:
        """The open items by the numbers of their activities."""
        return [item_key(self.scheduled.seq, index) for index in sorted(self.open)]

    def item(self, index: int) -> ev.ActivityScheduled:
        """Return what an item would have been scheduled with as an activity of its own."""
        whole = self.scheduled
        return ev.ActivityScheduled(
            seq=item_key(whole.seq, index),
            activity_id=f"{whole.activity_id}.{index}",
            activity_type=whole.activity_type,
            task_queue=whole.task_queue,
            input=whole.items[index],
            schedule_to_start_timeout=whole.schedule_to_start_timeout,
            start_to_close_timeout=whole.start_to_close_timeout,
            heartbeat_timeout=whole.heartbeat_timeout,
            retry_policy=whole.retry_policy,
            headers=whole.headers,
            summary=whole.summary,
        )

    # --- opening -----------------------------------------------------------------------------

    def open_next(self) -> int | None:
        """Open the next item that has not begun, if there is one and another may be open."""
        bound = self.scheduled.parallelism if self.scheduled.parallelism > 0 else OPEN_ITEMS
        if self.is_canceling or len(self.open) >= bound:
            return None
        while self._next < self.total:
            index = self._next
            self._next += 1
            if self._states[index] == _UNOPENED:
                self.reopen(index)
                return index
        return None

    def reopen(self, index: int) -> None:
        """An item is open."""
        self._states[index] = _OPENED
        self.open.add(index)

    def open_unwanted(self) -> int:
        """Open the first item without a result; a batch that is being cancelled has one."""
        index = self._states.index(_UNOPENED)
        self.reopen(index)
        return index

    def lacks(self, index: int) -> bool:
        """Whether this is one of its items, and neither open nor ended."""
        return 0 <= index < self.total and self._states[index] == _UNOPENED

    # --- ending ------------------------------------------------------------------------------

    def keep(self, result: ItemResult) -> None:
        """An item has ended, and its result waits in a row."""
        self.open.discard(result.index)
        self._states[result.index] = _ENDED
        self.waiting[result.index] = result
        self.waiting_bytes += size_of(result)
        self._count(result)

    def record(self, result: ItemResult) -> bool:
        """An item's result is in history; tells whether it can be: it is there once."""
        if not 0 <= result.index < self.total or self._states[result.index] == _RECORDED:
            return False
        self._states[result.index] = _RECORDED
        if self.waiting.pop(result.index, None) is None:
            self._count(result)
        else:
            self.waiting_bytes -= size_of(result)
        return True

    def _count(self, result: ItemResult) -> None:
        if result.failure is None:
            self.succeeded += 1
        else:
            self.failed_indexes.append(result.index)
            self.first_failure = self.first_failure or result.failure
            self.last_failure = result.failure


def size_of(result: ItemResult) -> int:
    """Return about what a result takes in history."""
    size = 8 if result.result is None else 24 + result.result.size
    return size if result.failure is None else size + len(_encode(result.failure))
