"""What one atomic commit writes for one run.

A transition is decided on the run at ``expected`` version and makes the version after it. A
store writes all of it or nothing, and refuses it when the run is no longer at ``expected``:
of two writers at one version exactly one wins, the other reloads.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perdure.protocol.events import HistoryEvent, ItemResult
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis, Payloads
from perdure.protocol.verbs import RunStatus

NEVER: Millis = 2**62
"""An instant that does not come; whatever is asked for beyond it is cut down to it."""
RUN_TIMEOUT_SEQ = 0
"""The ``seq`` of the timer row that ends a run which takes too long."""


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run without reading its history."""

    namespace: str
    workflow_id: str
    run_id: str
    kind: str
    workflow_type: str
    task_queue: str
    status: RunStatus
    version: int
    """How many transitions made it; the compare-and-swap is on this."""
    started: Millis
    closed: Millis | None = None
    last_event: int
    history_bytes: int
    digest: bytes
    """Head of the hash chain over the events."""
    current_step: str = ""
    task_pending: bool = False
    """The workflow's code has something to be told, or is being told it."""
    watched: bool = False
    request_id: str = ""


class OpenActivity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity that is scheduled and not yet closed: its attempts write only this."""

    seq: int
    """Its number in the run; of a batch's item, the item's own."""
    task_queue: str
    scheduled: Millis
    attempt: int = 0
    """Of the running attempt, or of the last one; 0 before the first."""
    visible: Millis
    """While no attempt runs: when the next one may begin."""
    worker_id: str = ""
    """Who runs the attempt; empty while none does."""
    identity: str = ""
    started: Millis | None = None
    heartbeat: Millis | None = None
    """When the running attempt last said that it is alive."""
    heartbeat_details: Payloads = ()
    last_failure: Failure | None = None
    cancel_requested: bool = False
    wake: Millis
    """When somebody must look at it again: it becomes visible, or a timeout passes."""

    @property
    def is_started(self) -> bool:
        """Whether an attempt is running."""
        return bool(self.worker_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A wake-up of a run.

    ``seq`` is the workflow's timer, the batch that takes too long, or :data:`RUN_TIMEOUT_SEQ`.
    """

    seq: int
    fires: Millis


@dataclass(frozen=True, slots=True)
class WaitingResult:
    """The result of a batch's item, from its end until it is moved into history."""

    item: int
    """The item's number, as :func:`perdure.protocol.items.item_key` makes it."""
    result: ItemResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One atomic change of one run."""

    expected: int
    """The version that it was decided on; 0 creates the run."""
    row: RunRow
    """The run as it is afterwards; ``row.version == expected + 1``."""
    events: tuple[HistoryEvent, ...] = ()
    """May be empty: an attempt that begins or is retried writes no event."""
    put_activities: tuple[OpenActivity, ...] = ()
    drop_activities: tuple[int, ...] = ()
    put_timers: tuple[Timer, ...] = ()
    drop_timers: tuple[int, ...] = ()
    put_items: tuple[WaitingResult, ...] = ()
    drop_items: tuple[int, ...] = ()
