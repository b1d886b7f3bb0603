"""Retrying a workflow: what is asked, and what there is then."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from perdure.client._base import ClientBase, Target
from perdure.protocol.retries import Effect, RetryPoint
from perdure.protocol.verbs import RetryRequest

if TYPE_CHECKING:
    from perdure.client._workflow_handle import WorkflowHandle

SelfType = TypeVar("SelfType")
ReturnType = TypeVar("ReturnType")


@dataclass(frozen=True, kw_only=True)
class WorkflowRetry(Generic[SelfType, ReturnType]):
    """A run that was retried."""

    handle: WorkflowHandle[SelfType, ReturnType]
    """The new run."""
    event: int
    """The first event of the earlier run that was taken back."""
    effects: Sequence[Effect]
    """What the earlier run did afterwards; the new one knows nothing of it."""


def retry_request(
    client: ClientBase,
    target: Target,
    point: RetryPoint,
    reason: str | None,
    request_id: str | None,
) -> RetryRequest:
    """Return what the server is asked; sent twice, it is still one retry."""
    return RetryRequest(
        **target,
        point=point,
        request_id=request_id or str(uuid.uuid4()),
        reason=reason or "",
        identity=client.identity,
    )
