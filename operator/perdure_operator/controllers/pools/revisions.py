"""What is written down of each version, so that old runs find their code.

Of every version there is a ControllerRevision, as Deployments and StatefulSets have them: the
pool's spec as it was, with the image and the modules spelled out. Code from a ConfigMap is copied
into an immutable one of the version's own, since the user's may be edited while old runs need the
old code. The copy belongs to the revision and the revision to the pool, so that each goes with its
owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from perdure_operator.cluster import CONFIG_MAPS, CONTROLLER_REVISIONS, Manifest, ObjectRef
from perdure_operator.controllers.actions import DeleteObject
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.templates import (
    VERSION_LABEL,
    Code,
    WorkerTemplate,
    object_name,
    owner_of,
    pool_labels,
    rebuild_template,
)
from perdure_operator.model import WorkerPool, WorkerPoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFacts:
    """One version as it is written down."""

    ref: ObjectRef
    uid: str
    version: str
    number: int
    """They are counted; the newest has the highest."""
    spec: Manifest = field(default_factory=dict)
    has_code: bool = True
    """Whether the copy of its code is there, if it needs one."""

    @property
    def is_usable(self) -> bool:
        """Whether workers can be made of it."""
        return self.has_code and _can_be_read(self.spec)

    def delete(self) -> DeleteObject:
        """Return its deletion, with which its copy of the code goes."""
        return DeleteObject(kind=CONTROLLER_REVISIONS, ref=self.ref, uid=self.uid)


def read_revision(manifest: Manifest, *, has_code: bool) -> RevisionFacts:
    """Return what a ControllerRevision says."""
    metadata = manifest["metadata"]
    return RevisionFacts(
        ref=ObjectRef(namespace=metadata["namespace"], name=metadata["name"]),
        uid=metadata["uid"],
        version=metadata.get("labels", {}).get(VERSION_LABEL, ""),
        number=manifest.get("revision", 0),
        spec=(manifest.get("data") or {}).get("spec") or {},
        has_code=has_code,
    )


def build_revision(
    template: WorkerTemplate,
    *,
    code: Code | None,
    defaults: WorkerDefaults,
    others: Sequence[RevisionFacts],
) -> Manifest:
    """Return the ControllerRevision of the version that the pool has now."""
    pool = template.pool
    spec = pool.to_manifest()["spec"]
    spec["image"] = pool.spec.image or defaults.image
    if pool.spec.code is not None:
        spec["code"] = {"configMap": object_name(pool, template.version)}
        spec["modules"] = list(pool.spec.modules or (code.modules if code else ()))
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": _metadata(template) | {"ownerReferences": [owner_of(pool)]},
        "revision": max((each.number for each in others), default=0) + 1,
        "data": {"spec": spec},
    }


def build_copy(template: WorkerTemplate, code: Code, revision: RevisionFacts) -> Manifest:
    """Return the ConfigMap with a version's code."""
    owner = {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "name": revision.ref.name,
        "uid": revision.uid,
        "controller": True,
    }
    content: Manifest = {"data": dict(code.files)}
    if code.binary:
        content["binaryData"] = dict(code.binary)
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": _metadata(template) | {"ownerReferences": [owner]},
        "immutable": True,
        **content,
    }


def template_of(
    revision: RevisionFacts, pool: WorkerPool, defaults: WorkerDefaults
) -> WorkerTemplate:
    """Return what the Jobs of an older version are made from.

    Args:
        revision: A usable one.
        pool: The pool.
        defaults: What the operator adds.
    """
    return rebuild_template(pool_of(revision, pool), defaults, revision.version)


def pool_of(revision: RevisionFacts, pool: WorkerPool) -> WorkerPool:
    """Return the pool as it was, but for how many workers there may be, and how long they stay."""
    bounds = pool.to_manifest()["spec"]
    spec = {k: v for k, v in revision.spec.items() if k not in {"scaling", "replicas"}}
    spec |= {k: bounds[k] for k in ("scaling", "replicas") if k in bounds}
    return pool.model_copy(update={"spec": WorkerPoolSpec.model_validate(spec)})


def _can_be_read(spec: Manifest) -> bool:
    try:
        WorkerPoolSpec.model_validate(spec)
    except ValidationError:
        return False
    return True


def _metadata(template: WorkerTemplate) -> Manifest:
    pool = template.pool
    return {
        "name": object_name(pool, template.version),
        "namespace": pool.metadata.namespace,
        "labels": pool_labels(pool) | {VERSION_LABEL: template.version},
    }
