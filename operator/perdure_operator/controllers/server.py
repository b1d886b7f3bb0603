"""The Perdure server as the controllers see it: a port, its errors, and the adapter.

The port is one method: a request of :mod:`perdure.protocol.verbs` in, its response out. What the
controllers decide on are the errors, so they are types here and not codes.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, overload

from perdure.exceptions import PerdureError
from perdure.protocol import verbs as vb
from perdure.protocol.retries import RetryResponse

R = TypeVar("R")


class ServerError(PerdureError):
    """The server did not do what was asked."""

    def __init__(self, code: str, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The protocol's code, such as ``Invalid``."""
        self.run_id = run_id
        """The run in question, where the server named one."""


class ServerUnavailableError(ServerError):
    """The server was not reached, or could not record anything. Trying again may help."""


class RunNotFoundError(ServerError):
    """The server has no such run."""


class AlreadyStartedError(ServerError):
    """The workflow id belongs to another run."""


class AlreadyClosedError(ServerError):
    """The run has ended, so nothing can be asked of it any more."""


class RequestRefusedError(ServerError):
    """The request itself is wrong: asking again gives the same answer."""


ERRORS: dict[str, type[ServerError]] = {
    "NotFound": RunNotFoundError,
    "AlreadyStarted": AlreadyStartedError,
    "AlreadyClosed": AlreadyClosedError,
    "Invalid": RequestRefusedError,
    "TooLarge": RequestRefusedError,
}
"""By code; any other code is worth another try."""


def error_for(code: str, message: str, *, run_id: str = "") -> ServerError:
    """Return the error that a refusal of the server means."""
    return ERRORS.get(code, ServerUnavailableError)(code, message, run_id=run_id)


class Server(Protocol):
    """The port."""

    @overload
    async def call(self, request: vb.StartRequest) -> vb.StartResponse: ...
    @overload
    async def call(self, request: vb.SignalRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.CancelRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.TerminateRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.SuspendRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.ResumeRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.RetryRequest) -> RetryResponse: ...
    @overload
    async def call(self, request: vb.DescribeRequest) -> vb.RunDescription: ...
    @overload
    async def call(self, request: vb.TakeActivityRequest) -> vb.TakeActivityResponse: ...
    @overload
    async def call(self, request: vb.ReportActivityRequest) -> vb.Done: ...
    @overload
    async def call(self, request: vb.HistoryRequest) -> vb.HistoryResponse: ...
    @overload
    async def call(self, request: vb.ImportRequest) -> vb.ImportResponse: ...
    @overload
    async def call(self, request: vb.WatchRequest) -> vb.WatchResponse: ...
    @overload
    async def call(self, request: vb.QueuesRequest) -> vb.QueuesResponse: ...
    @overload
    async def call(self, request: vb.SetCurrentVersionRequest) -> vb.Done: ...
    async def call(self, request: Any) -> Any:
        """Ask the server.

        Raises:
            ServerError: It refused or was not reached; the subclass says who must act.
        """
        ...
