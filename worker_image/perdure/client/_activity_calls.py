"""Starting activities on their own, without a workflow around them."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Unpack, overload

from perdure.client._activity_handle import ActivityHandle
from perdure.client._base import ClientBase
from perdure.client._errors import ActivityAlreadyStartedError, RPCError
from perdure.client._options import StartActivityOptions
from perdure.client._types import (
    UNSET,
    A,
    AsyncNoArg,
    AsyncOneArg,
    P,
    R,
    SyncNoArg,
    SyncOneArg,
    arguments,
)
from perdure.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    RetryPolicy,
    to_millis,
)
from perdure.exceptions import UsageError
from perdure.protocol.placements import Placement
from perdure.protocol.verbs import (
    ActivityOptions,
    IdConflictPolicy,
    IdReusePolicy,
    StartRequest,
    StartResponse,
)


class ActivityCalls(ClientBase):
    """The part of the client that starts activities."""

    @overload
    async def start_activity(
        self, activity: AsyncNoArg[R], **options: Unpack[StartActivityOptions]
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self, activity: SyncNoArg[R], **options: Unpack[StartActivityOptions]
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self, activity: AsyncOneArg[A, R], arg: A, **options: Unpack[StartActivityOptions]
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self, activity: SyncOneArg[A, R], arg: A, **options: Unpack[StartActivityOptions]
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self,
        activity: Callable[P, Awaitable[R]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartActivityOptions],
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self,
        activity: Callable[P, R],
        *,
        args: Sequence[Any],
        **options: Unpack[StartActivityOptions],
    ) -> ActivityHandle[R]: ...
    @overload
    async def start_activity(
        self,
        activity: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        result_type: type[R] | None = ...,
        **options: Unpack[StartActivityOptions],
    ) -> ActivityHandle[Any]: ...
    async def start_activity(
        self,
        activity: Any,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        **options: Unpack[StartActivityOptions],
    ) -> ActivityHandle[Any]:
        """Start an activity on its own. Returns when the start is on disk.

        Args:
            activity: the function, or the activity's name.
            arg: its only argument.
            args: its arguments, when there are several.
            result_type: what the result is decoded as; needed with a name only.
            options: see :class:`StartActivityOptions`; ``id``, ``task_queue`` and one of
                ``start_to_close_timeout`` and ``schedule_to_close_timeout`` are required.

        Raises:
            ActivityAlreadyStartedError: the id is taken, and the policies do not allow that.
            RPCError: the server refused otherwise, or cannot be reached.
        """
        name, declared = _name_and_type(activity)
        request = await self._activity_request(name, arguments(arg, args), options)
        answer = await self._start_standalone(request, options.get("rpc_timeout"))
        return ActivityHandle(
            self, request.workflow_id, run_id=answer.run_id, result_type=result_type or declared
        )

    @overload
    async def execute_activity(
        self, activity: AsyncNoArg[R], **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: SyncNoArg[R], **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: AsyncOneArg[A, R], arg: A, **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: SyncOneArg[A, R], arg: A, **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self,
        activity: Callable[P, Awaitable[R]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartActivityOptions],
    ) -> R: ...
    @overload
    async def execute_activity(
        self,
        activity: Callable[P, R],
        *,
        args: Sequence[Any],
        **options: Unpack[StartActivityOptions],
    ) -> R: ...
    @overload
    async def execute_activity(
        self,
        activity: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        result_type: type[R] | None = ...,
        **options: Unpack[StartActivityOptions],
    ) -> Any: ...
    async def execute_activity(
        self,
        activity: Any,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        **options: Unpack[StartActivityOptions],
    ) -> Any:
        """Start an activity on its own and wait for its result.

        See :meth:`start_activity` and :meth:`ActivityHandle.result`.
        """
        handle: ActivityHandle[Any] = await self.start_activity(
            activity, arg, args=args, result_type=result_type, **options
        )
        return await handle.result()

    async def _activity_request(
        self, name: str, given: Sequence[Any], options: StartActivityOptions
    ) -> StartRequest:
        if not options["id"] or not options["task_queue"]:
            raise UsageError(f"cannot start {name}: `id` and `task_queue` must not be empty")
        limits = (options.get("start_to_close_timeout"), options.get("schedule_to_close_timeout"))
        if limits == (None, None):
            raise UsageError(
                f"cannot start {name}: give start_to_close_timeout (for one attempt) or "
                "schedule_to_close_timeout (for all of them)"
            )
        reuse = options.get("id_reuse_policy", ActivityIDReusePolicy.ALLOW_DUPLICATE)
        conflict = options.get("id_conflict_policy", ActivityIDConflictPolicy.FAIL)
        pod = options.get("pod")
        return StartRequest(
            namespace=self.namespace,
            workflow_id=options["id"],
            workflow_type=name,
            task_queue=options["task_queue"],
            input=await self.data_converter.encode(given, name),
            kind="activity",
            activity=ActivityOptions(
                start_to_close_timeout=to_millis(limits[0]),
                schedule_to_close_timeout=to_millis(limits[1]),
                schedule_to_start_timeout=to_millis(options.get("schedule_to_start_timeout")),
                heartbeat_timeout=to_millis(options.get("heartbeat_timeout")),
                retry_policy=(options.get("retry_policy") or RetryPolicy()).to_protocol(),
                placement=Placement(template=pod.to_template()) if pod is not None else None,
            ),
            memo=await self.encode_memo(options.get("memo")),
            id_reuse_policy=IdReusePolicy[reuse.name],
            id_conflict_policy=IdConflictPolicy[conflict.name],
            request_id=options.get("request_id") or uuid.uuid4().hex,
            identity=self.identity,
        )

    async def _start_standalone(
        self, request: StartRequest, rpc_timeout: timedelta | None
    ) -> StartResponse:
        try:
            return await self.service.call(request, timeout=rpc_timeout)
        except RPCError as error:
            if error.code != "AlreadyStarted":
                raise
            raise ActivityAlreadyStartedError(
                request.workflow_id, request.workflow_type, run_id=error.run_id or None
            ) from error


def _name_and_type(activity: Any) -> tuple[str, Any]:
    if isinstance(activity, str):
        return activity, None
    from perdure.activity import _definition

    found = _definition.find_definition(activity)
    label = getattr(activity, "__qualname__", activity)
    if found is None:
        raise UsageError(
            f"{label!r} is no activity: give a function marked with @activity.defn, or the "
            "activity's name"
        )
    if found.name is None:
        raise UsageError(f"{label} is a dynamic activity: start it by the name you want")
    return found.name, _definition.positional_types(activity)[1]
