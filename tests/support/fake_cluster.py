"""A cluster in memory, for tests of the controllers: objects, server-side apply, finalizers.

It does what the API server does as far as the operator can tell: versions and uids, preconditions,
one field manager, deletion that waits for finalizers and takes owned objects along. It runs no
Job; tests say what becomes of one. ``tests/integration/test_operator_cluster_port.py`` holds it to
the real thing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure_operator.cluster import (
    JOBS,
    ClusterError,
    ConflictError,
    InvalidError,
    Manifest,
    NotFoundError,
    ObjectKind,
    ObjectRef,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Instants that pass only when a test says so."""

    def __init__(self, now: datetime = EPOCH) -> None:
        self.instant = now

    def now(self) -> datetime:
        return self.instant

    def pass_(self, time: timedelta) -> None:
        self.instant += time


class FakeCluster:
    """The port :class:`perdure_operator.cluster.Cluster`, in memory."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.objects: dict[tuple[str, ObjectRef], Manifest] = {}
        self.writes: list[str] = []
        """What was really changed, as ``verb plural namespace/name``."""
        self.fail_with: dict[str, ClusterError] = {}
        """By ``verb plural``: what the next such calls are answered with."""
        self._applied: dict[tuple[str, ObjectRef], Manifest] = {}
        self._counter = 0

    # --- the port --------------------------------------------------------------------------

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        self._maybe_fail("get", kind)
        return copy.deepcopy(self.objects.get((kind.plural, ref)))

    async def list(
        self,
        kind: ObjectKind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        self._maybe_fail("list", kind)
        return [
            copy.deepcopy(body)
            for (plural, ref), body in self.objects.items()
            if plural == kind.plural
            and ref.namespace == namespace
            and labels.items() <= body["metadata"].get("labels", {}).items()
            and all(_field(body, path) == value for path, value in (fields or {}).items())
        ]

    async def create(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        self._maybe_fail("create", kind)
        ref = _ref(manifest)
        if (kind.plural, ref) in self.objects:
            raise ConflictError(f"create {kind.plural} {ref}", "it already exists")
        return self._store_new("create", kind, manifest)

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        self._maybe_fail("apply", kind)
        ref, uid = _ref(manifest), manifest["metadata"].get("uid")
        known = self.objects.get((kind.plural, ref))
        version = manifest["metadata"].get("resourceVersion")
        if version and known is not None and known["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"apply {kind.plural} {ref}", "it has been modified")
        if known is None:
            if uid:
                raise ConflictError(f"apply {kind.plural} {ref}", "uid mismatch: it is not there")
            self._applied[kind.plural, ref] = copy.deepcopy(manifest)
            return self._store_new("apply", kind, manifest)
        if uid and uid != known["metadata"]["uid"]:
            raise InvalidError(f"apply {kind.plural} {ref}", "metadata.uid: field is immutable")
        after = self._merged(kind, ref, known, manifest)
        self._applied[kind.plural, ref] = copy.deepcopy(manifest)
        return self._store("apply", kind, ref, after)

    async def apply_status(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        self._maybe_fail("apply_status", kind)
        ref = _ref(manifest)
        known = self.objects.get((kind.plural, ref))
        if known is None:
            raise NotFoundError(f"apply_status {kind.plural} {ref}", "not found")
        version = manifest["metadata"].get("resourceVersion")
        if version and version != known["metadata"]["resourceVersion"]:
            raise ConflictError(f"apply_status {kind.plural} {ref}", "it has been modified")
        after = copy.deepcopy(known)
        after["status"] = _through_json(manifest["status"])
        return self._store("apply_status", kind, ref, after)

    async def release(
        self, kind: ObjectKind, ref: ObjectRef, *, uid: str, finalizer: str, position: int
    ) -> Manifest:
        self._maybe_fail("release", kind)
        known = self.objects.get((kind.plural, ref))
        if known is None:
            raise NotFoundError(f"release {kind.plural} {ref}", "not found")
        after = copy.deepcopy(known)
        finalizers = after["metadata"].pop("finalizers", [])
        if known["metadata"]["uid"] != uid or finalizers[position : position + 1] != [finalizer]:
            raise ConflictError(f"release {kind.plural} {ref}", "it is not as it was")
        del finalizers[position]
        if finalizers:
            after["metadata"]["finalizers"] = finalizers
        return self._store("release", kind, ref, after)

    async def delete(self, kind: ObjectKind, ref: ObjectRef, *, uid: str) -> None:
        self._maybe_fail("delete", kind)
        known = self.objects.get((kind.plural, ref))
        if known is None:
            return
        if known["metadata"]["uid"] != uid:
            raise ConflictError(f"delete {kind.plural} {ref}", "the UID does not match")
        self.writes.append(f"delete {kind.plural} {ref}")
        if known["metadata"].get("finalizers"):
            known["metadata"].setdefault("deletionTimestamp", self._timestamp())
            self._touch(known)
        else:
            self._remove(kind.plural, ref)

    # --- what tests do ---------------------------------------------------------------------

    def add(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """Put an object there, as a user's ``kubectl apply`` does."""
        return copy.deepcopy(self._store_new("add", kind, manifest))

    def edit(self, kind: ObjectKind, ref: ObjectRef, **spec: Any) -> Manifest:
        """Change fields of the spec, as a user does."""
        body = self.objects[kind.plural, ref]
        body["spec"] = {**body["spec"], **spec}
        body["metadata"]["generation"] += 1
        self._touch(body)
        return copy.deepcopy(body)

    def ask_to_delete(self, kind: ObjectKind, ref: ObjectRef) -> None:
        """Delete as a user does."""
        body = self.objects[kind.plural, ref]
        if body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = self._timestamp()
            self._touch(body)
        else:
            self._remove(kind.plural, ref)

    def set_status(self, kind: ObjectKind, ref: ObjectRef, status: Manifest) -> None:
        """Have something else than the operator write a status."""
        body = self.objects[kind.plural, ref]
        body["status"] = status
        self._touch(body)

    def run_job(self, ref: ObjectRef, *, since: timedelta = timedelta()) -> None:
        """Have a Job's pod be ready, for as long as ``since``."""
        started = (self.clock.now() - since).isoformat()
        self.set_status(JOBS, ref, {"active": 1, "ready": 1, "startTime": started})

    def end_job(
        self, ref: ObjectRef, *, succeeded: bool, lifetime: timedelta = timedelta(minutes=5)
    ) -> None:
        """Have a Job be over, after it ran for ``lifetime``."""
        condition = {
            "type": "Complete" if succeeded else "Failed",
            "status": "True",
            "lastTransitionTime": self._timestamp(),
        }
        started = (self.clock.now() - lifetime).isoformat()
        self.set_status(JOBS, ref, {"startTime": started, "conditions": [condition]})

    def all(self, kind: ObjectKind) -> list[Manifest]:
        """Return every object of a kind."""
        return [body for (plural, _), body in self.objects.items() if plural == kind.plural]

    # --- inside ----------------------------------------------------------------------------

    def _store_new(self, verb: str, kind: ObjectKind, manifest: Manifest) -> Manifest:
        body = _through_json(manifest)
        ref = _ref(body)
        self._counter += 1
        body["metadata"] |= {
            "uid": f"uid-{self._counter}",
            "generation": 1,
            "creationTimestamp": self._timestamp(),
        }
        body.pop("status", None)
        self._touch(body)
        self.objects[kind.plural, ref] = body
        self.writes.append(f"{verb} {kind.plural} {ref}")
        return copy.deepcopy(body)

    def _merged(
        self, kind: ObjectKind, ref: ObjectRef, known: Manifest, manifest: Manifest
    ) -> Manifest:
        after, applied = copy.deepcopy(known), self._applied.get((kind.plural, ref), {})
        ours_before = set(applied.get("metadata", {}).get("finalizers", ()))
        ours_now = manifest["metadata"].get("finalizers", ())
        others = [f for f in known["metadata"].get("finalizers", ()) if f not in ours_before]
        finalizers = [*others, *(f for f in ours_now if f not in others)]
        after["metadata"].pop("finalizers", None)
        if finalizers:
            after["metadata"]["finalizers"] = finalizers
        for field in ("labels", "annotations", "ownerReferences"):
            if field in manifest["metadata"]:
                after["metadata"][field] = _through_json(manifest["metadata"][field])
        if "spec" in manifest and manifest["spec"] != known.get("spec"):
            after["spec"] = _through_json(manifest["spec"])
            after["metadata"]["generation"] += 1
        if "series" in manifest:  # of an Event, which has no spec
            after["series"] = _through_json(manifest["series"])
        return after

    def _store(self, verb: str, kind: ObjectKind, ref: ObjectRef, after: Manifest) -> Manifest:
        if after != self.objects[kind.plural, ref]:
            self._touch(after)
            self.objects[kind.plural, ref] = after
            self.writes.append(f"{verb} {kind.plural} {ref}")
        metadata = after["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._remove(kind.plural, ref)
        return copy.deepcopy(after)

    def _remove(self, plural: str, ref: ObjectRef) -> None:
        gone = self.objects.pop((plural, ref))
        self._applied.pop((plural, ref), None)
        uid = gone["metadata"]["uid"]
        for (other, other_ref), body in list(self.objects.items()):
            owners = body["metadata"].get("ownerReferences", ())
            if any(owner["uid"] == uid for owner in owners):
                self._remove(other, other_ref)

    def _touch(self, body: Manifest) -> None:
        self._counter += 1
        body["metadata"]["resourceVersion"] = str(self._counter)

    def _timestamp(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _maybe_fail(self, verb: str, kind: ObjectKind) -> None:
        error = self.fail_with.get(f"{verb} {kind.plural}")
        if error is not None:
            raise error


def _field(body: Manifest, path: str) -> Any:
    found: Any = body
    for name in path.split("."):
        found = found.get(name, {})
    return found


def _ref(manifest: Manifest) -> ObjectRef:
    metadata = manifest["metadata"]
    return ObjectRef(namespace=metadata["namespace"], name=metadata["name"])


def _through_json(value: Any) -> Any:
    """Return a copy, as it would come back over the wire."""
    return json.loads(json.dumps(value))
