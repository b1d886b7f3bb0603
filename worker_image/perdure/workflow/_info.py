"""What a run knows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from perdure.common import RetryPolicy
from perdure.protocol.payloads import Payload
from perdure.workflow._runtime import current


@dataclass(frozen=True)
class Info:
    """Facts of the running workflow, as :func:`perdure.workflow.info` gives them."""

    attempt: int
    """Of the run under its retry policy, from 1."""
    execution_timeout: timedelta | None
    headers: Mapping[str, Payload]
    namespace: str
    raw_memo: Mapping[str, Payload]
    retry_policy: RetryPolicy | None
    run_id: str
    run_timeout: timedelta | None
    start_time: datetime
    """When the run was started."""
    task_queue: str
    task_timeout: timedelta
    workflow_id: str
    workflow_start_time: datetime
    """The same as ``start_time``."""
    workflow_type: str

    def get_current_history_length(self) -> int:
        """Return how many events the run has been told of, so far."""
        return current().history_length()
