"""Starting activities that are methods or callable classes.

They are named through their class, because workflow code has no instance of it: the worker does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Unpack, overload

from perdure.workflow._options import ActivityConfig, activity_request
from perdure.workflow._requests import ActivityHandle
from perdure.workflow._runtime import current
from perdure.workflow._types import (
    UNSET,
    A,
    AsyncMethodNoArg,
    AsyncMethodOneArg,
    AsyncNoArg,
    AsyncOneArg,
    P,
    R,
    S,
    SyncMethodNoArg,
    SyncMethodOneArg,
    SyncNoArg,
    SyncOneArg,
)


@overload
def start_activity_method(
    activity: AsyncMethodNoArg[S, R], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_method(
    activity: SyncMethodNoArg[S, R], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_method(
    activity: AsyncMethodOneArg[S, A, R], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_method(
    activity: SyncMethodOneArg[S, A, R], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_method(
    activity: Callable[Concatenate[S, P], Awaitable[R]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[R]: ...
@overload
def start_activity_method(
    activity: Callable[Concatenate[S, P], R],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[R]: ...
def start_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]:
    """Start an activity that is a method, named through its class; see :func:`start_activity`."""
    return current().start_activity(activity_request(activity, arg, args, None, options))


@overload
async def execute_activity_method(
    activity: AsyncMethodNoArg[S, R], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_method(
    activity: SyncMethodNoArg[S, R], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_method(
    activity: AsyncMethodOneArg[S, A, R], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_method(
    activity: SyncMethodOneArg[S, A, R], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_method(
    activity: Callable[Concatenate[S, P], Awaitable[R]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> R: ...
@overload
async def execute_activity_method(
    activity: Callable[Concatenate[S, P], R],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> R: ...
async def execute_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    **options: Unpack[ActivityConfig],
) -> Any:
    """Start an activity that is a method and wait for its result."""
    return await current().start_activity(activity_request(activity, arg, args, None, options))


@overload
def start_activity_class(
    activity: type[AsyncNoArg[R]], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_class(
    activity: type[SyncNoArg[R]], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_class(
    activity: type[AsyncOneArg[A, R]], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_class(
    activity: type[SyncOneArg[A, R]], arg: A, **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_activity_class(
    activity: type[Callable[P, Awaitable[R]]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[R]: ...
@overload
def start_activity_class(
    activity: type[Callable[P, R]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> ActivityHandle[R]: ...
def start_activity_class(
    activity: type[Callable[..., Any]],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]:
    """Start an activity that is a class with ``__call__``; see :func:`start_activity`."""
    return current().start_activity(activity_request(activity, arg, args, None, options))


@overload
async def execute_activity_class(
    activity: type[AsyncNoArg[R]], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_class(
    activity: type[SyncNoArg[R]], **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_class(
    activity: type[AsyncOneArg[A, R]], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_class(
    activity: type[SyncOneArg[A, R]], arg: A, **options: Unpack[ActivityConfig]
) -> R: ...
@overload
async def execute_activity_class(
    activity: type[Callable[P, Awaitable[R]]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> R: ...
@overload
async def execute_activity_class(
    activity: type[Callable[P, R]], *, args: Sequence[Any], **options: Unpack[ActivityConfig]
) -> R: ...
async def execute_activity_class(
    activity: type[Callable[..., Any]],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    **options: Unpack[ActivityConfig],
) -> Any:
    """Start an activity that is a class with ``__call__`` and wait for its result."""
    return await current().start_activity(activity_request(activity, arg, args, None, options))
