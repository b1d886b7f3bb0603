"""What a client starts on its own, without a workflow: an activity, or a batch of items.

It is a run like any other whose history has this one thing, and that ends with it
(docs/decisions/0011-standalone-activity-is-a-run.md).
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.protocol import events as ev
from perdure.protocol.verbs import StartRequest
from perdure_operator.engine.errors import RefusedError

ONLY_SEQ = 1
"""The number of a standalone activity in its own history."""


def scheduled(request: StartRequest) -> ev.ActivityScheduled | ev.BatchScheduled:
    """Return the one thing that the run of a standalone activity, or batch, consists of.

    Raises:
        RefusedError: the request does not say what.
    """
    if request.activity is None:
        raise RefusedError("a standalone activity needs its options (field `activity`)")
    fields: dict[str, Any] = {
        "seq": ONLY_SEQ,
        "activity_id": request.workflow_id,
        "activity_type": request.workflow_type,
        "task_queue": request.task_queue,
        "headers": request.headers,
        **msgspec.structs.asdict(request.activity),
    }
    if request.activity.items:
        if request.input:
            raise RefusedError("a batch has `activity.items` and no input besides them")
        if fields.pop("placement") is not None:
            raise RefusedError("items of a batch have no pods of their own: leave placement out")
        return ev.BatchScheduled(**fields)
    for name in ("items", "parallelism", "tolerated_failures"):
        del fields[name]
    return ev.ActivityScheduled(input=request.input, **fields)
