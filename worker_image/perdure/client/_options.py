"""What may be given when something is started, by keyword."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Required, TypedDict

from perdure.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    Pod,
    RetryPolicy,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)


class StartWorkflowOptions(TypedDict, total=False):
    """Of :meth:`perdure.client.Client.start_workflow`; ``id`` and ``task_queue`` are required."""

    id: Required[str]
    """Names the run; best what it is about, e.g. ``order-42``."""
    task_queue: Required[str]
    """Where its workers are."""
    execution_timeout: timedelta | None
    """For the run and those that follow it."""
    run_timeout: timedelta | None
    """For the run alone."""
    task_timeout: timedelta | None
    """For one workflow task; 10 s by default."""
    id_reuse_policy: WorkflowIDReusePolicy
    """When the last run of this id is closed; it may be started again by default."""
    id_conflict_policy: WorkflowIDConflictPolicy
    """When a run of this id is open; an error by default."""
    retry_policy: RetryPolicy | None
    """For the run as a whole; by default a failed run stays failed."""
    memo: Mapping[str, Any] | None
    """Values to see beside the run."""
    start_signal: str | Callable[..., Any] | None
    """Sent with the start, in one go; to a run that is there already, too."""
    start_signal_args: Sequence[Any]
    request_id: str
    """Two starts with the same id are one; by default each call is a start of its own."""
    rpc_timeout: timedelta | None


class StartActivityOptions(TypedDict, total=False):
    """Of :meth:`perdure.client.Client.start_activity`; ``id`` and ``task_queue`` are required.

    One of ``start_to_close_timeout`` and ``schedule_to_close_timeout`` must be given.
    """

    id: Required[str]
    task_queue: Required[str]
    schedule_to_close_timeout: timedelta | None
    """For all attempts together."""
    schedule_to_start_timeout: timedelta | None
    """For waiting for a worker."""
    start_to_close_timeout: timedelta | None
    """For one attempt."""
    heartbeat_timeout: timedelta | None
    """The longest silence of an attempt."""
    id_reuse_policy: ActivityIDReusePolicy
    id_conflict_policy: ActivityIDConflictPolicy
    retry_policy: RetryPolicy | None
    pod: Pod | None
    """Run it in a pod of its own, made for it; needs an operator."""
    memo: Mapping[str, Any] | None
    request_id: str
    """Two starts with the same id are one; by default each call is a start of its own."""
    rpc_timeout: timedelta | None
