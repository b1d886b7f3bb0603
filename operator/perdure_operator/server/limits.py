"""Sizes that are refused, wherever they come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

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
from perdure.protocol.placements import MAX_CONTAINER_INPUT_BYTES, Placement
from perdure.protocol.verbs import StartRequest

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a client's request."""
MAX_TOKEN_BODY_BYTES = 4 * 1024 * 1024
"""Of a request of somebody who is known by what the body says: one payload and some words."""
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Of a frame of the worker stream: a whole history may travel in one."""
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Of the inputs of one batch together: they are one event of a history."""
MAX_ID_LENGTH = 1_000
MAX_TEMPLATE_BYTES = 64 * 1024
"""Of what a pod of an activity's own is made from, as JSON."""


def oversize(payloads: Iterable[Payload | None], what: str) -> str:
    """Return a message about the first payload that is too large, or nothing."""
    for number, payload in enumerate(payloads, 1):
        if payload is not None and payload.size > MAX_PAYLOAD_BYTES:
            return (
                f"{what}: value {number} takes {payload.size:,} bytes, the limit is "
                f"{MAX_PAYLOAD_BYTES:,}. Keep large data in object storage and pass a reference."
            )
    return ""


def needs_queue(request: StartRequest) -> tuple[str, ...]:
    """Return the field that must name a task queue; nothing for what no worker runs."""
    placement = request.activity.placement if request.activity else None
    return () if placement is not None and placement.container else ("task_queue",)


def placement_fault(placement: Placement | None, input_: Iterable[Payload], name: str) -> str:
    """Return why an activity cannot have such a pod, or nothing."""
    if placement is None:
        return ""
    size = len(msgspec.json.encode(placement.template))
    if size > MAX_TEMPLATE_BYTES:
        return (
            f"the pod of activity {name!r} takes {size:,} bytes to describe, the limit is "
            f"{MAX_TEMPLATE_BYTES:,}. Keep what is large in a ConfigMap or a volume."
        )
    return _container_fault(placement, input_, name) if placement.container else ""


def _container_fault(placement: Placement, input_: Iterable[Payload], name: str) -> str:
    if not placement.template.get("image"):
        return f"activity {name!r} is a container without an image: give template.image"
    size = sum(len(each.data) for each in input_)
    if size > MAX_CONTAINER_INPUT_BYTES:
        return (
            f"input of activity {name!r} takes {size:,} bytes in all, a container gets "
            f"{MAX_CONTAINER_INPUT_BYTES:,} at most. Keep large data in object storage and pass a "
            "reference."
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
            case ScheduleActivity(activity_type=name, input=payloads, placement=placement):
                message = message or oversize(payloads, f"input of activity {name!r}")
                message = message or placement_fault(placement, payloads, name)
            case ScheduleBatch(activity_type=name, items=items):
                message = message or oversize_items(items, f"batch of {name!r}")
            case CompleteWorkflow(result=result):
                message = message or oversize((result,), "the workflow's result")
            case FailWorkflow(failure=Failure(info=ApplicationInfo(details=details))):
                message = message or oversize(details, "details of the workflow's failure")
            case CancelWorkflow(details=details):
                message = message or oversize(details, "details of the cancellation")
    return too_large(message) if message else None
