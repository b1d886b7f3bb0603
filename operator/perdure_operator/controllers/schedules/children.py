"""The Workflows of a Schedule: what each is called, made from, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perdure_operator.cluster import WORKFLOWS, Manifest, ObjectRef
from perdure_operator.model import Backfill, Schedule, Trigger, WorkflowPhase

SCHEDULE_LABEL = "perdure.dev/schedule"
"""On every Workflow of a Schedule: the Schedule's name."""

TIME_ANNOTATION = "perdure.dev/scheduled-time"
"""On every Workflow of a Schedule: the time it is for."""

FAILURES = frozenset({WorkflowPhase.FAILED, WorkflowPhase.TIMED_OUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A Workflow that is to be there, once."""

    name: str
    """It follows from the Schedule and the time, so that a second one collides."""
    time: datetime
    """The time it is for."""
    request: str | None = None
    """The trigger or backfill that it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A Workflow of the Schedule, as it is."""

    ref: ObjectRef
    uid: str
    phase: WorkflowPhase | None
    workflow_id: str
    run_id: str
    """Empty while its run is not known to have started."""
    ended: datetime | None
    is_being_deleted: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.ref.name

    @property
    def is_over(self) -> bool:
        """Whether its run has ended."""
        return self.phase is not None and self.phase.is_final


def start_of_time(schedule: Schedule, time: datetime) -> Start:
    """Return the Workflow for a time of the Schedule."""
    return Start(name=f"{schedule.metadata.name}-{_unix(time)}", time=time)


def start_of_trigger(schedule: Schedule, trigger: Trigger, now: datetime) -> Start:
    """Return the Workflow for a trigger."""
    name = f"{schedule.metadata.name}-trigger-{trigger.id}"
    return Start(name=name, time=now.replace(microsecond=0), request=trigger.id)


def start_of_backfill(schedule: Schedule, backfill: Backfill, time: datetime) -> Start:
    """Return the Workflow for a time of a backfill."""
    name = f"{schedule.metadata.name}-backfill-{backfill.id}-{_unix(time)}"
    return Start(name=name, time=time, request=backfill.id)


def build_workflow(schedule: Schedule, start: Start) -> Manifest:
    """Return the Workflow as it is to be made; it goes when the Schedule goes."""
    metadata, template = schedule.metadata, schedule.spec.workflow_template
    stamp = start.time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "metadata": {
            "name": start.name,
            "namespace": metadata.namespace,
            "labels": {**template.metadata.labels, SCHEDULE_LABEL: metadata.name},
            "annotations": {**template.metadata.annotations, TIME_ANNOTATION: stamp},
            "ownerReferences": [
                {
                    "apiVersion": schedule.api_version,
                    "kind": schedule.kind,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                }
            ],
        },
        "spec": template.spec.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
    }


def is_owned(body: Manifest, schedule: Schedule) -> bool:
    """Tell whether a Workflow belongs to this very Schedule, and not to one before it."""
    owners = body["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == schedule.metadata.uid for owner in owners)


def read_child(body: Manifest) -> Child:
    """Return what matters of a Workflow, however old or new its schema is."""
    metadata, status = body["metadata"], body.get("status", {})
    return Child(
        ref=ObjectRef(namespace=metadata["namespace"], name=metadata["name"]),
        uid=metadata["uid"],
        phase=_phase(status),
        workflow_id=body.get("spec", {}).get("workflowId") or metadata["name"],
        run_id=status.get("runId") or "",
        ended=_time(status.get("completionTime")),
        is_being_deleted="deletionTimestamp" in metadata,
    )


def _phase(status: Mapping[str, Any]) -> WorkflowPhase | None:
    try:
        return WorkflowPhase(status.get("phase", ""))
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _unix(time: datetime) -> int:
    return int(time.timestamp())
