"""The Jobs and pods of an activity's attempts, as the planner sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure_operator.cluster import JOBS, Manifest
from perdure_operator.controllers.actions import DeleteObject
from perdure_operator.controllers.placements.names import ATTEMPT_LABEL
from perdure_operator.controllers.placements.outcomes import (
    Failed,
    Lost,
    Outcome,
    build_failure,
    read_outcome,
)
from perdure_operator.controllers.placements.templates import PoolCode
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.jobs import JobFacts, JobState, read_job
from perdure_operator.controllers.pools.pods import Trouble, read_pod

_ROOT_HINT = (
    "; give an image that does not run as root, or set template.pod.spec.securityContext, for "
    "example runAsUser: 1000"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPod:
    """The pod of one attempt."""

    name: str
    attempt: int
    is_running: bool
    trouble: Trouble | None
    """What keeps it from running."""
    outcome: Outcome | None
    """How its container ended, if it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptJob:
    """The Job of one attempt."""

    facts: JobFacts
    attempt: int
    why: str
    """What the Job itself says of its end."""

    @property
    def is_leaving(self) -> bool:
        """Whether it is being deleted."""
        return self.facts.state is JobState.LEAVING

    @property
    def is_over(self) -> bool:
        """Whether its pod has ended, as far as the Job knows."""
        return self.facts.state in {JobState.SUCCEEDED, JobState.FAILED}

    def delete(self) -> DeleteObject:
        """Return its deletion, and with it that of its pod."""
        return DeleteObject(kind=JOBS, ref=self.facts.ref, uid=self.facts.uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsSeen:
    """What there is of an activity's attempts, and what their Jobs are made from."""

    jobs: Sequence[AttemptJob]
    pods: Sequence[AttemptPod]
    defaults: WorkerDefaults
    code: PoolCode | None = None
    """What a worker of its own runs; None for a container, and when there is no such pool."""

    def job(self, attempt: int) -> AttemptJob | None:
        """Return the Job of an attempt, if it is there."""
        return next((each for each in self.jobs if each.attempt == attempt), None)

    def pod(self, attempt: int) -> AttemptPod | None:
        """Return the pod of an attempt, if it is there."""
        return next((each for each in self.pods if each.attempt == attempt), None)

    def outcome(self, attempt: int) -> Outcome | None:
        """Return how the attempt's pod ended, if it has."""
        pod, job = self.pod(attempt), self.job(attempt)
        if pod is not None:
            return pod.outcome
        if job is None or not job.is_over:
            return None
        return Lost(why=f"its pod is gone: {job.why or 'it was deleted'}")


def read_attempt_job(manifest: Manifest) -> AttemptJob:
    """Return what a Job's manifest says."""
    ended = [
        condition
        for condition in manifest.get("status", {}).get("conditions", ())
        if condition["type"] == "Failed" and condition["status"] == "True"
    ]
    why = ended[0].get("message") or ended[0].get("reason", "") if ended else ""
    return AttemptJob(facts=read_job(manifest), attempt=_attempt(manifest), why=why)


def read_attempt_pod(
    manifest: Manifest, container: str, *, non_retryable: Collection[int] = ()
) -> AttemptPod:
    """Return what a pod's manifest says.

    Args:
        manifest: The pod.
        container: The name of the container that is the activity.
        non_retryable: Exit codes after which there is no other attempt.
    """
    return AttemptPod(
        name=manifest["metadata"]["name"],
        attempt=_attempt(manifest),
        is_running=_is_running(manifest, container),
        trouble=_with_hint(read_pod(manifest).trouble),
        outcome=read_outcome(manifest, container, non_retryable=non_retryable),
    )


def started_late(job: AttemptJob, trouble: Trouble, now: datetime, limit: float) -> Failed | None:
    """Return that an attempt could not start, if it has been kept from it for ``limit`` seconds."""
    since = job.facts.started
    if since is None or (now - since).total_seconds() < limit:
        return None
    message = f"the pod could not start within {limit:g} s: {trouble.message}"
    return Failed(failure=build_failure(message))


def _attempt(manifest: Manifest) -> int:
    labels: Mapping[str, str] = manifest["metadata"].get("labels", {})
    text = labels.get(ATTEMPT_LABEL, "")
    return int(text) if text.isdigit() else 0


def _is_running(manifest: Manifest, container: str) -> bool:
    statuses = manifest.get("status", {}).get("containerStatuses", ())
    return any(
        each["name"] == container and "running" in each.get("state", {}) for each in statuses
    )


def _with_hint(trouble: Trouble | None) -> Trouble | None:
    if trouble is None or "runAsNonRoot" not in trouble.message:
        return trouble
    return Trouble(reason=trouble.reason, message=f"{trouble.message}{_ROOT_HINT}")
