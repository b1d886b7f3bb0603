"""What :func:`perdure.workflow.info` tells, from the run's first event."""

from __future__ import annotations

from perdure.common import RetryPolicy, from_instant, from_millis
from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.messages import RunRef
from perdure.workflow._info import Info


def build_info(ref: RunRef, recorded: HistoryEvent) -> Info:
    """Return the facts of the run that ``recorded`` began."""
    start = recorded.event
    assert isinstance(start, WorkflowStarted)
    begun = from_instant(recorded.time)
    policy = start.retry_policy
    return Info(
        attempt=start.attempt,
        execution_timeout=from_millis(start.execution_timeout),
        headers=start.headers,
        namespace=ref.namespace,
        raw_memo=start.memo,
        retry_policy=None if policy is None else RetryPolicy.from_protocol(policy),
        run_id=ref.run_id,
        run_timeout=from_millis(start.run_timeout),
        start_time=begun,
        task_queue=start.task_queue,
        task_timeout=from_millis(start.task_timeout),
        workflow_id=ref.workflow_id,
        workflow_start_time=begun,
        workflow_type=start.workflow_type,
    )
