"""Users' values and errors between manifests and the wire.

A manifest holds plain JSON; a run takes and gives payloads. What cannot be shown in a status
(too long, encrypted, no JSON) is left out, and said to be left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from perdure.protocol import failures as wire
from perdure.protocol.payloads import Millis, Payload, Payloads
from perdure.protocol.payloads import RetryPolicy as WireRetryPolicy
from perdure_operator.model import Failure, RetryPolicy

JSON_ENCODING = b"json/plain"
NULL_ENCODING = b"binary/null"

_JSON_METADATA = {"encoding": JSON_ENCODING}


class NotShownError(Exception):
    """A payload is longer than a status may hold, or is no JSON."""


def to_payloads(values: Iterable[Any]) -> Payloads:
    """Return each JSON value as a payload."""
    return tuple(Payload(_JSON_METADATA, msgspec.json.encode(value)) for value in values)


def to_json(payload: Payload | None, *, limit: int) -> Any:
    """Return the JSON value that a payload holds.

    Raises:
        NotShownError: It takes more than ``limit`` bytes, or is no JSON.
    """
    if payload is None or payload.metadata.get("encoding") == NULL_ENCODING:
        return None
    encoding = payload.metadata.get("encoding", b"")
    if not encoding.startswith(b"json/") or len(payload.data) > limit:
        raise NotShownError(f"{len(payload.data):,} bytes, {encoding.decode(errors='replace')}")
    try:
        return msgspec.json.decode(payload.data)
    except msgspec.DecodeError as error:
        raise NotShownError(str(error)) from error


def to_millis(duration: timedelta) -> Millis:
    """Return a duration as the wire has it."""
    return round(duration / timedelta(milliseconds=1))


def to_optional_millis(duration: timedelta | None) -> Millis | None:
    """Return a duration, if there is one, as the wire has it."""
    return None if duration is None else to_millis(duration)


def to_time(instant: Millis) -> datetime:
    """Return an instant of the wire, to the second, as a status shows it."""
    return datetime.fromtimestamp(instant // 1000, UTC)


def to_wire_policy(policy: RetryPolicy) -> WireRetryPolicy:
    """Return a retry policy as the wire has it."""
    return WireRetryPolicy(
        initial_interval=to_millis(policy.initial_interval),
        backoff_coefficient=policy.backoff_coefficient,
        maximum_interval=to_optional_millis(policy.maximum_interval) or 0,
        maximum_attempts=policy.maximum_attempts,
        non_retryable_error_types=tuple(policy.non_retryable_error_types),
    )


def to_failure(failure: wire.Failure) -> Failure:
    """Return an error as a status shows it: itself, the step it is from, and what led to it."""
    step = failure.info.activity_type if isinstance(failure.info, wire.ActivityInfo) else ""
    return Failure(
        message=failure.message,
        type=_type_of(failure),
        non_retryable=isinstance(failure.info, wire.ApplicationInfo) and failure.info.non_retryable,
        step=step or None,
        cause=describe_failure(failure.cause) if failure.cause else None,
        stack_trace=failure.stack_trace or None,
    )


def describe_failure(failure: wire.Failure) -> str:
    """Return an error in a line: its type, what it says, and what led to it."""
    said = f"{_type_of(failure)}: {failure.message}" if failure.message else _type_of(failure)
    return f"{said}, caused by {describe_failure(failure.cause)}" if failure.cause else said


def locate_failure(failure: wire.Failure) -> str:
    """Return the last line of code in an error's stack trace, or nothing."""
    lines = [line.strip() for line in failure.stack_trace.splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    return places[-1].removeprefix("File ") if places else ""


def _type_of(failure: wire.Failure) -> str:
    match failure.info:
        case wire.ApplicationInfo(type=type_):
            return type_ or "ApplicationError"
        case wire.TimeoutInfo():
            return "TimeoutError"
        case wire.CanceledInfo():
            return "CancelledError"
        case wire.TerminatedInfo():
            return "TerminatedError"
        case wire.ActivityInfo():
            return "ActivityError"
