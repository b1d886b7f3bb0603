"""What an Activity's status says of a batch: how many of its items have ended, and how.

The server tells of an open batch in the description of its run; of a closed one its history
tells. Progress is written in steps of a hundredth of the batch, so that the status costs no
more writes for ten thousand items than for a hundred.
"""

from __future__ import annotations

from typing import Any

from perdure.protocol.verbs import PendingBatch
from perdure_operator.controllers.activities.ends import ItemCounts
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


def facts_of_batch(
    spec: ActivitySpec, before: ActivityStatus, run: RunFacts, ended: ItemCounts | None
) -> dict[str, Any]:
    """Return the fields of the status that a batch has; nothing for one activity."""
    if spec.items is None:
        return {}
    if ended is not None:
        return facts_of_ended(len(spec.items), ended)
    batch = open_batch(run)
    return {} if batch is None else facts_of_open(before, batch)


def facts_of_ended(total: int, counts: ItemCounts) -> dict[str, Any]:
    """Return the fields of the status for a batch that is over."""
    fields = _count(total, counts.succeeded, counts.failed, running=0)
    fields["failed_indexes"] = counts.failed_indexes or None
    if counts.last_failure is not None:
        fields["last_failure"] = to_failure(counts.last_failure)
    return fields


def describe_ended(counts: ItemCounts) -> str:
    """Return how a batch has ended that has not failed, for people."""
    if not counts.failed:
        return "every item succeeded"
    return f"{counts.succeeded:,} succeeded, {counts.failed:,} failed"


def facts_of_open(before: ActivityStatus, batch: PendingBatch) -> dict[str, Any]:
    """Return the fields of the status for an open batch; nothing when it says as much already."""
    if _is_shown(before, batch):
        return {}
    fields = _count(batch.total, batch.succeeded, batch.failed, running=batch.running)
    fields["failed_indexes"] = batch.failed_indexes or None
    if batch.last_failure is not None:
        fields["last_failure"] = to_failure(batch.last_failure)
    return fields


def _count(total: int, succeeded: int, failed: int, *, running: int) -> dict[str, Any]:
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
