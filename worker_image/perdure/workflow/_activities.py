"""Starting activities.

The overloads let a type checker see the activity's result; at run time an activity is its name,
and the function given only says what the name is and what the result is decoded as.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Unpack, overload

from perdure.workflow._options import ActivityConfig, activity_request
from perdure.workflow._requests import ActivityHandle
from perdure.workflow._runtime import current
from perdure.workflow._types import (
    UNSET,
    A,
    AsyncNoArg,
    AsyncOneArg,
    P,
    R,
    SyncNoArg,
    SyncOneArg,
)


@overload
def start_activity(
    activity: AsyncNoArg[R], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: SyncNoArg[R], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: AsyncOneArg[A, R], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: SyncOneArg[A, R], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: Callable[P, Awaitable[R]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: Callable[P, R], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = ...,
    result_type: type | None = ...,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]: ...
def start_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]:
    """Start an activity and return its handle.

    Args:
        activity: The function, or the activity's name.
        arg: Its only argument.
        args: Its arguments, when there are several.
        result_type: What the result is decoded as; needed with a name only.
        options: See :class:`ActivityConfig`. ``start_to_close_timeout`` (of one attempt) or
            ``schedule_to_close_timeout`` (of all of them) must be given.
    """
    return current().start_activity(activity_request(activity, arg, args, result_type, options))


@overload
async def execute_activity(activity: AsyncNoArg[R], **options: Unpack[ActivityConfig]) -> R: ...
@overload
async def execute_activity(activity: SyncNoArg[R], **options: Unpack[ActivityConfig]) -> R: ...
@overload
async def execute_activity(
    activity: AsyncOneArg[A, R], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity(
    activity: SyncOneArg[A, R], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity(
    activity: Callable[P, Awaitable[R]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity(
    activity: Callable[P, R], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = ...,
    result_type: type | None = ...,
    **options: Unpack[ActivityConfig],
) -> Any: ...
async def execute_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> Any:
    """Start an activity and wait for its result; see :func:`start_activity`."""
    return await current().start_activity(
        activity_request(activity, arg, args, result_type, options)
    )
