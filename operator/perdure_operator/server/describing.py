"""Runs as clients see them."""

from __future__ import annotations

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.failures import CanceledInfo, Failure, TerminatedInfo, TimeoutInfo
from perdure.protocol.items import indexes_text, is_item
from perdure.protocol.payloads import Millis, Payload
from perdure.protocol.verbs import (
    DescribeRequest,
    PendingActivity,
    PendingBatch,
    ResultResponse,
    RunChange,
    RunDescription,
    RunSummary,
)
from perdure_operator.engine import placing
from perdure_operator.engine.batches import OpenBatch
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import OpenActivity, RunRow
from perdure_operator.server.keeping import HotRun
from perdure_operator.store.port import Store

TOLD_BYTES = 1024 * 1024
"""Of a long history of large events (batches have them), about so much is told with a description,
and at least the last :data:`FEWEST_EVENTS`."""

FEWEST_EVENTS = 3


def result(row: RunRow | RunSummary, closing: ev.Event) -> ResultResponse:
    """Return how a closed run ended."""
    failure: Failure | None = None
    value: Payload | None = None
    match closing:
        case ev.WorkflowCompleted(result=value):
            pass
        case ev.WorkflowFailed(failure=failure):
            pass
        case ev.WorkflowCanceled(details=details):
            failure = Failure(message="cancelled", info=CanceledInfo(details=details))
        case ev.WorkflowTerminated(reason=reason):
            failure = Failure(message=reason or "terminated", info=TerminatedInfo())
        case ev.WorkflowTimedOut():
            failure = Failure(message="the run's timeout passed", info=TimeoutInfo())
        case _:
            raise AssertionError(f"{ev.event_name(closing)} closes no run")
    return ResultResponse(run_id=row.run_id, status=row.status, result=value, failure=failure)


def summary(row: RunRow) -> RunSummary:
    """Return a run's line in a list."""
    return RunSummary(
        namespace=row.namespace,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        workflow_type=row.workflow_type,
        task_queue=row.task_queue,
        kind=row.kind,
        status=row.status,
        started=row.started,
        closed=row.closed,
        events=row.last_event,
        current_step=row.current_step,
    )


def change(row: RunRow) -> RunChange:
    """Return what ``watch`` tells of a run."""
    return RunChange(
        namespace=row.namespace,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        kind=row.kind,
        status=row.status,
        events=row.last_event,
    )


def description(hot: HotRun, now: Millis, *, has_operator: bool = True) -> RunDescription:
    """Return all that is known of a run short of its history.

    Args:
        hot: The run.
        now: The time.
        has_operator: See :class:`perdure_operator.server.host.HostSettings`.
    """
    run = hot.run
    recorded = run.task_failure
    cause, failure = hot.failure_cause, hot.failure
    if failure is None and recorded is not None:
        cause, failure = recorded.cause, recorded.failure
    return RunDescription(
        namespace=run.ref.namespace,
        workflow_id=run.ref.workflow_id,
        run_id=run.ref.run_id,
        workflow_type=run.start.workflow_type,
        task_queue=run.start.task_queue,
        kind=run.start.kind,
        status=run.status,
        started=run.started_at,
        closed=run.closed_at,
        events=run.last_event,
        current_step=run.current_step,
        history_bytes=run.history_bytes,
        digest=run.digest.hex(),
        memo=run.start.memo,
        pending_activities=tuple(
            _pending(run, activity, now, has_operator=has_operator)
            for seq, activity in sorted(run.activities.items())
            if not is_item(seq)
        ),
        pending_batches=tuple(_pending_batch(run, batch) for batch in run.batches.values()),
        task_attempt=max(hot.failures, 1 if failure else 0) + 1,
        task_failure_cause=cause,
        task_failure=failure,
        cancel_requested=run.cancel_requested,
        watched=run.watched,
        build_id=run.build_id,
        retried=run.start.retried,
    )


def told_after(described: RunDescription, request: DescribeRequest) -> int:
    """Return the event behind which the history is told that a request asks for."""
    if described.history_bytes <= request.whole_history:
        return 0
    fitting = TOLD_BYTES * described.events // described.history_bytes
    told = min(request.last_events, max(FEWEST_EVENTS, fitting))
    return max(0, described.events - told)


async def with_history(
    described: RunDescription, request: DescribeRequest, store: Store
) -> RunDescription:
    """Return what is known of a run with its history and how it ended, as far as that was asked."""
    if not (request.whole_history or request.last_events):
        return described
    events = await store.read_history(described.run_id, after=told_after(described, request))
    # What was recorded since the run was described belongs to the next look.
    told = tuple(event for event in events if event.id <= described.events)
    is_over = not described.status.is_open and bool(told)
    return structs.replace(
        described,
        history=told,
        outcome=result(described, told[-1].event) if is_over else None,
    )


def _pending(
    run: Run, activity: OpenActivity, now: Millis, *, has_operator: bool
) -> PendingActivity:
    scheduled = run.scheduled[activity.seq]
    if activity.cancel_requested:
        state = "CancelRequested"
    elif activity.is_started:
        state = "Started"
    else:
        state = "BackingOff" if activity.visible > now else "Scheduled"
    return PendingActivity(
        seq=activity.seq,
        activity_id=scheduled.activity_id,
        activity_type=scheduled.activity_type,
        state=state,
        attempt=activity.attempt if activity.is_started else activity.attempt + 1,
        scheduled=activity.scheduled,
        started=activity.started,
        next_attempt=None if activity.is_started else activity.visible,
        last_failure=activity.last_failure,
        heartbeat_details=activity.heartbeat_details,
        identity=activity.identity,
        task_queue=scheduled.task_queue,
        placement=scheduled.placement,
        own_queue=placing.own_queue(run.ref.run_id, scheduled) if has_operator else "",
        waits_for=_what_it_waits_for(run, scheduled, has_operator) if state == "Scheduled" else "",
    )


def _what_it_waits_for(run: Run, scheduled: ev.ActivityScheduled, has_operator: bool) -> str:
    if run.is_suspended:
        return ""
    if placing.is_container(scheduled):
        if has_operator:
            return "the operator, which runs its container as a Job"
        return "an operator to run its container; this server has none: run it in a cluster"
    if scheduled.placement is not None and has_operator:
        return "a worker in a pod of its own, which the operator makes"
    return ""


def _pending_batch(run: Run, batch: OpenBatch) -> PendingBatch:
    whole = batch.scheduled
    items = [run.activities[key] for key in batch.open_keys]
    failed = max(
        (each for each in items if each.last_failure), key=lambda a: a.visible, default=None
    )
    return PendingBatch(
        seq=whole.seq,
        activity_id=whole.activity_id,
        activity_type=whole.activity_type,
        total=batch.total,
        succeeded=batch.succeeded,
        failed=batch.failed,
        failed_indexes=indexes_text(batch.failed_indexes),
        running=sum(each.is_started for each in items),
        scheduled=batch.since,
        summary=whole.summary,
        last_failure=failed.last_failure if failed is not None else batch.last_failure,
    )


def format_page(row: RunRow) -> str:
    """Return where the page after ``row`` begins."""
    return f"{row.started}/{row.run_id}"


def parse_page(page: str) -> tuple[Millis, str] | None:
    """Read what :func:`format_page` wrote.

    Raises:
        ValueError: it did not write this.
    """
    if not page:
        return None
    started, slash, run_id = page.partition("/")
    if not slash or not started.isdigit() or not run_id:
        raise ValueError(f"{page!r} is no page: give `next_page` of the response before")
    return int(started), run_id
