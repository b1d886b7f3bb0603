"""Attempts that are taken with a token and not by a worker: those of container activities.

The operator takes an attempt, runs its container, and reports how that ended. The container may
do the same for itself, over HTTP with the token and nothing else: that is why values are plain
JSON here, where the other verbs have payloads.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis, Payloads
from perdure.protocol.placements import Placement
from perdure.protocol.requests import TargetRequest


class _Verb(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class TakeActivityRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``take-activity``: begin the next attempt of an activity with a pod of its own.

    It is the operator who takes containers, and what a worker in its own pod does not take. While
    an attempt that was taken runs, the answer is that one: asking again is harmless.
    Answered with :class:`TakeActivityResponse`, or ``AlreadyClosed`` when it is over.
    """

    seq: int
    identity: str = ""
    """For people: what runs the attempt, e.g. its pod."""


class TakeActivityResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """The running attempt, on disk; or, with ``attempt`` 0, that none may begin yet."""

    attempt: int = 0
    token: str = ""
    """The right to beat and to report this attempt, until it is over. A secret."""
    next_attempt: Millis | None = None
    """With ``attempt`` 0: when one may begin; ``None`` while a worker has it or it is suspended."""
    activity_id: str = ""
    activity_type: str = ""
    placement: Placement | None = None
    input: Payloads = ()
    scheduled: Millis = 0
    started: Millis = 0
    schedule_to_close_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    heartbeat_details: Payloads = ()
    """The newest ones: of the attempt before, until this one beats."""
    cancel_requested: bool = False
    idempotency_key: str = ""
    """The same for every attempt, also where a retry of the run runs it again."""


class ReportActivityRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``report-activity``: how an attempt that was taken ended. Answered with :class:`Done`.

    The token is all that it takes: whoever has it may report, and ``AlreadyClosed`` says that
    the attempt is over, by an earlier report or a timeout.
    """

    token: str
    result: Any = None
    """Any JSON; recorded as ``json/plain``."""
    failure: Failure | None = None
    """Instead of a result; ``{"message": "..."}`` is enough."""
    lost: str = ""
    """Instead of both: why nobody knows how it went, through no fault of its own.

    It is tried again at once when attempts are left."""


class BeatActivityRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``beat-activity``: an attempt that was taken is alive.

    The token is all that it takes. Answered with :class:`BeatActivityResponse`, or
    ``AlreadyClosed`` when the attempt is over: it need not go on.
    """

    token: str
    details: tuple[Any, ...] = ()
    """Any JSON; given to the next attempt."""


class BeatActivityResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """The beat is known."""

    cancel_requested: bool = False
    """It is asked to stop."""
