"""The client: where everything that is not inside a workflow begins."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, Self, TypedDict

from perdure.client._activity_calls import ActivityCalls
from perdure.client._activity_handle import ActivityHandle
from perdure.client._connection import DEFAULT_ADDRESS, RetryConfig, TLSConfig
from perdure.client._executions import ExecutionIterator, WorkflowExecutionCount
from perdure.client._service import Service
from perdure.client._tokens import TokenFile
from perdure.client._types import P, R, S
from perdure.client._workflow_calls import WorkflowCalls
from perdure.client._workflow_handle import WorkflowHandle
from perdure.converter import DataConverter


class ClientConfig(TypedDict):
    """What :meth:`Client.config` returns: ``Client(**config)`` makes another like it."""

    service: Service
    namespace: str
    data_converter: DataConverter
    identity: str


class Client(WorkflowCalls, ActivityCalls):
    """A namespace of a server, seen from outside of workflows.

    Make one with :meth:`connect` and keep it; it may be used by many tasks at once.
    """

    def __init__(
        self,
        service: Service,
        *,
        namespace: str = "default",
        data_converter: DataConverter = DataConverter.default,
        identity: str | None = None,
    ) -> None:
        super().__init__(
            service,
            namespace=namespace,
            data_converter=data_converter,
            identity=identity or f"{os.getpid()}@{socket.gethostname()}",
        )

    @staticmethod
    async def connect(  # noqa: PLR0913 - Temporal's parameters, by keyword
        target_host: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "default",
        api_key: str | TokenFile | None = None,
        data_converter: DataConverter = DataConverter.default,
        identity: str | None = None,
        tls: bool | TLSConfig | ssl.SSLContext = False,
        retry_config: RetryConfig | None = None,
        rpc_metadata: Mapping[str, str] | None = None,
        lazy: bool = False,
    ) -> Client:
        """Return a client of the server at ``target_host``.

        Args:
            target_host: ``host:port``, or a URL.
            namespace: where to start and look.
            api_key: a bearer token, e.g. of a ServiceAccount; as a :class:`TokenFile` it is
                read anew for every call.
            data_converter: the same that the workers have.
            identity: who is asking, for people; process and host by default.
            tls: True, or how.
            retry_config: how long calls are tried again.
            rpc_metadata: HTTP headers for every call.
            lazy: do not look whether a server is there.

        Raises:
            RPCError: no server is there.
        """
        service = Service(
            target_host, api_key=api_key, tls=tls, headers=rpc_metadata, retry_config=retry_config
        )
        if not lazy:
            try:
                await service.probe()
            except BaseException:
                await service.close()
                raise
        return Client(
            service, namespace=namespace, data_converter=data_converter, identity=identity
        )

    def config(self) -> ClientConfig:
        """Return what this client was made with, to make another like it."""
        return ClientConfig(
            service=self.service,
            namespace=self.namespace,
            data_converter=self.data_converter,
            identity=self.identity,
        )

    async def close(self) -> None:
        """Close the connections. Optional; a later call opens new ones."""
        await self.service.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def get_workflow_handle(
        self,
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: Any = None,
    ) -> WorkflowHandle[Any, Any]:
        """Return a handle of a workflow that is there already. Nothing is asked yet.

        Args:
            workflow_id: which.
            run_id: which of its runs; the newest by default.
            first_execution_run_id: the only run that may be cancelled or terminated.
            result_type: what the result is decoded as.
        """
        return WorkflowHandle(
            self,
            workflow_id,
            run_id=run_id,
            result_run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    def get_workflow_handle_for(
        self,
        workflow: Callable[Concatenate[S, P], Awaitable[R]],
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> WorkflowHandle[S, R]:
        """Return a typed handle of a workflow that is there already.

        As :meth:`get_workflow_handle`, with the types of ``workflow``, its run method.
        """
        from perdure.workflow import _definition

        _, _, declared = _definition.workflow_name_and_types(workflow)
        return self.get_workflow_handle(
            workflow_id,
            run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=declared,
        )

    def get_activity_handle(
        self, activity_id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> ActivityHandle[Any]:
        """Return a handle of a standalone activity that is there already."""
        return ActivityHandle(self, activity_id, run_id=run_id, result_type=result_type)

    def list_workflows(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        page_size: int = 1000,
        rpc_timeout: timedelta | None = None,
    ) -> ExecutionIterator:
        """Return workflows, newest first, as an async iterator.

        Args:
            query: e.g. ``WorkflowType='Order' AND ExecutionStatus='Running'``; all by default.
            limit: how many at most.
            page_size: how many are fetched at a time.
            rpc_timeout: for one call.
        """
        return ExecutionIterator(
            self, query, kind="workflow", page_size=page_size, limit=limit, rpc_timeout=rpc_timeout
        )

    def list_activities(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        page_size: int = 1000,
        rpc_timeout: timedelta | None = None,
    ) -> ExecutionIterator:
        """Return standalone activities; see :meth:`list_workflows`."""
        return ExecutionIterator(
            self, query, kind="activity", page_size=page_size, limit=limit, rpc_timeout=rpc_timeout
        )

    async def count_workflows(
        self, query: str | None = None, *, rpc_timeout: timedelta | None = None
    ) -> WorkflowExecutionCount:
        """Return how many workflows there are; see :meth:`list_workflows`."""
        found = self.list_workflows(query, rpc_timeout=rpc_timeout)
        return WorkflowExecutionCount(await found.count())

    async def count_activities(
        self, query: str | None = None, *, rpc_timeout: timedelta | None = None
    ) -> WorkflowExecutionCount:
        """Return how many standalone activities there are; see :meth:`list_workflows`."""
        found = self.list_activities(query, rpc_timeout=rpc_timeout)
        return WorkflowExecutionCount(await found.count())
