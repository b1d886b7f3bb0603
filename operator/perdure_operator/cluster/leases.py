"""A Lease of the Kubernetes API: who leads, and whether the lead is free. Pure.

Clocks of two machines are never compared: whoever waits for a Lease takes its time from its own
clock, beginning when it last saw the Lease change. Every change asks for the version that was
seen, so of two who take a Lease at once one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perdure.protocol.fencing import FencingToken
from perdure_operator.cluster.kinds import LEASES, ObjectRef
from perdure_operator.cluster.port import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A Lease as it was read."""

    ref: ObjectRef
    version: str
    """Of the object: another one means that somebody has written to it."""
    holder: str
    """Empty: nobody."""
    seconds: float
    """For how long the holder leads after it was last heard of."""
    term: int
    """How often the Lease was taken."""
    created: int
    """When the object was made, in seconds since 1970."""
    acquired: str
    """When it was taken, as the API writes it."""

    @property
    def token(self) -> FencingToken:
        """What tells the holder's term from those before."""
        return FencingToken(scope=str(self.ref), epoch=self.created, term=self.term)


def read_lease(body: Manifest) -> Lease:
    """Return what a Lease's manifest says."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    return Lease(
        ref=ObjectRef(namespace=metadata["namespace"], name=metadata["name"]),
        version=metadata["resourceVersion"],
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        term=int(spec.get("leaseTransitions") or 0),
        created=int(datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()),
        acquired=spec.get("acquireTime") or "",
    )


def build_free(ref: ObjectRef) -> Manifest:
    """Return a Lease that was not there, of nobody.

    It names no holder: fields of whoever creates an object stay when later taken back by apply.
    """
    return _manifest(ref, {})


def build_taken(lease: Lease, holder: str, seconds: int, now: datetime) -> Manifest:
    """Return the Lease with a new holder, or with the same one in a new term."""
    spec = _spec(holder, seconds, lease.term + 1, _stamp(now), now)
    return _manifest(lease.ref, spec, version=lease.version)


def build_renewed(lease: Lease, now: datetime) -> Manifest:
    """Return the Lease of a holder that still leads."""
    spec = _spec(lease.holder, int(lease.seconds), lease.term, lease.acquired, now)
    return _manifest(lease.ref, spec, version=lease.version)


def build_released(lease: Lease, now: datetime) -> Manifest:
    """Return the Lease of nobody; whoever takes it next has the next term."""
    spec = _spec("", int(lease.seconds), lease.term, lease.acquired, now)
    return _manifest(lease.ref, spec, version=lease.version)


def _spec(holder: str, seconds: int, term: int, acquired: str, now: datetime) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "leaseDurationSeconds": seconds,
        "leaseTransitions": term,
        "acquireTime": acquired or _stamp(now),
        "renewTime": _stamp(now),
    }
    return spec | ({"holderIdentity": holder} if holder else {})


def _manifest(ref: ObjectRef, spec: dict[str, Any], *, version: str = "") -> Manifest:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    if version:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": metadata,
        "spec": spec,
    }


def _stamp(now: datetime) -> str:
    """Return a time as the API's MicroTime."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
