"""What an attempt knows about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perdure.common import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Info:
    """The running attempt; see :func:`perdure.activity.info`.

    For tests take :meth:`perdure.testing.ActivityEnvironment.default_info` and change fields with
    :func:`dataclasses.replace`: fields may be added.
    """

    activity_id: str
    activity_type: str
    attempt: int
    """From 1."""
    current_attempt_scheduled_time: datetime
    """When this attempt could begin."""
    heartbeat_details: Sequence[Any]
    """What an attempt before this one said last; empty when none did."""
    heartbeat_timeout: timedelta | None
    is_local: bool
    """Whether this is a step, run in the workflow's own worker."""
    namespace: str
    schedule_to_close_timeout: timedelta | None
    scheduled_time: datetime
    start_to_close_timeout: timedelta | None
    started_time: datetime
    task_queue: str
    task_token: bytes
    """Names this attempt and no other."""
    workflow_id: str | None
    """None when a client started the activity on its own, as for the next three."""
    workflow_namespace: str | None
    workflow_run_id: str | None
    workflow_type: str | None
    retry_policy: RetryPolicy | None = None
    """None when the worker was not told; the server may still have one."""
    activity_run_id: str | None = None
    """Of an activity that a client started on its own, else None."""
    item: int | None = None
    """Which item of a batch this is, from 0; None when it is of none."""
    idempotency_key: str = ""
    """The same on every attempt, on any worker, after any restart.

    Give it to whatever the activity calls, so that an effect that was had once and not recorded
    is not had again."""

    @property
    def in_workflow(self) -> bool:
        """Whether a workflow asked for it."""
        return self.workflow_id is not None

    @property
    def log_details(self) -> Mapping[str, Any]:
        """What a line in the log should say about it."""
        item = {} if self.item is None else {"item": self.item}
        return {
            "activity_id": self.activity_id,
            **item,
            "activity_type": self.activity_type,
            "attempt": self.attempt,
            "namespace": self.namespace,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_run_id": self.workflow_run_id,
            "workflow_type": self.workflow_type,
        }


@dataclass(frozen=True, kw_only=True)
class ActivityCancellationDetails:
    """Why an attempt was asked to stop; the first reason stays."""

    not_found: bool = False
    """The server does not know the attempt any more; its result will not be recorded."""
    cancel_requested: bool = False
    """The workflow or a client asked for it."""
    paused: bool = False
    reset: bool = False
    timed_out: bool = False
    """A timeout passed; its result will not be recorded."""
    worker_shutdown: bool = False
    """The worker is leaving; another one tries again."""
