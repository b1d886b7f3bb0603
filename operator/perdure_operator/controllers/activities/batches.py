"""What an Activity's status says of a batch: how many of its items have ended, and how.

The server tells of an open batch in the description of its run; of a closed one history's last
events tell. Progress is written in steps of a hundredth of the batch, so that the status costs no
more writes for ten thousand items than for a hundred.
"""

from __future__ import annotations

from typing import Any

from perdure.protocol.events import BATCH_ENDS
from perdure.protocol.verbs import PendingBatch
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.values import to_failure, to_payloads
from perdure_operator.model import ActivitySpec, ActivityStatus

STEPS = 100
"""How often, at most, progress is written while the batch is open."""


def to_batch_options(spec: ActivitySpec) -> dict[str, Any]:
    """Return what the options of a start say of the items; nothing for one activity."""
    if spec.items is None:
        return {}
    return {
        "items": tuple(to_payloads(arguments) for arguments in spec.items),
        "parallelism": spec.parallelism or 0,
        "tolerated_failures": spec.tolerated_failures or 0,
    }


def open_batch(run: RunFacts) -> PendingBatch | None:
    """Return the batch that the run waits for, if there is one."""
    return next(iter(run.description.pending_batches), None)


def has_begun(batch: PendingBatch) -> bool:
    """Whether workers have had items of it."""
    return bool(batch.running or batch.succeeded or batch.failed)


def facts_of_batch(spec: ActivitySpec, before: ActivityStatus, run: RunFacts) -> dict[str, Any]:
    """Return the fields of the status that a batch has; nothing for one activity."""
    if spec.items is None:
        return {}
    total = len(spec.items)
    end = next((e.event for e in reversed(run.events) if isinstance(e.event, BATCH_ENDS)), None)
    if end is not None:
        return counts_of_batch(total, end.succeeded, end.failed, running=0)
    batch = open_batch(run)
    return {} if batch is None else facts_of_open(before, batch)


def facts_of_open(before: ActivityStatus, batch: PendingBatch) -> dict[str, Any]:
    """Return the fields of the status for an open batch; nothing when it says as much already."""
    if _is_shown(before, batch):
        return {}
    fields = counts_of_batch(batch.total, batch.succeeded, batch.failed, running=batch.running)
    if batch.last_failure is not None:
        fields["last_failure"] = to_failure(batch.last_failure)
    return fields


def counts_of_batch(total: int, succeeded: int, failed: int, *, running: int) -> dict[str, Any]:
    """Return the fields that count its items."""
    return {
        "items_total": total,
        "items_succeeded": succeeded,
        "items_failed": failed,
        "items_running": running,
        "progress": f"{succeeded + failed}/{total}",
    }


def _is_shown(before: ActivityStatus, batch: PendingBatch) -> bool:
    """Whether the status says nearly as much already."""
    if before.items_total is None or not before.items_running:
        return False
    shown = (before.items_succeeded or 0) + (before.items_failed or 0)
    step = max(1, batch.total // STEPS)
    return (batch.succeeded + batch.failed) // step == shown // step
