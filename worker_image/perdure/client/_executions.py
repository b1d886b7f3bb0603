"""What the server says about runs: listed, described, their histories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Self

import msgspec

from perdure.client._base import ClientBase
from perdure.client._filters import parse_filter
from perdure.common import from_instant
from perdure.protocol.events import HistoryEvent
from perdure.protocol.verbs import ListRequest, RunDescription, RunStatus, RunSummary

_PAGE = 1000


class WorkflowExecutionStatus(IntEnum):
    """Where a run is."""

    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    TIMED_OUT = 7
    SUSPENDED = 8
    """Open, and held by somebody; not in Temporal's API under this name."""

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.SUSPENDED)

    @classmethod
    def of(cls, status: RunStatus) -> WorkflowExecutionStatus:
        """Return the status that the server calls ``status``."""
        return cls[status.name]


@dataclass(frozen=True, kw_only=True)
class WorkflowExecution:
    """One run, as lists show it."""

    id: str
    """The workflow id."""
    run_id: str
    workflow_type: str
    namespace: str
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime
    close_time: datetime | None
    """None while it is open."""
    history_length: int
    """In events."""
    current_step: str
    """What it waits for, in a word."""
    raw: RunSummary = field(repr=False)
    """As the server put it."""

    @classmethod
    def from_raw(cls, raw: RunSummary, **more: Any) -> Self:
        """Read what the server said."""
        return cls(
            id=raw.workflow_id,
            run_id=raw.run_id,
            workflow_type=raw.workflow_type,
            namespace=raw.namespace,
            task_queue=raw.task_queue,
            status=WorkflowExecutionStatus.of(raw.status),
            start_time=from_instant(raw.started),
            close_time=from_instant(raw.closed),
            history_length=raw.events,
            current_step=raw.current_step,
            raw=raw,
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class WorkflowExecutionDescription(WorkflowExecution):
    """One run, with all that the server knows of it short of its history."""

    raw_description: RunDescription = field(repr=False)
    """Has the pending activities, the failing task, the digest and more."""
    client: ClientBase = field(repr=False)

    async def memo(self) -> Mapping[str, Any]:
        """Return the values given at the start, decoded without hints."""
        return {key: await self.memo_value(key) for key in self.raw_description.memo}

    async def memo_value(self, key: str, default: Any = None, *, type_hint: Any = None) -> Any:
        """Return one of the values given at the start."""
        payload = self.raw_description.memo.get(key)
        if payload is None:
            return default
        return await self.client.decode(payload, type_hint, f"memo {key!r}")


@dataclass(frozen=True)
class WorkflowExecutionCount:
    """How many runs there are."""

    count: int


@dataclass(frozen=True)
class WorkflowHistory:
    """A run's whole history."""

    workflow_id: str
    events: Sequence[HistoryEvent]
    run_id: str = ""
    workflow_type: str = ""

    def to_json(self) -> str:
        """Return it as text that :meth:`from_json` reads."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_json(workflow_id: str, history: str | bytes | Mapping[str, Any]) -> WorkflowHistory:
        """Read what :meth:`to_json` wrote; ``workflow_id`` is what it is called from now on."""
        if isinstance(history, (str, bytes)):
            read = msgspec.json.decode(history, type=WorkflowHistory)
        else:
            read = msgspec.convert(history, WorkflowHistory)
        return WorkflowHistory(workflow_id, read.events, read.run_id, read.workflow_type)


class ExecutionIterator(AsyncIterator[WorkflowExecution]):
    """The runs of a list, fetched page by page as they are asked for."""

    def __init__(
        self,
        client: ClientBase,
        query: str | None,
        *,
        kind: str,
        page_size: int = _PAGE,
        limit: int | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        self._client = client
        self._request = ListRequest(
            namespace=client.namespace, kind=kind, limit=page_size, **parse_filter(query)
        )
        self._left = limit
        self._rpc_timeout = rpc_timeout
        self._page: list[RunSummary] = []
        self._is_last = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WorkflowExecution:
        if self._left == 0:
            raise StopAsyncIteration
        while not self._page:
            if self._is_last:
                raise StopAsyncIteration
            await self._fetch()
        if self._left is not None:
            self._left -= 1
        return WorkflowExecution.from_raw(self._page.pop())

    async def count(self) -> int:
        """Return how many are left, without making values of them."""
        total = len(self._page)
        while not self._is_last:
            await self._fetch()
            total = total + len(self._page)
        self._page.clear()
        return total

    async def _fetch(self) -> None:
        answer = await self._client.service.call(self._request, timeout=self._rpc_timeout)
        self._page = list(reversed(answer.runs))
        self._is_last = not answer.next_page
        self._request = msgspec.structs.replace(self._request, page=answer.next_page)
