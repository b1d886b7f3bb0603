"""Reading what a pool's workers are made from: its code, and what is written down of versions.

For whoever makes workers: the pool's own Jobs, and the pods of single activities.
"""

from __future__ import annotations

from perdure_operator.cluster import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    Cluster,
    Manifest,
    ObjectRef,
)
from perdure_operator.controllers.pools.revisions import RevisionFacts, read_revision
from perdure_operator.controllers.pools.templates import POOL_LABEL, VERSION_LABEL, Code
from perdure_operator.model import WorkerPool


async def read_code(cluster: Cluster, pool: WorkerPool) -> Code | None:
    """Return the ConfigMap's content; None when there is none, or the code is in the image."""
    if pool.spec.code is None:
        return None
    ref = ObjectRef(namespace=pool.metadata.namespace, name=pool.spec.code.config_map)
    body = await cluster.get(CONFIG_MAPS, ref)
    if body is None:
        return None
    return Code(files=body.get("data") or {}, binary=body.get("binaryData") or {})


async def read_revisions(
    cluster: Cluster, pool: WorkerPool, version: str | None = None
) -> list[RevisionFacts]:
    """Return what is written down of the pool's versions, or of a single one."""
    labels = {POOL_LABEL: pool.metadata.name}
    if version is not None:
        labels[VERSION_LABEL] = version
    found = await cluster.list(CONTROLLER_REVISIONS, pool.metadata.namespace, labels=labels)
    return [
        read_revision(body, has_code=await _has_code(cluster, body))
        for body in found
        if is_owned(body, pool)
    ]


async def _has_code(cluster: Cluster, revision: Manifest) -> bool:
    """Tell whether a version's copy of its code is there, if it needs one."""
    metadata, data = revision["metadata"], revision.get("data") or {}
    if not data.get("spec", {}).get("code"):
        return True
    ref = ObjectRef(namespace=metadata["namespace"], name=metadata["name"])
    copy = await cluster.get(CONFIG_MAPS, ref)
    owners = copy["metadata"].get("ownerReferences", ()) if copy is not None else ()
    return any(owner["uid"] == metadata["uid"] for owner in owners)


def is_owned(body: Manifest, pool: WorkerPool) -> bool:
    """Tell whether an object was made for the pool."""
    owners = body["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == pool.metadata.uid for owner in owners)
