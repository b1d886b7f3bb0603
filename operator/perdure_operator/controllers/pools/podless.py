"""Jobs that get no pod: a quota, Pod Security, a webhook or a missing account refuses it.

The Job controller says so nowhere but in a Kubernetes Event, and tries again by itself, so that
is where the words are read. Each try has another pod's name in them, which is left out: the same
trouble is the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from perdure_operator.cluster import CORE_EVENTS, Cluster, ForbiddenError, Manifest, ObjectRef

PATIENCE = timedelta(seconds=3)
"""A Job that is younger may get its pod any moment."""

LOOK_AGAIN = timedelta(seconds=30)
"""How soon it is looked again; when there is a pod, that is heard of at once."""

_REFUSED = "FailedCreate"
_POD_NAME = re.compile(r'pods? "([^"]+)-[a-z0-9]{5}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Podless:
    """A Job without a pod."""

    job: str
    why: str


async def find_podless(
    cluster: Cluster, jobs: Sequence[tuple[ObjectRef, str, timedelta]]
) -> Podless | None:
    """Return the first that has been without a pod for long, and why.

    Args:
        cluster: Where to ask.
        jobs: Those without a pod: which, its uid, and its age.
    """
    for ref, uid, age in sorted(jobs):
        if age >= PATIENCE:
            return Podless(job=ref.name, why=await _ask(cluster, ref, uid))
    return None


def describe(podless: Podless) -> str:
    """Return what is to be said of it."""
    return f"Job {podless.job} gets no pod: {podless.why}"


def look_again(age: timedelta) -> timedelta:
    """Return when to look again at a Job of this age that has no pod."""
    return PATIENCE - age if age < PATIENCE else LOOK_AGAIN


async def _ask(cluster: Cluster, ref: ObjectRef, uid: str) -> str:
    """Return why the Job controller could not make the pod, as it said last."""
    fields = {"involvedObject.uid": uid, "reason": _REFUSED}
    try:
        found = await cluster.list(CORE_EVENTS, ref.namespace, labels={}, fields=fields)
    except ForbiddenError:
        found = []
    said = max(found, key=_time, default=None)
    if said is None:
        return f"kubectl describe job {ref.name} -n {ref.namespace} says why"
    return _POD_NAME.sub(r'pod "\1"', said.get("message", "")).removeprefix("Error creating: ")


def _time(event: Manifest) -> str:
    for field in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if event.get(field):
            return str(event[field])
    return ""
