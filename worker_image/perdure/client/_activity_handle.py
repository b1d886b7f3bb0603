"""A handle of a standalone activity."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Generic, TypeVar

from perdure.client._base import ClientBase, Target
from perdure.client._errors import ActivityFailureError
from perdure.client._executions import WorkflowExecutionDescription
from perdure.client._results import result_or_failure, wait_for_end
from perdure.protocol import verbs

ReturnType = TypeVar("ReturnType")


class ActivityHandle(Generic[ReturnType]):
    """An activity that a client started on its own."""

    def __init__(
        self,
        client: ClientBase,
        id: str,  # noqa: A002 - Temporal's name
        *,
        run_id: str | None = None,
        result_type: Any = None,
    ) -> None:
        self._client = client
        self._id = id
        self._run_id = run_id
        self._result_type = result_type

    @property
    def id(self) -> str:
        """The activity's id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """Which run of the id; None means the newest."""
        return self._run_id

    async def result(self, *, rpc_timeout: timedelta | None = None) -> ReturnType:
        """Wait for the activity's end, however long, and return what it returned.

        Args:
            rpc_timeout: for one poll of the server.

        Raises:
            ActivityFailureError: it ended in another way; ``cause`` says how.
            RPCError: there is no such activity, or no server ever answered.
        """
        answer = await wait_for_end(self._client, self._id, self._run_id or "", rpc_timeout)
        result, failure = await result_or_failure(
            self._client, answer, self._result_type, "Activity"
        )
        if failure is not None:
            raise ActivityFailureError(cause=failure)
        return result  # type: ignore[no-any-return]  # decoded as the type that the handle has

    async def cancel(self, *, reason: str = "", rpc_timeout: timedelta | None = None) -> None:
        """Ask the activity to stop; it learns of that when it heartbeats."""
        request = verbs.CancelRequest(
            **self._target(), reason=reason, identity=self._client.identity
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    async def terminate(
        self, *, reason: str | None = None, rpc_timeout: timedelta | None = None
    ) -> None:
        """End the activity from outside."""
        request = verbs.TerminateRequest(
            **self._target(), reason=reason or "", identity=self._client.identity
        )
        await self._client.service.call(request, timeout=rpc_timeout)

    async def describe(
        self, *, rpc_timeout: timedelta | None = None
    ) -> WorkflowExecutionDescription:
        """Return all that the server knows of it; its type stands in ``workflow_type``."""
        request = verbs.DescribeRequest(**self._target())
        raw = await self._client.service.call(request, timeout=rpc_timeout)
        return WorkflowExecutionDescription.from_raw(raw, raw_description=raw, client=self._client)

    def _target(self) -> Target:
        return self._client.target(self._id, self._run_id)
