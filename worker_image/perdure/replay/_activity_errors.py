"""What is raised in workflow code where an activity, a step or a batch has failed."""

from __future__ import annotations

from perdure.converter import DataConverter
from perdure.exceptions import ActivityError, PerdureError
from perdure.protocol.failures import Failure, RetryState, TimeoutInfo


def activity_error(
    message: str, name: str, activity_id: str, cause: PerdureError, state: RetryState | None
) -> ActivityError:
    """Return the error, with what is behind it as its cause."""
    error = ActivityError(message, activity_type=name, activity_id=activity_id, retry_state=state)
    error.__cause__ = cause
    return error


def item_error(
    failure: Failure, name: str, item_id: str, converter: DataConverter, state: RetryState | None
) -> ActivityError:
    """Return what stands for a failed item: what awaiting it as an activity would have raised."""
    timed_out = isinstance(failure.info, TimeoutInfo)
    message = "Activity task timed out" if timed_out else "Activity task failed"
    return activity_error(message, name, item_id, converter.from_failure(failure), state)


def batch_error(
    failure: Failure, name: str, activity_id: str, converter: DataConverter
) -> ActivityError:
    """Return what a failed batch raises: its own words, caused by what broke it.

    That is the first failed item, or that the time was up.
    """
    timed_out = isinstance(failure.info, TimeoutInfo)
    cause = converter.from_failure(failure if timed_out else failure.cause or failure)
    return activity_error(failure.message, name, activity_id, cause, None)
