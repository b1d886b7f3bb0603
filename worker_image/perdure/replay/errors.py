"""How running workflow code can fail short of failing the workflow."""

from __future__ import annotations

from perdure.exceptions import PerdureError
from perdure.protocol.failures import Failure


class WorkflowTaskError(PerdureError):
    """The workflow's code could not be run: its task is to be tried again, from history.

    The original exception, if there is one, is the cause (``__cause__``).
    """

    def __init__(self, cause: str, failure: Failure) -> None:
        super().__init__(f"{cause}: {failure.message}")
        self.task_cause = cause
        """``WorkflowError``, ``Nondeterminism``, ``PayloadTooLarge`` or ``HistoryGap``."""
        self.failure = failure
        """What happened, as it is recorded."""


class RunEvictedError(BaseException):
    """Thrown into workflow code that is torn down: nothing that it asks for is heard any more.

    Not an ``Exception``, so that no ordinary handler of the user's catches it.
    """

    def __init__(self) -> None:
        super().__init__(
            "this run is dropped from the worker's memory (it goes on elsewhere, from its history)"
        )
