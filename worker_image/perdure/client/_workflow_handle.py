"""A handle: one workflow, to be asked, told, stopped and waited for."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

import msgspec

from perdure.client._base import ClientBase, Target
from perdure.client._errors import (
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.client._executions import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistory,
)
from perdure.client._results import result_or_failure, wait_for_end, wait_of
from perdure.client._retries import WorkflowRetry, retry_request
from perdure.client._types import (
    UNSET,
    A,
    MethodAnyArgs,
    MethodNoArg,
    MethodOneArg,
    P,
    R,
    arguments,
)
from perdure.common import QueryRejectCondition, to_millis
from perdure.protocol import verbs
from perdure.protocol.events import HistoryEvent
from perdure.protocol.retries import RetryPoint

SelfType = TypeVar("SelfType")
ReturnType = TypeVar("ReturnType")

_PAGE = 1000
_QUERY_TIMEOUT = 30_000


class WorkflowHandle(Generic[SelfType, ReturnType]):
    """One workflow id, or one run of it.

    Made by :meth:`Client.start_workflow` and :meth:`Client.get_workflow_handle`; the server is
    asked only when a method is called.
    """

    def __init__(
        self,
        client: ClientBase,
        id: str,  # noqa: A002 - Temporal's name
        *,
        run_id: str | None = None,
        result_run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: Any = None,
    ) -> None:
        self._client = client
        self._id = id
        self._run_id = run_id
        self._result_run_id = result_run_id
        self._first_execution_run_id = first_execution_run_id
        self._result_type = result_type

    @property
    def id(self) -> str:
        """The workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that is asked and told; None means the newest, so it is after a start."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run that :meth:`result` waits for; the one started, after a start."""
        return self._result_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The run that was started; :meth:`cancel` and :meth:`terminate` touch no other."""
        return self._first_execution_run_id

    async def result(self, *, rpc_timeout: timedelta | None = None) -> ReturnType:
        """Wait for the workflow's end and return what it returned.

        Waits for as long as it takes, through restarts of the server; put
        :func:`asyncio.timeout` around it to bound that.

        Args:
            rpc_timeout: for one poll of the server.

        Raises:
            WorkflowFailureError: it ended in another way; ``cause`` says how.
            RPCError: there is no such run, or no server ever answered.
        """
        run_id = self._result_run_id or self._run_id or ""
        answer = await wait_for_end(self._client, self._id, run_id, rpc_timeout)
        result, failure = await result_or_failure(
            self._client, answer, self._result_type, "Workflow"
        )
        if failure is not None:
            raise WorkflowFailureError(cause=failure)
        return result  # type: ignore[no-any-return]  # decoded as the type that the handle has

    @overload
    async def signal(
        self, signal: MethodNoArg[SelfType, None], *, rpc_timeout: timedelta | None = None
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: MethodOneArg[SelfType, A, None],
        arg: A,
        *,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: MethodAnyArgs[SelfType, P, None],
        *,
        args: Sequence[Any],
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Tell the workflow something. Returns when that is on disk.

        Args:
            signal: the handler (``MyWorkflow.approve``) or its name.
            arg: its only argument.
            args: its arguments, when there are several.
            rpc_timeout: for one attempt of the call.
        """
        from perdure.workflow import _definition

        name = _definition.signal_name(signal)
        given = arguments(arg, args)
        request = verbs.SignalRequest(
            **self._target(),
            name=name,
            input=await self._client.data_converter.encode(given, f"signal {name}"),
            signal_id=uuid.uuid4().hex,
            identity=self._client.identity,
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    @overload
    async def query(
        self,
        query: MethodNoArg[SelfType, R],
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> R: ...
    @overload
    async def query(
        self,
        query: MethodOneArg[SelfType, A, R],
        arg: A,
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> R: ...
    @overload
    async def query(
        self,
        query: MethodAnyArgs[SelfType, P, R],
        *,
        args: Sequence[Any],
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> R: ...
    @overload
    async def query(
        self,
        query: str,
        arg: Any = ...,
        *,
        args: Sequence[Any] = ...,
        result_type: Any = ...,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any: ...
    async def query(
        self,
        query: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Ask the workflow something; a worker must be there to answer.

        Args:
            query: the handler (``MyWorkflow.status``) or its name.
            arg: its only argument.
            args: its arguments, when there are several.
            result_type: what the answer is decoded as; needed with a name only.
            reject_condition: which runs not to ask.
            rpc_timeout: for one attempt of the call.

        Raises:
            WorkflowQueryFailedError: the handler raised, or there is none of that name.
            WorkflowQueryRejectedError: the run is one not to ask.
        """
        from perdure.workflow import _definition

        name, declared = _definition.query_name_and_type(query)
        given = arguments(arg, args)
        await self._reject_by_status(reject_condition, rpc_timeout)
        request = verbs.QueryRequest(
            **self._target(),
            name=name,
            input=await self._client.data_converter.encode(given, f"query {name}"),
            timeout=_QUERY_TIMEOUT if rpc_timeout is None else to_millis(rpc_timeout),
        )
        answer = await self._client.service.call(request)
        if answer.failure is not None:
            failure = await self._client.data_converter.decode_failure(answer.failure)
            raise WorkflowQueryFailedError(str(failure)) from failure
        return await self._client.decode(
            answer.result, result_type or declared, f"the answer to query {name}"
        )

    async def cancel(self, *, reason: str = "", rpc_timeout: timedelta | None = None) -> None:
        """Ask the workflow to end. Returns when the wish is on disk, not when it has ended."""
        request = verbs.CancelRequest(
            **self._target(started=True), reason=reason, identity=self._client.identity
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    async def terminate(
        self, *args: Any, reason: str | None = None, rpc_timeout: timedelta | None = None
    ) -> None:
        """End the workflow from outside, without asking its code.

        Args:
            args: values kept with the end.
            reason: for people.
            rpc_timeout: for one attempt of the call.
        """
        request = verbs.TerminateRequest(
            **self._target(started=True),
            reason=reason or "",
            details=await self._client.data_converter.encode(args, "terminate"),
            identity=self._client.identity,
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    async def suspend(
        self, *, reason: str | None = None, rpc_timeout: timedelta | None = None
    ) -> None:
        """Hold the workflow where it is until :meth:`resume`; not in Temporal's API.

        What runs is finished and recorded, timers fire and signals are kept; nothing new begins.

        Args:
            reason: for people.
            rpc_timeout: for one attempt of the call.
        """
        request = verbs.SuspendRequest(
            **self._target(started=True), reason=reason or "", identity=self._client.identity
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    async def resume(self, *, rpc_timeout: timedelta | None = None) -> None:
        """Let a suspended workflow go on; one that is not suspended just goes on.

        Args:
            rpc_timeout: for one attempt of the call.
        """
        request = verbs.ResumeRequest(**self._target(started=True), identity=self._client.identity)
        await self._client.service.call(request, timeout=rpc_timeout)

    async def retry(
        self,
        *,
        from_start: bool = False,
        reason: str | None = None,
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowRetry[SelfType, ReturnType]:
        """Follow a closed run by one that does again what failed; not in Temporal's API.

        Nothing that the run recorded as done, before or beside what failed, is done again.

        Args:
            from_start: do all of it again, with the same input.
            reason: for people.
            request_id: the same id again is the same retry; without it each call is one.
            rpc_timeout: for one attempt of the call.

        Raises:
            RPCError: the run has not ended, has completed, or was followed by another one.
        """
        point = RetryPoint.START if from_start else RetryPoint.FAILED_STEP
        request = retry_request(self._client, self._target(), point, reason, request_id)
        answer = await self._client.service.call(request, timeout=rpc_timeout)
        result_type = self._result_type
        new = type(self)(self._client, self._id, run_id=answer.run_id, result_type=result_type)
        return WorkflowRetry(handle=new, event=answer.event, effects=answer.effects)

    async def describe(
        self, *, rpc_timeout: timedelta | None = None
    ) -> WorkflowExecutionDescription:
        """Return all that the server knows of the run, short of its history."""
        request = verbs.DescribeRequest(**self._target())
        raw = await self._client.service.call(request, timeout=rpc_timeout)
        return WorkflowExecutionDescription.from_raw(raw, raw_description=raw, client=self._client)

    async def fetch_history(self, *, rpc_timeout: timedelta | None = None) -> WorkflowHistory:
        """Return the run's history as far as it goes."""
        events: list[HistoryEvent] = []
        run_id = workflow_type = ""
        async for page in self._pages(_PAGE, wait=False, rpc_timeout=rpc_timeout):
            events.extend(page.events)
            run_id, workflow_type = page.run_id, page.workflow_type
        return WorkflowHistory(self._id, events, run_id, workflow_type)

    async def fetch_history_events(
        self,
        *,
        page_size: int = _PAGE,
        wait_new_event: bool = False,
        rpc_timeout: timedelta | None = None,
    ) -> AsyncIterator[HistoryEvent]:
        """Return the run's events one by one.

        Args:
            page_size: how many are fetched at a time.
            wait_new_event: go on until the run is closed, through restarts of the server.
            rpc_timeout: for one call.
        """
        async for page in self._pages(page_size, wait=wait_new_event, rpc_timeout=rpc_timeout):
            for event in page.events:
                yield event

    async def _pages(
        self, page_size: int, *, wait: bool, rpc_timeout: timedelta | None
    ) -> AsyncIterator[verbs.HistoryResponse]:
        request = verbs.HistoryRequest(
            **self._target(), limit=page_size, wait=wait_of(rpc_timeout) if wait else 0
        )

        async def call() -> verbs.HistoryResponse:
            return await self._client.service.call(request, timeout=rpc_timeout)

        while True:
            page = (
                await self._client.through_outages(call, f"events of {self._id!r}")
                if wait
                else await call()
            )
            yield page
            after = page.events[-1].id if page.events else request.after
            if after >= page.last_event and (page.closed or not wait):
                return
            request = msgspec.structs.replace(request, after=after, run_id=page.run_id)

    async def _reject_by_status(
        self, condition: QueryRejectCondition | None, rpc_timeout: timedelta | None
    ) -> None:
        if condition in (None, QueryRejectCondition.NONE):
            return
        status = (await self.describe(rpc_timeout=rpc_timeout)).status
        clean = condition is QueryRejectCondition.NOT_COMPLETED_CLEANLY and (
            status is WorkflowExecutionStatus.COMPLETED
        )
        if not status.is_open and not clean:
            raise WorkflowQueryRejectedError(status)

    def _target(self, *, started: bool = False) -> Target:
        run_id = self._run_id or (self._first_execution_run_id if started else None)
        return self._client.target(self._id, run_id)
