"""Why a client's request is refused, and the HTTP status that says it."""

from __future__ import annotations

from perdure.protocol.verbs import ErrorResponse
from perdure_operator.server.keeping import LostError
from perdure_operator.store.port import StoreError

STATUS = {
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "AlreadyStarted": 409,
    "AlreadyClosed": 409,
    "Invalid": 400,
    "TooLarge": 413,
    "Unavailable": 503,
    "NoWorker": 504,
    "Timeout": 504,
    "TaskFailing": 409,
    "Damaged": 500,
    "Fenced": 409,
}
"""HTTP status by error code."""


class VerbError(Exception):
    """A request that cannot be served; the message is for the one who asked."""

    def __init__(self, code: str, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.run_id = run_id

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def response(self) -> ErrorResponse:
        """Return the body that tells the client."""
        return ErrorResponse(code=self.code, message=str(self), run_id=self.run_id)


def unavailable(error: LostError) -> VerbError:
    """Return what a client is told of a change that was not recorded."""
    advice = "Nothing was recorded; try again."
    if isinstance(error.outcome, StoreError):
        advice = f"Nothing was recorded; try again when the store is well: {error.outcome}"
    return VerbError("Unavailable", advice)
