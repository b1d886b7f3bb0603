"""Running one activity on many items: a batch.

However many items there are, a batch is one thing in history and one handle in code; the server
keeps a bounded number of its items open and tells the run of their results in portions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Unpack, overload

from perdure.exceptions import ActivityError, UsageError
from perdure.protocol.items import MAX_ITEMS
from perdure.workflow._batch_handle import Batch
from perdure.workflow._options import ActivityConfig, activity_request
from perdure.workflow._requests import ActivityRequest, BatchRequest
from perdure.workflow._runtime import current
from perdure.workflow._types import UNSET, A, AsyncOneArg, R, SyncOneArg


@overload
def map_activities(
    activity: AsyncOneArg[A, R],
    items: Iterable[A],
    *,
    parallelism: int | None = ...,
    tolerated_failures: Literal[0] = ...,
    stream: bool = ...,
    **options: Unpack[ActivityConfig],
) -> Batch[R]: ...
@overload
def map_activities(
    activity: SyncOneArg[A, R],
    items: Iterable[A],
    *,
    parallelism: int | None = ...,
    tolerated_failures: Literal[0] = ...,
    stream: bool = ...,
    **options: Unpack[ActivityConfig],
) -> Batch[R]: ...
@overload
def map_activities(
    activity: AsyncOneArg[A, R],
    items: Iterable[A],
    *,
    parallelism: int | None = ...,
    tolerated_failures: int,
    stream: bool = ...,
    **options: Unpack[ActivityConfig],
) -> Batch[R | ActivityError]: ...
@overload
def map_activities(
    activity: SyncOneArg[A, R],
    items: Iterable[A],
    *,
    parallelism: int | None = ...,
    tolerated_failures: int,
    stream: bool = ...,
    **options: Unpack[ActivityConfig],
) -> Batch[R | ActivityError]: ...
@overload
def map_activities(
    activity: str,
    items: Iterable[Any],
    *,
    result_type: type | None = ...,
    parallelism: int | None = ...,
    tolerated_failures: int = ...,
    stream: bool = ...,
    **options: Unpack[ActivityConfig],
) -> Batch[Any]: ...
def map_activities(
    activity: Any,
    items: Iterable[Any],
    *,
    result_type: type | None = None,
    parallelism: int | None = None,
    tolerated_failures: int = 0,
    stream: bool = False,
    **options: Unpack[ActivityConfig],
) -> Batch[Any]:
    """Start an activity for each of ``items`` and return the handle of all of them.

    Await the handle for the list of results, in the order of the items, or go through it with
    ``async for``: see :class:`Batch`. No items give an empty list, and nothing is scheduled.

    Args:
        activity: The function, or the activity's name. It is called with one item.
        items: At most 100,000, in an order that is the same on every replay.
        result_type: What a result is decoded as; needed with a name only.
        parallelism: How many items may be open at once; by default only the server bounds it.
        tolerated_failures: How many items may fail. Each is its
            :class:`~perdure.exceptions.ActivityError` in the list; one more fails the batch and
            cancels what is open.
        stream: Have results told as they come, for code that goes through them later. Code that
            begins with ``async for`` or ``as_completed`` before it waits for anything need not say
            so. Costs the run an activation a portion.
        options: See :class:`ActivityConfig`. They are each item's, except
            ``schedule_to_close_timeout``, which is of the whole batch.

    Raises:
        UsageError: it names no activity, has no time limit, or cannot be a batch.
    """
    request = BatchRequest(
        activity=_without_pod(activity_request(activity, UNSET, (), result_type, options)),
        items=_in_order(items),
        parallelism=_checked("parallelism", parallelism, least=1),
        tolerated_failures=_checked("tolerated_failures", tolerated_failures, least=0),
        streamed=stream,
    )
    return current().start_batch(request)


def _without_pod(request: ActivityRequest) -> ActivityRequest:
    if request.placement is not None:
        raise UsageError(
            "the items of a batch have no pods of their own: leave `pod` out, or call "
            "execute_activity for each"
        )
    return request


def _in_order(items: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(items, (set, frozenset)):
        raise UsageError(
            "the items of a batch are a set, whose order is another on every replay: give a list, "
            "for example sorted(items)"
        )
    found = tuple(items)
    if len(found) > MAX_ITEMS:
        raise UsageError(
            f"a batch of {len(found):,} items: at most {MAX_ITEMS:,} may be in one; make several, "
            "one after the other or in child tasks"
        )
    return found


def _checked(option: str, value: int | None, *, least: int) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{option} of a batch is {value!r}: give a whole number from {least} on")
    return value
