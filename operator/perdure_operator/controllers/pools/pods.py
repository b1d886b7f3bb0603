"""Why workers do not run, as their pods tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from perdure_operator.cluster import Manifest
from perdure_operator.controllers.pools.jobs import JobFacts, JobState
from perdure_operator.controllers.pools.templates import VERSION_LABEL
from perdure_operator.model import Reason

_PULLING = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CREATING = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PostStartHookError",
    }
)
_MESSAGE_END = 1000
"""How much of a log's end is said: the last line of a traceback is the one that matters."""


NO_POD_AFTER = timedelta(seconds=15)
"""A Job makes its pod at once, unless the pod is refused."""

SLOW_START = timedelta(seconds=60)
"""A pod that takes longer to start, its image pulled, is waited for no more without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why workers do not run."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """One worker's pod."""

    version: str
    job: str
    """The Job that it belongs to."""
    name: str
    created: str
    trouble: Trouble | None
    """What keeps it from running; None when nothing does."""
    creating_since: datetime | None = None
    """Since when its node makes its containers, while it does and says nothing of it."""
    crash: Trouble | None
    """How it ended, when it ended badly."""


def read_pod(manifest: Manifest) -> PodFacts:
    """Return what a pod's manifest says."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels", {})
    return PodFacts(
        version=labels.get(VERSION_LABEL, ""),
        job=labels.get("batch.kubernetes.io/job-name", ""),
        name=metadata.get("name", ""),
        created=metadata.get("creationTimestamp", ""),
        trouble=_trouble(manifest.get("status", {})),
        crash=_crash(manifest.get("status", {})),
        creating_since=_creating_since(manifest.get("status", {})),
    )


def newest_trouble(pods: Iterable[PodFacts], *, now: datetime) -> Trouble | None:
    """Return what keeps the newest pod that is kept from running."""
    troubles = ((pod.created, pod.name, pod.trouble or _slow_start(pod, now)) for pod in pods)
    troubled = [each for each in troubles if each[2] is not None]
    return max(troubled, key=lambda each: each[:2])[2] if troubled else None


def missing_pod(job: JobFacts, now: datetime) -> Trouble | None:
    """Say of a Job that gets no pod where it is said why; the Job itself does not say it."""
    if job.state is not JobState.ACTIVE or job.has_pod or job.age(now) < NO_POD_AFTER:
        return None
    name = job.ref.name
    message = (
        f"Job {name} gets no pod: kubectl describe job {name} says why; mostly its ServiceAccount "
        "does not exist, or Pod Security, a quota or another policy refuses the pod"
    )
    return Trouble(reason=Reason.FORBIDDEN, message=message)


def time_to_miss_pod(job: JobFacts, now: datetime) -> timedelta | None:
    """Return when to look again at a Job that has no pod yet."""
    if job.state is not JobState.ACTIVE or job.has_pod or job.age(now) >= NO_POD_AFTER:
        return None
    return NO_POD_AFTER - job.age(now)


def _slow_start(pod: PodFacts, now: datetime) -> Trouble | None:
    """Say of a pod that does not start and does not say why where that is said."""
    if pod.creating_since is None or now - pod.creating_since < SLOW_START:
        return None
    message = (
        f"the node has been making the containers of pod {pod.name} since "
        f"{pod.creating_since:%H:%M:%S}Z: kubectl describe pod {pod.name} says why; mostly a "
        "ConfigMap, Secret or volume that it mounts is missing"
    )
    return Trouble(reason=Reason.NOT_STARTING, message=message)


def _creating_since(status: Manifest) -> datetime | None:
    """Return when the pod was put on its node, if nothing has run on that yet."""
    waits = [each.get("state", {}).get("waiting") or {} for each in _containers(status)]
    if status.get("phase") != "Pending" or not any(
        each.get("reason") in {"ContainerCreating", "PodInitializing"} for each in waits
    ):
        return None
    scheduled = (
        each.get("lastTransitionTime")
        for each in status.get("conditions", ())
        if each["type"] == "PodScheduled" and each["status"] == "True"
    )
    since = next(scheduled, None)
    return datetime.fromisoformat(since) if since else None


def _trouble(status: Manifest) -> Trouble | None:
    disrupted = _disruption(status)
    if disrupted is not None:
        return disrupted
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        said = f"{reason} of container {container['name']} ({container.get('image', '?')})"
        if reason in _PULLING:
            return Trouble(reason=Reason.IMAGE_PULL_FAILED, message=_join(said, message))
        if reason in _CREATING:
            return Trouble(reason=Reason.CRASHING, message=_join(said, message))
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            message = _join("no node takes the pod", condition.get("message", ""))
            return Trouble(reason=Reason.UNSCHEDULABLE, message=message)
    return None


def _disruption(status: Manifest) -> Trouble | None:
    """Return by what the pod was ended that is not its own doing."""
    for condition in status.get("conditions", ()):
        is_target = condition["type"] == "DisruptionTarget" and condition["status"] == "True"
        if is_target and status.get("phase") in {"Failed", "Pending", "Running"}:
            said = f"the worker's pod was ended by its node or the cluster ({condition['reason']})"
            message = _join(said, condition.get("message", ""))
            return Trouble(reason=Reason.EVICTED, message=f"{message}; its Job makes another one")
    return None


def _crash(status: Manifest) -> Trouble | None:
    for container in _containers(status):
        ended = container.get("state", {}).get("terminated") or {}
        code = ended.get("exitCode", 0)
        if code:
            how = f"container {container['name']} exited with code {code}"
            if ended.get("reason") not in {None, "Error"}:
                how = f"{how} ({ended['reason']})"
            message = _join(how, ended.get("message", "").strip()[-_MESSAGE_END:])
            return Trouble(reason=Reason.CRASHING, message=message)
    if status.get("phase") == "Failed" and status.get("reason"):
        message = _join(f"the worker's pod failed: {status['reason']}", status.get("message", ""))
        return Trouble(reason=Reason.CRASHING, message=message)
    return None


def _containers(status: Manifest) -> list[Manifest]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _join(said: str, message: str) -> str:
    return f"{said}: {message}" if message else said
