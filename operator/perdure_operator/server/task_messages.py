"""What a worker is told of an attempt that it is given."""

from __future__ import annotations

from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.items import is_item, item_of
from perdure.protocol.messages import AttemptRef
from perdure.protocol.retries import idempotency_key
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import OpenActivity


def activity_task(
    run: Run, scheduled: ev.ActivityScheduled, activity: OpenActivity
) -> msg.ActivityTask:
    """Return the message for the attempt of ``activity`` that runs."""
    assert activity.started is not None
    return msg.ActivityTask(
        attempt=AttemptRef(run.ref.run_id, activity.seq, activity.attempt),
        namespace=run.ref.namespace,
        workflow_id=run.ref.workflow_id,
        workflow_type=run.start.workflow_type,
        activity_id=scheduled.activity_id,
        activity_type=scheduled.activity_type,
        task_queue=scheduled.task_queue,
        input=scheduled.input,
        headers=scheduled.headers,
        scheduled=activity.scheduled,
        started=activity.started,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        heartbeat_details=activity.heartbeat_details,
        standalone=not run.is_workflow,
        idempotency_key=_unusual_key(run, activity.seq),
        item=item_of(activity.seq)[1] if is_item(activity.seq) else None,
    )


def _unusual_key(run: Run, seq: int) -> str:
    """Return the activity's idempotency key, or nothing when the worker makes it itself."""
    keys = run.start.keys
    return idempotency_key(run.ref.run_id, keys, seq) if keys else ""
