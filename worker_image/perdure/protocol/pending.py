"""What a run waits for, as ``describe`` tells it."""

from __future__ import annotations

import msgspec

from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis, Payloads
from perdure.protocol.placements import Placement


class PendingActivity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity that a run waits for."""

    seq: int
    activity_id: str
    activity_type: str
    state: str
    """``Scheduled``, ``Started``, ``BackingOff`` or ``CancelRequested``."""
    attempt: int
    scheduled: Millis
    started: Millis | None = None
    next_attempt: Millis | None = None
    last_failure: Failure | None = None
    heartbeat_details: Payloads = ()
    identity: str = ""
    task_queue: str = ""
    """Whose code it is: the queue that the activity was scheduled on."""
    placement: Placement | None = None
    own_queue: str = ""
    """The queue of the one worker, in a pod of its own, that is to run it; empty: it has none."""
    waits_for: str = ""
    """While no attempt runs: what must come that is not there, in words for people."""
