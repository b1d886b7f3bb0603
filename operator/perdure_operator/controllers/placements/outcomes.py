"""How a container ended, read from its pod.

A container says how it went by its exit code and by what it wrote to the file that
``PERDURE_RESULT_FILE`` names. A pod that was taken away (evicted, preempted, deleted, its node
lost) says nothing about the code in it: that attempt is *lost*, and tried again at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from perdure.protocol.failures import ApplicationInfo, Failure
from perdure_operator.cluster import Manifest

CONTAINER_FAILED = "ContainerFailed"
"""The type of a failure that is a container's."""
RESULT_TOO_LARGE = "ResultTooLarge"

MESSAGE_BYTES = 4096
"""What the kubelet keeps of the file, at most."""
_MESSAGES_BYTES = 12288
"""What it keeps of those of all containers of a pod together."""
_SAID = 2000
"""How much of what a container said at its end is told on."""

_DISRUPTED = frozenset({"NodeLost", "Shutdown", "Terminated", "NodeShutdown", "Preempting"})
"""Reasons of a failed pod that are its node's, where no condition says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The container exited with 0."""

    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The container, or what it was made from, is at fault."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The pod was taken away."""

    why: str


Outcome = Completed | Failed | Lost


def read_outcome(
    pod: Manifest, container: str, *, non_retryable: Collection[int] = ()
) -> Outcome | None:
    """Return how the container ended, or None while it has not.

    Args:
        pod: The pod's manifest.
        container: The name of the container that is the activity.
        non_retryable: Exit codes after which there is no other attempt.
    """
    status = pod.get("status", {})
    ended = _terminated(status, container)
    if ended is not None and ended.get("exitCode") == 0:
        return _read_result(ended.get("message") or "", len(_containers(status)))
    if ended is None and status.get("phase") not in {"Failed", "Succeeded"}:
        return None
    why = _disruption(pod)
    if why:
        return Lost(why=why)
    return Failed(failure=_failure(status, container, non_retryable))


def build_failure(message: str, *, type_: str = CONTAINER_FAILED, retry: bool = True) -> Failure:
    """Return a failure of an attempt."""
    return Failure(message=message, info=ApplicationInfo(type=type_, non_retryable=not retry))


def _read_result(message: str, containers: int) -> Outcome:
    limit = min(MESSAGE_BYTES, _MESSAGES_BYTES // max(1, containers))
    if len(message.encode()) >= limit:
        said = (
            f"the result in $PERDURE_RESULT_FILE is longer than the {limit:,} bytes that "
            "Kubernetes keeps of it: have the container report it over HTTP instead (POST "
            "$PERDURE_ADDRESS/api/v1/report-activity), or return where it is stored"
        )
        return Failed(failure=build_failure(said, type_=RESULT_TOO_LARGE, retry=False))
    if not message.strip():
        return Completed(result=None)
    try:
        return Completed(result=msgspec.json.decode(message))
    except msgspec.DecodeError:
        # A line of text, as a shell's echo writes it, is its own value.
        return Completed(result=message.removesuffix("\n"))


def _disruption(pod: Manifest) -> str:
    """Return why the pod was taken away, if it was.

    A pod that is evicted because it took more than its own limit allows is marked by no such
    condition: that is the container's own doing.
    """
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return _join(condition.get("reason", ""), condition.get("message", ""))
    if status.get("reason") in _DISRUPTED:
        return _join(status["reason"], status.get("message", ""))
    if pod["metadata"].get("deletionTimestamp"):
        return "the pod was deleted"
    return ""


def _failure(status: Manifest, container: str, non_retryable: Collection[int]) -> Failure:
    culprit = _culprit(status, container)
    if culprit is None:
        said = _join(status.get("reason", ""), status.get("message", ""))
        return build_failure(_join("the pod failed", said))
    name, ended = culprit
    code = ended.get("exitCode", 0)
    how = f"container {name} exited with code {code}"
    reason = status.get("reason") or ended.get("reason") or ""
    if reason not in {"", "Error"}:
        how = f"{how} ({reason})"
    said = (ended.get("message") or status.get("message") or "").strip()[-_SAID:]
    is_final = name == container and code in non_retryable
    return build_failure(_join(how, said), retry=not is_final)


def _culprit(status: Manifest, container: str) -> tuple[str, Manifest] | None:
    """Return the container that failed: the activity's own, or one that it waited for."""
    own = _terminated(status, container)
    if own is not None:
        return container, own
    for each in [*status.get("initContainerStatuses", ()), *_containers(status)]:
        ended = each.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return each["name"], ended
    return None


def _terminated(status: Manifest, container: str) -> Manifest | None:
    for each in _containers(status):
        if each["name"] == container:
            ended: Manifest | None = each.get("state", {}).get("terminated")
            return ended
    return None


def _containers(status: Manifest) -> list[Manifest]:
    return list(status.get("containerStatuses", ()))


def _join(said: str, more: str) -> str:
    return f"{said}: {more}" if said and more else said or more
