"""Sizes that are refused, wherever they come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.protocol.commands import (
    CancelWorkflow,
    CompleteWorkflow,
    FailWorkflow,
    ScheduleActivity,
    ScheduleBatch,
)
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.items import MAX_ITEMS
from perdure.protocol.messages import TaskProgress
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, Payloads

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a client's request."""
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Of a frame of the worker stream: a whole history may travel in one."""
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Of the inputs of one batch together: they are one event of a history."""
MAX_ID_LENGTH = 1_000


def oversize(payloads: Iterable[Payload | None], what: str) -> str:
    """Return a message about the first payload that is too large, or nothing."""
    for number, payload in enumerate(payloads, 1):
        if payload is not None and payload.size > MAX_PAYLOAD_BYTES:
            return (
                f"{what}: value {number} takes {payload.size:,} bytes, the limit is "
                f"{MAX_PAYLOAD_BYTES:,}. Keep large data in object storage and pass a reference."
            )
    return ""


def oversize_items(items: Sequence[Payloads], what: str) -> str:
    """Return a message about a batch that is too large, or has no items, or nothing."""
    if not items:
        return f"{what}: it has no items; leave out a batch of nothing."
    if len(items) > MAX_ITEMS:
        return f"{what}: {len(items):,} items, at most {MAX_ITEMS:,} may be. Make several batches."
    for index, payloads in enumerate(items):
        message = oversize(payloads, f"{what}, item {index}")
        if message:
            return message
    size = sum(payload.size for payloads in items for payload in payloads)
    if size > MAX_BATCH_BYTES:
        return (
            f"{what}: its items take {size:,} bytes together, the limit is {MAX_BATCH_BYTES:,}. "
            "Make several batches, or keep large data in object storage and pass references."
        )
    return ""


def too_large(message: str) -> Failure:
    """Return the failure of something that will be as large the next time."""
    return Failure(
        message=message, info=ApplicationInfo(type="PayloadTooLarge", non_retryable=True)
    )


def oversize_command(report: TaskProgress) -> Failure | None:
    """Return why a report cannot be recorded, if one of its payloads is too large."""
    message = oversize((step.result for step in report.steps), "a step's result")
    for command in report.commands:
        match command:
            case ScheduleActivity(activity_type=name, input=payloads):
                message = message or oversize(payloads, f"input of activity {name!r}")
            case ScheduleBatch(activity_type=name, items=items):
                message = message or oversize_items(items, f"batch of {name!r}")
            case CompleteWorkflow(result=result):
                message = message or oversize((result,), "the workflow's result")
            case FailWorkflow(failure=Failure(info=ApplicationInfo(details=details))):
                message = message or oversize(details, "details of the workflow's failure")
            case CancelWorkflow(details=details):
                message = message or oversize(details, "details of the cancellation")
    return too_large(message) if message else None
