"""Why workers do not run, as their pods tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perdure_operator.cluster import Manifest
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
    created: str
    trouble: Trouble | None
    """What keeps it from running; None when nothing does."""
    crash: Trouble | None
    """How it ended, when it ended badly."""


def read_pod(manifest: Manifest) -> PodFacts:
    """Return what a pod's manifest says."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels", {})
    return PodFacts(
        version=labels.get(VERSION_LABEL, ""),
        job=labels.get("batch.kubernetes.io/job-name", ""),
        created=metadata.get("creationTimestamp", ""),
        trouble=_trouble(manifest.get("status", {})),
        crash=_crash(manifest.get("status", {})),
    )


def newest_trouble(pods: Iterable[PodFacts]) -> Trouble | None:
    """Return what keeps the newest pod that is kept from running."""
    troubled = [pod for pod in pods if pod.trouble is not None]
    return max(troubled, key=lambda pod: pod.created).trouble if troubled else None


def _trouble(status: Manifest) -> Trouble | None:
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
