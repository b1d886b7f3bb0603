"""What a worker's pod needs to reach the server: its address, a token, and whom to trust.

The pod's default token stays away: it is for the API server, and workers do not speak to that. What
they get is a token of their ServiceAccount for the server alone, which the kubelet renews, in one
volume with the authority of the server's certificate. The authority travels in an annotation of
the pod, so no object has to be made in the pool's namespace; it has no say in the pool's version,
so that a new authority does not make all code look new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from perdure_operator.cluster import Manifest
from perdure_operator.model.workerpool import WORKER_CONTAINER

VOLUME = "perdure-access"
PATH = "/var/run/secrets/perdure.dev"
AUTHORITY_ANNOTATION = "perdure.dev/server-ca"
TOKEN_SECONDS = 3600
"""How long a token is good; the kubelet renews it when four fifths are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDefaults:
    """What the operator adds to every pool."""

    image: str
    """For code from a ConfigMap, when the pool names no image."""
    server: str
    """The address at which workers reach the server."""
    audience: str = ""
    """Workers get a token that is made for it; empty: none."""
    authority: str = ""
    """Whom workers believe that the server is the server, PEM; empty: the system's authorities."""


def access_annotations(defaults: WorkerDefaults) -> Mapping[str, str]:
    """Return the annotations of the pod."""
    return {AUTHORITY_ANNOTATION: defaults.authority} if defaults.authority else {}


def access_environment(defaults: WorkerDefaults) -> list[Manifest]:
    """Return the variables by which ``perdure worker`` finds what is mounted."""
    found = []
    if defaults.audience:
        found.append({"name": "PERDURE_TOKEN_FILE", "value": f"{PATH}/token"})
    if defaults.authority:
        found.append({"name": "PERDURE_TLS_CA", "value": f"{PATH}/ca.crt"})
    return found


def access_mounts(defaults: WorkerDefaults) -> list[Manifest]:
    """Return where the container has it."""
    if not _sources(defaults):
        return []
    return [{"name": VOLUME, "mountPath": PATH, "readOnly": True}]


def access_volumes(defaults: WorkerDefaults) -> list[Manifest]:
    """Return the volume, if there is anything to put into it."""
    sources = _sources(defaults)
    return [{"name": VOLUME, "projected": {"sources": sources}}] if sources else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a worker's pod was given: one with another than is needed now cannot come back."""

    server: str = ""
    audience: str = ""
    authority: str = ""


def read_access(pod: Manifest) -> Access:
    """Return what a pod's template gives its worker."""
    spec = pod.get("spec", {})
    arguments = _named(spec.get("containers", ()), WORKER_CONTAINER).get("args", [])
    sources = _named(spec.get("volumes", ()), VOLUME).get("projected", {}).get("sources", [])
    tokens = [each["serviceAccountToken"] for each in sources if "serviceAccountToken" in each]
    return Access(
        server=dict(pairwise(arguments)).get("--address", ""),
        audience=tokens[0].get("audience", "") if tokens else "",
        authority=pod.get("metadata", {}).get("annotations", {}).get(AUTHORITY_ANNOTATION, ""),
    )


def _named(items: Iterable[Manifest], name: str) -> Manifest:
    return next((each for each in items if each["name"] == name), {})


def _sources(defaults: WorkerDefaults) -> list[Manifest]:
    sources: list[Manifest] = []
    if defaults.audience:
        token = {
            "path": "token",
            "audience": defaults.audience,
            "expirationSeconds": TOKEN_SECONDS,
        }
        sources.append({"serviceAccountToken": token})
    if defaults.authority:
        field = {"fieldPath": f"metadata.annotations['{AUTHORITY_ANNOTATION}']"}
        sources.append({"downwardAPI": {"items": [{"path": "ca.crt", "fieldRef": field}]}})
    return sources
