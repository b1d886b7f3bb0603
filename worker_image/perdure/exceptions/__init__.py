"""Every error of the SDK, by who must act.

::

    PerdureError
    ├─ UsageError                      the caller's mistake; the message says what to write
    ├─ FailureError                    travels in history and between processes
    │  ├─ ApplicationError             user code raised it
    │  ├─ CancelledError               it was asked to stop
    │  ├─ TerminatedError              it was ended from outside, unasked
    │  ├─ TimeoutError                 a time limit passed
    │  ├─ ActivityError                an activity failed; ``cause`` says why
    │  └─ WorkflowAlreadyStartedError  the id is taken
    ├─ ConversionError (ValueError)    a value is not of the type that was asked for
    │  └─ UnsupportedTypeError (TypeError)   no converter knows the type
    ├─ PayloadTooLargeError            a value is over the limit; trying again cannot help
    └─ NondeterminismError             workflow code no longer does what history says

A :class:`FailureError` raised by workflow code fails the *run*; any other exception fails the
workflow *task*, which is tried again until the code is mended. What only clients meet
(``RPCError``, ``WorkflowFailureError``) is in :mod:`perdure.client`.
"""

from perdure.exceptions._base import (
    ConversionError,
    NondeterminismError,
    PayloadTooLargeError,
    PerdureError,
    UnsupportedTypeError,
    UsageError,
)
from perdure.exceptions._failures import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's name
    TimeoutType,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from perdure.protocol.failures import RetryState

__all__ = [
    "ActivityError",
    "ApplicationError",
    "ApplicationErrorCategory",
    "CancelledError",
    "ConversionError",
    "FailureError",
    "NondeterminismError",
    "PayloadTooLargeError",
    "PerdureError",
    "RetryState",
    "TerminatedError",
    "TimeoutError",
    "TimeoutType",
    "UnsupportedTypeError",
    "UsageError",
    "WorkflowAlreadyStartedError",
    "is_cancelled_exception",
]
