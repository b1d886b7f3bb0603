"""Exceptions to failures and back, with their causes.

Converting an exception never fails: what cannot be encoded is left out and the message says
so, because an error that hides another is worse than one without its details.
"""

from __future__ import annotations

import asyncio
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from perdure.common import from_millis, to_millis
from perdure.converter._payloads import PayloadConverter
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ConversionError,
    FailureError,
    PayloadTooLargeError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's name
    TimeoutType,
    WorkflowAlreadyStartedError,
)
from perdure.protocol.failures import (
    ActivityInfo,
    ApplicationInfo,
    CanceledInfo,
    Failure,
    FailureInfo,
    TerminatedInfo,
    TimeoutInfo,
    TimeoutKind,
)
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payloads

SOURCE = "perdure-python"
MAX_TEXT = 20_000
"""Characters that a message or a stack trace may have."""
MAX_CAUSES = 20
"""How far a chain of causes is followed."""


class FailureConverter(ABC):
    """Turns exceptions into failures and failures into exceptions."""

    @abstractmethod
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """Return the recorded form of an exception."""

    @abstractmethod
    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> FailureError:
        """Return the exception that a failure is the recorded form of, with its causes."""


class DefaultFailureConverter(FailureConverter):
    """Keeps the kind, message, details, stack trace and causes.

    An exception of a kind that cannot travel becomes an :class:`ApplicationError` whose
    ``type`` is the name of its class.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """Return the recorded form of an exception."""
        return self._to_failure(exception, payload_converter, MAX_CAUSES)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> FailureError:
        """Return the exception that a failure is the recorded form of, with its causes."""
        error = _from_info(failure, payload_converter)
        if failure.stack_trace:
            error.add_note(f"It was raised elsewhere, at:\n{failure.stack_trace.rstrip()}")
        if failure.cause is not None:
            error.__cause__ = self.from_failure(failure.cause, payload_converter)
        return error

    def _to_failure(
        self, exception: BaseException, converter: PayloadConverter, depth: int
    ) -> Failure:
        # One that came from elsewhere goes on as it was: its stack trace is of the place it
        # was raised at.
        if isinstance(exception, FailureError) and exception.failure is not None:
            return exception.failure
        info, note = _to_info(exception, converter)
        cause = exception.__cause__
        return Failure(
            message=_shortened(_message(exception) + note),
            info=info,
            source=SOURCE,
            stack_trace=_shortened("".join(traceback.format_tb(exception.__traceback__))),
            cause=self._to_failure(cause, converter, depth - 1) if cause and depth else None,
        )


def _to_info(exception: BaseException, converter: PayloadConverter) -> tuple[FailureInfo, str]:
    """Return what is recorded, and a note on what had to be left out."""
    match exception:
        case ApplicationError():
            details, note = _encoded(exception.details, converter)
            return _application_info(exception, details), note
        case asyncio.CancelledError():
            return CanceledInfo(), ""
        case CancelledError():
            details, note = _encoded(exception.details, converter)
            return CanceledInfo(details=details), note
        case TimeoutError():
            details, note = _encoded(exception.last_heartbeat_details, converter)
            kind = TimeoutKind(exception.type or TimeoutKind.START_TO_CLOSE)
            return TimeoutInfo(timeout=kind, last_heartbeat_details=details), note
        case TerminatedError():
            return TerminatedInfo(), ""
        case ActivityError():
            return ActivityInfo(
                activity_id=exception.activity_id,
                activity_type=exception.activity_type,
                identity=exception.identity,
                retry_state=exception.retry_state,
            ), ""
        case _:
            final = isinstance(exception, (PayloadTooLargeError, WorkflowAlreadyStartedError))
            return ApplicationInfo(type=type(exception).__name__, non_retryable=final), ""


def _application_info(error: ApplicationError, details: Payloads) -> ApplicationInfo:
    unspecified = error.category is ApplicationErrorCategory.UNSPECIFIED
    return ApplicationInfo(
        type=error.type or "",
        non_retryable=error.non_retryable,
        details=details,
        next_retry_delay=to_millis(error.next_retry_delay),
        category="" if unspecified else error.category.name,
    )


def _from_info(failure: Failure, converter: PayloadConverter) -> FailureError:
    match failure.info:
        case ApplicationInfo() as info:
            return ApplicationError(
                failure.message,
                *_decoded(info.details, converter),
                type=info.type or None,
                non_retryable=info.non_retryable,
                next_retry_delay=from_millis(info.next_retry_delay),
                category=_category(info.category),
                failure=failure,
            )
        case TimeoutInfo() as info:
            return TimeoutError(
                failure.message or "Timed out",
                type=TimeoutType(info.timeout),
                last_heartbeat_details=_decoded(info.last_heartbeat_details, converter),
                failure=failure,
            )
        case CanceledInfo() as info:
            details = _decoded(info.details, converter)
            return CancelledError(failure.message or "Cancelled", *details, failure=failure)
        case TerminatedInfo():
            return TerminatedError(failure.message or "Terminated", failure=failure)
        case ActivityInfo() as info:
            return ActivityError(
                failure.message or "Activity failed",
                identity=info.identity,
                activity_type=info.activity_type,
                activity_id=info.activity_id,
                retry_state=info.retry_state,
                failure=failure,
            )


def _category(name: str) -> ApplicationErrorCategory:
    """Return the category of that name; one of a newer version counts as none."""
    known = ApplicationErrorCategory.__members__
    return known.get(name, ApplicationErrorCategory.UNSPECIFIED)


def _encoded(details: Sequence[Any], converter: PayloadConverter) -> tuple[Payloads, str]:
    try:
        payloads = tuple(converter.to_payloads(details))
    except ConversionError as error:
        return (), f" (its details are left out: {error})"
    size = sum(payload.size for payload in payloads)
    if size > MAX_PAYLOAD_BYTES:
        return (), f" (its details are left out: they take {size:,} bytes)"
    return payloads, ""


def _decoded(details: Payloads, converter: PayloadConverter) -> list[Any]:
    """Return details; one that cannot be read stays encoded instead of hiding the error."""
    try:
        return converter.from_payloads(details)
    except ConversionError:
        return list(details)


def _message(exception: BaseException) -> str:
    try:
        if isinstance(exception, FailureError):
            return exception.message
        if isinstance(exception, BaseExceptionGroup):
            parts = "; ".join(f"{type(e).__name__}: {_message(e)}" for e in exception.exceptions)
            return f"{exception.message}: {parts}"
        return str(exception)
    except Exception as error:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"{type(exception).__name__}, whose text cannot be had ({type(error).__name__})"


def _shortened(text: str) -> str:
    """Return text of a bounded length: the beginning and the end say most."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
