"""Errors as they travel and are recorded; :mod:`perdure.exceptions` are their Python faces."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from perdure.protocol.payloads import Millis, Payloads


class TimeoutKind(IntEnum):
    """Which limit was passed; the numbers are Temporal's."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class RetryState(IntEnum):
    """Why an activity or a run was not tried again; the numbers are Temporal's."""

    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class _Info(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    pass


class ApplicationInfo(_Info, tag="application", frozen=True, kw_only=True, omit_defaults=True):
    """User code raised an error."""

    type: str = ""
    non_retryable: bool = False
    details: Payloads = ()
    next_retry_delay: Millis | None = None
    category: str = ""


class TimeoutInfo(_Info, tag="timeout", frozen=True, kw_only=True, omit_defaults=True):
    """A time limit was passed."""

    timeout: TimeoutKind = TimeoutKind.START_TO_CLOSE
    last_heartbeat_details: Payloads = ()


class CanceledInfo(_Info, tag="canceled", frozen=True, kw_only=True, omit_defaults=True):
    """It was cancelled."""

    details: Payloads = ()


class TerminatedInfo(_Info, tag="terminated", frozen=True, kw_only=True, omit_defaults=True):
    """It was terminated from outside."""


class ActivityInfo(_Info, tag="activity", frozen=True, kw_only=True, omit_defaults=True):
    """An activity failed; the cause says why."""

    activity_id: str = ""
    activity_type: str = ""
    identity: str = ""
    retry_state: RetryState | None = None


FailureInfo = ApplicationInfo | TimeoutInfo | CanceledInfo | TerminatedInfo | ActivityInfo


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One error with its cause."""

    message: str = ""
    info: FailureInfo = ApplicationInfo()
    source: str = ""
    """Which SDK raised it; empty for the server."""
    stack_trace: str = ""
    cause: Failure | None = None
