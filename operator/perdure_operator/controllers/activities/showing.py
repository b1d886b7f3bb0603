"""Which activities of a run get an Activity that shows them.

Those that anyone would look for: batches, those with a pod of their own, and those that are open
for long since their first attempt began. Waiting for a worker does not count, so a backlog of ten
thousand runs does not become ten thousand objects.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perdure.protocol.verbs import (
    PendingActivity,
    PendingBatch,
    RunDescription,
    TakeActivityRequest,
)
from perdure_operator.cluster import ACTIVITIES, Manifest
from perdure_operator.controllers.actions import Action, CreateObject, Plan, ShowActivity
from perdure_operator.controllers.placements.names import (
    RUN_LABEL,
    WORKFLOW_LABEL,
    label_value,
    shown_name,
)
from perdure_operator.controllers.pools.templates import MANAGER
from perdure_operator.controllers.steering import IDENTITY
from perdure_operator.controllers.values import to_time
from perdure_operator.model import Workflow

TTL_SECONDS = 86_400
"""How long an Activity stays that showed a batch or an activity with pods, once that is over.

A run may go on for months, and one that code started owns nothing that would take it along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What it depends on which activities of a run are shown."""

    now: datetime
    show_after: timedelta
    shown: Collection[int]
    """Those that have an Activity already, by their seq."""
    owner: Workflow | None = None
    """Whose run it is."""


def plan_showing(run: RunDescription, showing: Showing) -> Plan:
    """Return the Activities that are to be made, and when to look again for others."""
    actions: list[Action] = []
    waits: list[timedelta] = []
    for each in run.pending_activities:
        if each.seq in showing.shown:
            continue
        wait = _time_until_shown(each, showing)
        if wait is None:
            continue
        if wait > timedelta():
            waits.append(wait)
        else:
            actions.append(_show(run, each, showing.owner))
    actions += [
        CreateObject(kind=ACTIVITIES, manifest=build_shown_batch(run, each, showing.owner))
        for each in run.pending_batches
        if each.seq not in showing.shown
    ]
    return Plan(actions=actions, again=min(waits, default=None))


def _show(run: RunDescription, activity: PendingActivity, owner: Workflow | None) -> Action:
    manifest = build_shown(run, activity, owner)
    if not has_own_pod(activity):
        return CreateObject(kind=ACTIVITIES, manifest=manifest)
    take = TakeActivityRequest(
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        seq=activity.seq,
        identity=IDENTITY,
    )
    return ShowActivity(manifest=manifest, take=take)


def has_own_pod(activity: PendingActivity) -> bool:
    """Tell whether an activity's attempts have pods of their own."""
    placement = activity.placement
    return placement is not None and (placement.container or bool(activity.own_queue))


def build_shown(run: RunDescription, activity: PendingActivity, owner: Workflow | None) -> Manifest:
    """Return the Activity that shows an activity of a run."""
    spec: dict[str, Any] = {}
    placement = activity.placement
    if placement is None or not placement.container:
        spec["type"] = activity.activity_type
    if placement is not None and has_own_pod(activity):
        spec["template"] = placement.template
        if placement.worker_pool:
            spec["workerPool"] = placement.worker_pool
    return _build(run, {"seq": activity.seq}, spec, owner)


def build_shown_batch(run: RunDescription, batch: PendingBatch, owner: Workflow | None) -> Manifest:
    """Return the Activity that shows a batch of a run: one, however many items it has."""
    shows = {"seq": batch.seq, "items": batch.total}
    return _build(run, shows, {"type": batch.activity_type}, owner)


def _build(
    run: RunDescription, shows: dict[str, int], spec: dict[str, Any], owner: Workflow | None
) -> Manifest:
    metadata: dict[str, Any] = {
        "name": shown_name(run.workflow_id, run.run_id, shows["seq"]),
        "namespace": run.namespace,
        "labels": _labels(run),
    }
    if owner is not None:
        metadata["ownerReferences"] = [_owned_by(owner)]
    scheduled_by = {"workflowId": run.workflow_id, "runId": run.run_id, **shows}
    return {
        "apiVersion": ACTIVITIES.api_version,
        "kind": ACTIVITIES.kind,
        "metadata": metadata,
        "spec": {"scheduledBy": scheduled_by, "ttlSecondsAfterFinished": TTL_SECONDS, **spec},
    }


def _time_until_shown(activity: PendingActivity, showing: Showing) -> timedelta | None:
    """Return how long an activity is not shown yet; None while nothing is known to begin."""
    if has_own_pod(activity):
        return timedelta()
    # When an earlier attempt began is not told; it was scheduled before, and has been under way.
    began = activity.started if activity.attempt == 1 else activity.scheduled
    return None if began is None else to_time(began) + showing.show_after - showing.now


def _labels(run: RunDescription) -> Mapping[str, str]:
    return {
        "app.kubernetes.io/managed-by": MANAGER,
        WORKFLOW_LABEL: label_value(run.workflow_id),
        RUN_LABEL: label_value(run.run_id),
    }


def _owned_by(workflow: Workflow) -> Manifest:
    return {
        "apiVersion": workflow.api_version,
        "kind": workflow.kind,
        "name": workflow.metadata.name,
        "uid": workflow.metadata.uid,
        "controller": True,
    }
