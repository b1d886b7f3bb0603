"""What can go wrong with the Kubernetes API, split by who must act.

::

    ClusterError
    ├─ ConflictError       somebody else was there first: look again
    ├─ NotFoundError       the object, its namespace or its kind is not there
    ├─ ForbiddenError      a right, a quota or a policy is in the way: a person must act
    ├─ InvalidError        the API server refuses what was sent: a person must act
    ├─ NotLeadingError     another operator may be leading: nothing was sent
    └─ UnavailableError    nothing is known to have happened: try again later
"""

from __future__ import annotations

from perdure.exceptions import PerdureError


class ClusterError(PerdureError):
    """The Kubernetes API did not do what was asked."""

    def __init__(self, request: str, message: str) -> None:
        super().__init__(f"{request}: {message}")
        self.request = request
        """What was asked, such as ``create jobs orders/worker-1``."""
        self.message = message
        """What the API server answered, or why nothing was heard of it."""


class ConflictError(ClusterError):
    """Somebody else was there first: the name is taken, or the object is another one by now."""


class NotFoundError(ClusterError):
    """The object, its namespace or its kind is not there."""


class ForbiddenError(ClusterError):
    """The API server refuses: a right is missing, or a quota or a policy is in the way."""


class InvalidError(ClusterError):
    """The API server finds what was sent malformed."""


class NotLeadingError(ClusterError):
    """Another operator may be leading by now, so nothing was sent."""


class UnavailableError(ClusterError):
    """The API server could not be reached, or has no time. Trying again may help."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidError,
    409: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
}


def error_for_status(status: int, request: str, message: str) -> ClusterError:
    """Return the error that an HTTP status of 400 or above means.

    What is not listed (401 while a token is renewed, 429, every 5xx) is worth another try.
    """
    return _BY_STATUS.get(status, UnavailableError)(request, message)
