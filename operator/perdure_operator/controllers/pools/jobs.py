"""Worker Jobs as the planner sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from perdure.protocol.queues import WorkerDescription
from perdure_operator.cluster import JOBS, Manifest, ObjectRef
from perdure_operator.controllers.actions import DeleteObject
from perdure_operator.controllers.notices import Notice
from perdure_operator.controllers.pools.access import Access, read_access
from perdure_operator.controllers.pools.templates import (
    FAILURES_ANNOTATION,
    KEPT_ANNOTATION,
    VERSION_LABEL,
)

_GENERATED_FROM = 58
"""So much of a Job's name is in the names of its pods."""


class JobState(Enum):
    """Where a Job is."""

    ACTIVE = "active"
    """Its worker runs, or will."""
    LEAVING = "leaving"
    """It is being deleted, or its only pod is: the node may be gone and never say so."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """One worker Job."""

    ref: ObjectRef
    uid: str
    version: str
    state: JobState
    failures_before: int = 0
    kept: bool = False
    """It is one of ``scaling.min``: its worker does not leave by itself."""
    is_ready: bool = False
    """Its pod runs and is ready."""
    has_pod: bool = True
    """It has, or has had, a pod; one whose pods are refused never gets there."""
    access: Access = field(default_factory=Access)
    """What its worker was given to reach the server."""
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def lifetime(self) -> timedelta | None:
        """How long it took from start to end, if it has ended."""
        if self.started is None or self.finished is None:
            return None
        return self.finished - self.started

    def age(self, now: datetime) -> timedelta:
        """Return for how long it has been running."""
        return now - self.started if self.started else timedelta()

    def is_home_of(self, worker: WorkerDescription) -> bool:
        """Tell whether a worker at the server is the Job's; it calls itself by its pod's name."""
        # Kubernetes cuts a long name before it adds what makes it the pod's.
        prefix = f"{self.ref.name}-"[:_GENERATED_FROM]
        return worker.identity.rpartition("@")[2].startswith(prefix)

    def delete(self, *, notice: Notice | None = None, pool: Manifest | None = None) -> DeleteObject:
        """Return its deletion; with a notice, which is then told of the pool."""
        return DeleteObject(
            kind=JOBS, ref=self.ref, uid=self.uid, notice=notice, regarding=pool or {}
        )


def read_job(manifest: Manifest) -> JobFacts:
    """Return what a Job's manifest says."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    ended = _ended(status)
    return JobFacts(
        ref=ObjectRef(namespace=metadata["namespace"], name=metadata["name"]),
        uid=metadata["uid"],
        version=labels.get(VERSION_LABEL, ""),
        state=_state(metadata, status, ended),
        failures_before=_read_number(annotations.get(FAILURES_ANNOTATION, "")),
        kept=KEPT_ANNOTATION in annotations,
        is_ready=bool(status.get("ready")),
        has_pod=_has_pod(status),
        access=read_access(manifest["spec"]["template"]),
        started=read_time(status.get("startTime") or metadata.get("creationTimestamp")),
        finished=read_time(ended["lastTransitionTime"]) if ended else None,
    )


def _has_pod(status: Manifest) -> bool:
    """Tell whether the Job has counted a pod, or the Job controller has not looked at it yet."""
    uncounted = (status.get("uncountedTerminatedPods") or {}).values()
    counts = (status.get(field) for field in ("active", "terminating", "succeeded", "failed"))
    return "startTime" not in status or any(uncounted) or any(counts)


def read_time(text: str | None) -> datetime | None:
    """Return an instant as the API server writes it."""
    return datetime.fromisoformat(text) if text else None


def _ended(status: Manifest) -> Manifest | None:
    """Return the condition that says how the Job ended, if it has."""
    for condition in status.get("conditions", ()):
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            found: Manifest = condition
            return found
    return None


def _state(metadata: Manifest, status: Manifest, ended: Manifest | None) -> JobState:
    if metadata.get("deletionTimestamp"):
        return JobState.LEAVING
    if ended is None:
        is_going = status.get("terminating") and not status.get("active")
        return JobState.LEAVING if is_going else JobState.ACTIVE
    return JobState.SUCCEEDED if ended["type"] == "Complete" else JobState.FAILED


def _read_number(text: str) -> int:
    return int(text) if text.isdigit() else 0
