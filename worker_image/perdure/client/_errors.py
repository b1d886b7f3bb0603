"""What clients can run into."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from perdure.exceptions import FailureError, PerdureError

if TYPE_CHECKING:
    from perdure.client._executions import WorkflowExecutionStatus


class RPCStatusCode(IntEnum):
    """Why a call failed; the numbers are gRPC's, for code that was written for it."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


STATUS_OF_CODE = {
    "NotFound": RPCStatusCode.NOT_FOUND,
    "AlreadyStarted": RPCStatusCode.ALREADY_EXISTS,
    # A closed run can no longer be told anything; Temporal calls that not found, too.
    "AlreadyClosed": RPCStatusCode.NOT_FOUND,
    "Invalid": RPCStatusCode.INVALID_ARGUMENT,
    "TooLarge": RPCStatusCode.RESOURCE_EXHAUSTED,
    "Unavailable": RPCStatusCode.UNAVAILABLE,
    "NoWorker": RPCStatusCode.FAILED_PRECONDITION,
    "TaskFailing": RPCStatusCode.FAILED_PRECONDITION,
    "Timeout": RPCStatusCode.DEADLINE_EXCEEDED,
    "Unauthorized": RPCStatusCode.UNAUTHENTICATED,
    "Forbidden": RPCStatusCode.PERMISSION_DENIED,
    "Fenced": RPCStatusCode.FAILED_PRECONDITION,
}
"""For each code of :class:`perdure.protocol.verbs.ErrorResponse` that the server sends."""

STATUS_OF_HTTP = {
    400: RPCStatusCode.INVALID_ARGUMENT,
    401: RPCStatusCode.UNAUTHENTICATED,
    403: RPCStatusCode.PERMISSION_DENIED,
    404: RPCStatusCode.UNIMPLEMENTED,
    413: RPCStatusCode.RESOURCE_EXHAUSTED,
    502: RPCStatusCode.UNAVAILABLE,
    503: RPCStatusCode.UNAVAILABLE,
    504: RPCStatusCode.UNAVAILABLE,
}
"""For answers that are not the server's own, e.g. a proxy's."""


class RPCError(PerdureError):
    """A call to the server failed."""

    def __init__(
        self,
        message: str,
        status: RPCStatusCode,
        *,
        code: str = "",
        http_status: int | None = None,
        run_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened, where, and what to do."""
        self.status = status
        """Why, in a form that code can decide on."""
        self.code = code
        """The server's own word, e.g. ``AlreadyClosed``; empty when the server did not answer."""
        self.http_status = http_status
        """None when nothing answered."""
        self.run_id = run_id
        """With ``AlreadyStarted``: the run that is there."""


class WorkflowFailureError(PerdureError):
    """The workflow did not complete; ``cause`` is how it ended."""

    def __init__(self, *, cause: BaseException) -> None:
        super().__init__("Workflow execution failed")
        self.__cause__ = cause


class ActivityFailureError(PerdureError):
    """The standalone activity did not complete; ``cause`` is how it ended."""

    def __init__(self, *, cause: BaseException) -> None:
        super().__init__("Activity execution failed")
        self.__cause__ = cause


class ActivityAlreadyStartedError(FailureError):
    """A standalone activity with this id is there already."""

    def __init__(self, activity_id: str, activity_type: str, *, run_id: str | None = None) -> None:
        super().__init__(f"Activity already started: {activity_id!r}")
        self.activity_id = activity_id
        self.activity_type = activity_type
        self.run_id = run_id
        """The run that is there."""


class WorkflowQueryFailedError(PerdureError):
    """The query's handler raised, or there is none of that name."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class WorkflowQueryRejectedError(PerdureError):
    """The run's status is one that the query's reject condition refuses."""

    def __init__(self, status: WorkflowExecutionStatus) -> None:
        super().__init__(f"Query rejected: the run is {status.name}")
        self.status = status
