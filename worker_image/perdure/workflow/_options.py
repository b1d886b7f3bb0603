"""What users write as options of activities and steps, checked and turned into requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from perdure.common import Pod, RetryPolicy, to_millis
from perdure.exceptions import UsageError
from perdure.protocol.placements import Placement
from perdure.workflow._requests import (
    DEFAULT_RETRY_POLICY,
    ActivityCancellationType,
    ActivityRequest,
)
from perdure.workflow._types import UNSET, return_type_or_none

_ACTIVITY_ATTRIBUTE = "__perdure_activity_definition__"
"""Where ``@activity.defn`` leaves its note. That package is a sibling, unknown here."""


class ActivityConfig(TypedDict, total=False):
    """Options of an activity, as keyword arguments or to be kept and passed with ``**``."""

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None
    pod: Pod | None


def gather_args(arg: Any, args: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments given as ``arg`` or as ``args``."""
    if arg is UNSET:
        return tuple(args)
    if args:
        raise UsageError("give either the only argument as `arg` or all of them as `args`")
    return (arg,)


def activity_name(activity: str | Callable[..., Any]) -> str:
    """Return the name of an activity given by name or by its callable.

    Raises:
        UsageError: it is no activity, or a dynamic one, which has no name.
    """
    if isinstance(activity, str):
        return activity
    definition = getattr(activity, _ACTIVITY_ATTRIBUTE, None)
    label = getattr(activity, "__qualname__", repr(activity))
    if definition is None:
        raise UsageError(
            f"{label} is no activity: mark it with @activity.defn, or run it in this worker with "
            "workflow.step"
        )
    name: str | None = definition.name
    if name is None:
        raise UsageError(f"{label} is a dynamic activity: start it by the name you want")
    return name


def result_type_of(activity: Any, result_type: Any | None) -> Any | None:
    """Return what an activity's result is decoded as."""
    if result_type is not None or isinstance(activity, str):
        return result_type
    return return_type_or_none(activity)


def check_options(options: Mapping[str, Any], allowed: type, *, what: str = "an activity") -> None:
    """Refuse unknown options as Python refuses unknown arguments."""
    unknown = options.keys() - allowed.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown option {min(unknown)!r} of {what}")


def activity_request(
    activity: str | Callable[..., Any],
    arg: Any,
    args: Sequence[Any],
    result_type: Any | None,
    options: ActivityConfig,
) -> ActivityRequest:
    """Return what an activity call asks for.

    Raises:
        UsageError: it names no activity, or has no time limit.
    """
    check_options(options, ActivityConfig)
    pod = options.get("pod")
    return timed_request(
        activity_name(activity),
        gather_args(arg, args),
        result_type_of(activity, result_type),
        options,
        placement=Placement(template=pod.to_template()) if pod is not None else None,
    )


def timed_request(
    name: str,
    args: tuple[Any, ...],
    result_type: Any | None,
    options: ActivityConfig,
    *,
    placement: Placement | None,
) -> ActivityRequest:
    """Return what is asked for under a name.

    Raises:
        UsageError: it has no time limit.
    """
    whole = options.get("schedule_to_close_timeout")
    attempt = options.get("start_to_close_timeout")
    if whole is None and attempt is None:
        raise UsageError(
            f"activity {name!r} needs start_to_close_timeout (of one attempt) or "
            "schedule_to_close_timeout (of all of them)"
        )
    policy = options.get("retry_policy")
    return ActivityRequest(
        name=name,
        args=args,
        result_type=result_type,
        task_queue=options.get("task_queue") or "",
        schedule_to_close_timeout=to_millis(whole),
        schedule_to_start_timeout=to_millis(options.get("schedule_to_start_timeout")),
        start_to_close_timeout=to_millis(attempt),
        heartbeat_timeout=to_millis(options.get("heartbeat_timeout")),
        retry_policy=policy.to_protocol() if policy else DEFAULT_RETRY_POLICY,
        cancellation_type=options.get("cancellation_type", ActivityCancellationType.TRY_CANCEL),
        activity_id=options.get("activity_id") or "",
        summary=options.get("summary") or "",
        placement=placement,
    )
