"""Steps: light side effects that run in the workflow's own worker.

A step costs one commit and no dispatch. Its result goes through the data converter before workflow
code sees it, so that the run and its replays see the same value. A Temporal local activity is the
same thing under its own name and with its options.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict, TypeVarTuple, Unpack, overload

from perdure.common import RetryPolicy, to_millis
from perdure.exceptions import UsageError
from perdure.protocol.payloads import Millis
from perdure.workflow._options import (
    activity_name,
    check_options,
    gather_args,
    result_type_of,
)
from perdure.workflow._requests import (
    DEFAULT_RETRY_POLICY,
    ActivityCancellationType,
    ActivityHandle,
    StepRequest,
)
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
    return_type_or_none,
)

Ts = TypeVarTuple("Ts")


@overload
async def step(
    fn: Callable[[*Ts], Awaitable[R]],
    *args: *Ts,
    name: str | None = ...,
    retry_policy: RetryPolicy | None = ...,
    timeout: timedelta | float | None = ...,
) -> R: ...
@overload
async def step(
    fn: Callable[[*Ts], R],
    *args: *Ts,
    name: str | None = ...,
    retry_policy: RetryPolicy | None = ...,
    timeout: timedelta | float | None = ...,
) -> R: ...
async def step(
    fn: Callable[[*Ts], Any],
    *args: *Ts,
    name: str | None = None,
    retry_policy: RetryPolicy | None = None,
    timeout: timedelta | float | None = None,
) -> Any:
    """Run ``fn(*args)`` in this worker, once its result is recorded never again, and return it.

    ``fn`` may be any callable, sync or async, also a lambda; it may do what workflow code may not.
    The result is decoded as what ``fn``'s return annotation says. A step that fails for good raises
    :class:`~perdure.exceptions.ActivityError`, like an activity. Cancelling the wait for a step
    (:func:`asyncio.timeout`, ``task.cancel()``) cancels the step.

    Args:
        fn: What to run.
        args: Its arguments. They are not recorded: the step may run after workflow code went on,
            so do not change them meanwhile.
        name: What history calls it; by default the function's name, for a lambda its number.
        retry_policy: When to try again after an exception; by default like an activity's, without
            limit.
        timeout: Of one attempt, in seconds or as a duration.
    """
    if not callable(fn):
        raise UsageError(f"workflow.step runs a callable, not {fn!r}: write step(fn, arg, ...)")
    request = StepRequest(
        name=_function_name(fn) if name is None else name,
        fn=fn,
        args=args,
        result_type=return_type_or_none(fn),
        retry_policy=retry_policy.to_protocol() if retry_policy else DEFAULT_RETRY_POLICY,
        timeout=_millis(timeout),
    )
    return await current().start_step(request)


class LocalActivityConfig(TypedDict, total=False):
    """Options of a local activity, as keyword arguments or to be kept and passed with ``**``."""

    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    local_retry_threshold: timedelta | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None


@overload
def start_local_activity(
    activity: AsyncNoArg[R], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: SyncNoArg[R], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: AsyncOneArg[A, R], arg: A, **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: SyncOneArg[A, R], arg: A, **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: Callable[P, Awaitable[R]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: Callable[P, R], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[R]: ...
@overload
def start_local_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = ...,
    result_type: type | None = ...,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[Any]: ...
def start_local_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[Any]:
    """Start an activity in this worker, as a step, and return its handle.

    Args:
        activity: The function, or the name of an activity that the worker has registered.
        arg: Its only argument.
        args: Its arguments, when there are several.
        result_type: What the result is decoded as; needed with a name only.
        options: See :class:`LocalActivityConfig`. ``start_to_close_timeout`` or
            ``schedule_to_close_timeout`` must be given.
    """
    return _start_local(activity, arg, args, result_type, options)


@overload
async def execute_local_activity(
    activity: AsyncNoArg[R], **options: Unpack[LocalActivityConfig]
) -> R: ...
@overload
async def execute_local_activity(
    activity: SyncNoArg[R], **options: Unpack[LocalActivityConfig]
) -> R: ...
@overload
async def execute_local_activity(
    activity: AsyncOneArg[A, R], arg: A, **options: Unpack[LocalActivityConfig]
) -> R: ...
@overload
async def execute_local_activity(
    activity: SyncOneArg[A, R], arg: A, **options: Unpack[LocalActivityConfig]
) -> R: ...
@overload
async def execute_local_activity(
    activity: Callable[P, Awaitable[R]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> R: ...
@overload
async def execute_local_activity(
    activity: Callable[P, R], *, args: Sequence[Any], **options: Unpack[LocalActivityConfig]
) -> R: ...
@overload
async def execute_local_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = ...,
    result_type: type | None = ...,
    **options: Unpack[LocalActivityConfig],
) -> Any: ...
async def execute_local_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = (),
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> Any:
    """Start an activity in this worker and wait for its result."""
    return await _start_local(activity, arg, args, result_type, options)


def _start_local(
    activity: str | Callable[..., Any],
    arg: Any,
    args: Sequence[Any],
    result_type: Any | None,
    options: LocalActivityConfig,
) -> ActivityHandle[Any]:
    check_options(options, LocalActivityConfig)
    name = activity_name(activity)
    limits = [
        to_millis(limit)
        for limit in (
            options.get("start_to_close_timeout"),
            options.get("schedule_to_close_timeout"),
        )
        if limit is not None
    ]
    if not limits:
        raise UsageError(
            f"local activity {name!r} needs start_to_close_timeout (of one attempt) or "
            "schedule_to_close_timeout (of all of them)"
        )
    policy = options.get("retry_policy")
    request = StepRequest(
        name=name,
        fn=None if isinstance(activity, str) else activity,
        args=gather_args(arg, args),
        result_type=result_type_of(activity, result_type),
        retry_policy=policy.to_protocol() if policy else DEFAULT_RETRY_POLICY,
        timeout=min(limits),
        activity=name,
    )
    return current().start_local_activity(
        request,
        cancellation_type=options.get("cancellation_type", ActivityCancellationType.TRY_CANCEL),
        activity_id=options.get("activity_id") or "",
    )


def _function_name(fn: Callable[..., Any]) -> str:
    """Return what a callable is called; nothing for a lambda."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name: str = getattr(fn, "__name__", type(fn).__name__)
    return "" if name == "<lambda>" else name


def _millis(duration: timedelta | float | None) -> Millis | None:
    if duration is None or isinstance(duration, timedelta):
        return to_millis(duration)
    return to_millis(timedelta(seconds=duration))
