"""Why a Job gets no pod: a quota, Pod Security, a webhook or a missing account refuses it.

The Job controller says so nowhere but in a Kubernetes Event, and tries again by itself, so that
is where the words are read. Each try has another pod's name in them, which is left out: the same
trouble is the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from perdure_operator.cluster import CORE_EVENTS, Cluster, ForbiddenError, Manifest
from perdure_operator.controllers.pools.jobs import JobFacts

LOOK_AGAIN = timedelta(seconds=30)
"""How soon it is looked again; when there is a pod, that is heard of at once."""

_REFUSED = "FailedCreate"
_POD_NAME = re.compile(r'pods? "([^"]+)-[a-z0-9]{5}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Podless:
    """A Job without a pod."""

    job: str
    why: str


async def find_podless(cluster: Cluster, job: JobFacts) -> Podless | None:
    """Return why a Job that has no pod gets none, as the Job controller said last, if it did."""
    fields = {"involvedObject.uid": job.uid, "reason": _REFUSED}
    try:
        found = await cluster.list(CORE_EVENTS, job.ref.namespace, labels={}, fields=fields)
    except ForbiddenError:
        return None
    said = max(found, key=_time, default=None)
    if said is None:
        return None
    why = _POD_NAME.sub(r'pod "\1"', said.get("message", "")).removeprefix("Error creating: ")
    return Podless(job=job.ref.name, why=why)


def describe(podless: Podless) -> str:
    """Return what is to be said of it."""
    return f"Job {podless.job} gets no pod: {podless.why}"


def _time(event: Manifest) -> str:
    times = (event.get(field) for field in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return next(filter(None, times), "")
