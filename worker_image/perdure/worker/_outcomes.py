"""What user code's end is called on the wire.

Only errors that trying again cannot mend are final here; everything else is left to the retry
policy.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from perdure.converter import DataConverter
from perdure.exceptions import ConversionError, PayloadTooLargeError
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure
from perdure.protocol.payloads import Millis, Payload

INVALID_INPUT = "InvalidInput"
INVALID_RESULT = "InvalidResult"
PAYLOAD_TOO_LARGE = "PayloadTooLarge"
WORKER_SHUTDOWN = "WorkerShutdown"
NOT_REGISTERED = "NotFoundError"
"""Temporal's name for a type that the worker does not know."""

_OURS = str(Path(__file__).parents[1])


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``failure`` says that it raised, otherwise it returned ``result``."""

    result: Payload | None = None
    failure: Failure | None = None


def returned(value: Any, converter: DataConverter, what: str) -> Outcome:
    """User code returned ``value``; ``what`` names it in errors."""
    try:
        return Outcome(result=converter.to_payload(value, what))
    except PayloadTooLargeError as error:
        return failed(str(error), type_=PAYLOAD_TOO_LARGE, non_retryable=True)
    except ConversionError as error:
        return failed(str(error), type_=INVALID_RESULT, non_retryable=True)


def raised(error: BaseException, converter: DataConverter) -> Outcome:
    """User code raised ``error``, and nobody had asked it to stop."""
    failure = converter.to_failure(error.with_traceback(_users_part(error.__traceback__)))
    if isinstance(failure.info, CanceledInfo):
        name = type(error).__name__
        info = ApplicationInfo(type=name, details=failure.info.details)
        message = failure.message or "it was cancelled from within, nobody had asked for it"
        failure = msgspec.structs.replace(failure, message=message, info=info)
    return Outcome(failure=failure)


def failed(
    message: str,
    *,
    type_: str,
    non_retryable: bool = False,
    next_retry_delay: Millis | None = None,
) -> Outcome:
    """The worker itself says that it failed."""
    info = ApplicationInfo(
        type=type_, non_retryable=non_retryable, next_retry_delay=next_retry_delay
    )
    return Outcome(failure=Failure(message=message, info=info))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the worker above the user's code."""
    rest = trace
    while rest is not None and _is_machinery(rest.tb_frame.f_code.co_filename):
        rest = rest.tb_next
    return rest if rest is not None else trace


def _is_machinery(filename: str) -> bool:
    return filename.startswith(_OURS) or filename.endswith(
        ("concurrent/futures/thread.py", "asyncio/futures.py", "asyncio/tasks.py")
    )
