"""Starting workflows.

The overloads let a type checker see the argument and the result; at run time a workflow is its
name, and the method given only says what the name is and what the result is decoded as.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Unpack, overload

from perdure.client._base import ClientBase
from perdure.client._errors import RPCError
from perdure.client._options import StartWorkflowOptions
from perdure.client._types import (
    UNSET,
    A,
    AsyncMethodNoArg,
    AsyncMethodOneArg,
    P,
    R,
    S,
    arguments,
)
from perdure.client._workflow_handle import WorkflowHandle
from perdure.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy, to_millis
from perdure.exceptions import UsageError, WorkflowAlreadyStartedError
from perdure.protocol.verbs import IdConflictPolicy, IdReusePolicy, StartRequest, StartResponse

_DEFAULT_TASK_TIMEOUT = 10_000
_CONFLICT = {
    WorkflowIDConflictPolicy.UNSPECIFIED: IdConflictPolicy.FAIL,
    WorkflowIDConflictPolicy.FAIL: IdConflictPolicy.FAIL,
    WorkflowIDConflictPolicy.USE_EXISTING: IdConflictPolicy.USE_EXISTING,
    WorkflowIDConflictPolicy.TERMINATE_EXISTING: IdConflictPolicy.TERMINATE_EXISTING,
}


class WorkflowCalls(ClientBase):
    """The part of the client that starts workflows."""

    @overload
    async def start_workflow(
        self, workflow: AsyncMethodNoArg[S, R], **options: Unpack[StartWorkflowOptions]
    ) -> WorkflowHandle[S, R]: ...
    @overload
    async def start_workflow(
        self, workflow: AsyncMethodOneArg[S, A, R], arg: A, **options: Unpack[StartWorkflowOptions]
    ) -> WorkflowHandle[S, R]: ...
    @overload
    async def start_workflow(
        self,
        workflow: Callable[Concatenate[S, P], Awaitable[R]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[S, R]: ...
    @overload
    async def start_workflow(
        self,
        workflow: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        result_type: type[R] | None = ...,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any, Any]: ...
    async def start_workflow(
        self,
        workflow: Any,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow. Returns when the start is on disk.

        Args:
            workflow: the run method (``Order.run``) or the workflow's name.
            arg: its only argument.
            args: its arguments, when there are several.
            result_type: what the result is decoded as; needed with a name only.
            options: see :class:`StartWorkflowOptions`; ``id`` and ``task_queue`` are required.

        Raises:
            WorkflowAlreadyStartedError: the id is taken, and the policies do not allow that.
            RPCError: the server refused otherwise, or cannot be reached.
        """
        from perdure.workflow import _definition

        name, _, declared = _definition.workflow_name_and_types(workflow)
        request = await self._start_request(name, arguments(arg, args), options)
        answer = await self._start(request, options)
        return WorkflowHandle(
            self,
            request.workflow_id,
            result_run_id=answer.run_id,
            first_execution_run_id=answer.run_id,
            result_type=result_type or declared,
        )

    @overload
    async def execute_workflow(
        self, workflow: AsyncMethodNoArg[S, R], **options: Unpack[StartWorkflowOptions]
    ) -> R: ...
    @overload
    async def execute_workflow(
        self, workflow: AsyncMethodOneArg[S, A, R], arg: A, **options: Unpack[StartWorkflowOptions]
    ) -> R: ...
    @overload
    async def execute_workflow(
        self,
        workflow: Callable[Concatenate[S, P], Awaitable[R]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> R: ...
    @overload
    async def execute_workflow(
        self,
        workflow: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        result_type: type[R] | None = ...,
        **options: Unpack[StartWorkflowOptions],
    ) -> Any: ...
    async def execute_workflow(
        self,
        workflow: Any,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> Any:
        """Start a workflow and wait for its result.

        See :meth:`start_workflow` and :meth:`WorkflowHandle.result`.
        """
        handle: WorkflowHandle[Any, Any] = await self.start_workflow(
            workflow, arg, args=args, result_type=result_type, **options
        )
        return await handle.result()

    async def _start_request(
        self, name: str, given: Sequence[Any], options: StartWorkflowOptions
    ) -> StartRequest:
        from perdure.workflow import _definition

        if not options["id"] or not options["task_queue"]:
            raise UsageError(f"cannot start {name}: `id` and `task_queue` must not be empty")
        signal = options.get("start_signal")
        signal_args = options.get("start_signal_args", ())
        signal_name = "" if signal is None else _definition.signal_name(signal)
        if signal_args and not signal_name:
            raise UsageError("`start_signal_args` without `start_signal`: name the signal, too")
        reuse, conflict = _policies(options)
        retry_policy = options.get("retry_policy")
        return StartRequest(
            namespace=self.namespace,
            workflow_id=options["id"],
            workflow_type=name,
            task_queue=options["task_queue"],
            input=await self.data_converter.encode(given, name),
            execution_timeout=to_millis(options.get("execution_timeout")),
            run_timeout=to_millis(options.get("run_timeout")),
            task_timeout=to_millis(options.get("task_timeout")) or _DEFAULT_TASK_TIMEOUT,
            retry_policy=None if retry_policy is None else retry_policy.to_protocol(),
            memo=await self.encode_memo(options.get("memo")),
            id_reuse_policy=reuse,
            id_conflict_policy=conflict,
            request_id=options.get("request_id") or uuid.uuid4().hex,
            identity=self.identity,
            start_signal=signal_name,
            start_signal_input=await self.data_converter.encode(
                signal_args, f"signal {signal_name}"
            ),
        )

    async def _start(self, request: StartRequest, options: StartWorkflowOptions) -> StartResponse:
        try:
            return await self.service.call(request, timeout=options.get("rpc_timeout"))
        except RPCError as error:
            if error.code != "AlreadyStarted":
                raise
            raise WorkflowAlreadyStartedError(
                request.workflow_id, request.workflow_type, run_id=error.run_id or None
            ) from error


def _policies(options: StartWorkflowOptions) -> tuple[IdReusePolicy, IdConflictPolicy]:
    reuse = options.get("id_reuse_policy", WorkflowIDReusePolicy.ALLOW_DUPLICATE)
    conflict = options.get("id_conflict_policy", WorkflowIDConflictPolicy.UNSPECIFIED)
    if reuse is not WorkflowIDReusePolicy.TERMINATE_IF_RUNNING:
        return IdReusePolicy[reuse.name], _CONFLICT[conflict]
    if conflict is not WorkflowIDConflictPolicy.UNSPECIFIED:
        raise UsageError(
            "TERMINATE_IF_RUNNING says what to do with an open run, so it goes with no "
            "`id_conflict_policy`: use ALLOW_DUPLICATE with TERMINATE_EXISTING"
        )
    return IdReusePolicy.ALLOW_DUPLICATE, IdConflictPolicy.TERMINATE_EXISTING
