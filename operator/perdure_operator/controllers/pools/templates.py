"""The Job of one worker, and the version that tells workers that differ apart.

The version is a hash of all that makes a worker what it is: the pod as it is built here (image,
arguments, environment, overrides, and whatever a newer operator builds otherwise) and the code,
when it comes from a ConfigMap. How many workers there are is no part of it. Workers read that
code from a copy of the ConfigMap that is made for the version, and older versions are built from
what was written down of them (:mod:`.revisions`).

**Names.** A Job is ``{pool}-{version}-{n}``, where n is the lowest number that no Job there has.
Two plans made from the same view, by whomever, give the same names, so the second Job collides
with the first and there is one worker instead of two. A Job that is over keeps its number until
it is deleted, so a name is never in the way of a new worker; and Jobs are deleted by uid, so
that a number taken anew in the meantime is safe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure_operator.cluster import JOBS, Manifest
from perdure_operator.controllers.pools.access import (
    WorkerDefaults,
    access_annotations,
    access_environment,
    access_mounts,
    access_volumes,
)
from perdure_operator.controllers.pools.overlaying import overlay
from perdure_operator.model import WorkerPool
from perdure_operator.model.workerpool import WORKER_CONTAINER

POOL_LABEL = "perdure.dev/pool"
VERSION_LABEL = "perdure.dev/version"
FAILURES_ANNOTATION = "perdure.dev/failures-before"
"""How many workers in a row had failed when the Job was made: the backoff outlives restarts."""
KEPT_ANNOTATION = "perdure.dev/kept"
"""On the Jobs of ``scaling.min``: their workers stay when there is nothing to do."""

MANAGER = "perdure-operator"
CODE_PATH = "/code"
IMAGE_CODE_PATH = "/app"
"""Where images made FROM perdure-worker have their code."""

KEPT_AFTER_FAILURE = timedelta(hours=1)
"""How long a failed Job stays, for people to look at; longer than the longest backoff."""

_VERSION_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Code from a ConfigMap."""

    files: Mapping[str, str]
    binary: Mapping[str, str] = field(default_factory=dict)
    """What the ConfigMap has as ``binaryData``."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The Python modules that the files are."""
        names = (name.removesuffix(".py") for name in sorted(self.files) if name.endswith(".py"))
        return tuple(name for name in names if name.isidentifier())


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTemplate:
    """What the Jobs of one version have in common."""

    pool: WorkerPool
    pod: Manifest
    """The pod's template, without what differs from Job to Job."""
    version: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the pods, without a say in what version they are."""

    def job(self, number: int, *, failures: int = 0, kept: bool = False) -> Manifest:
        """Return the Job of one worker."""
        metadata = self.pool.metadata
        annotations = {FAILURES_ANNOTATION: str(failures)}
        if kept:
            annotations[KEPT_ANNOTATION] = "true"
        return {
            "apiVersion": JOBS.api_version,
            "kind": JOBS.kind,
            "metadata": {
                "name": f"{metadata.name}-{self.version}-{number}",
                "namespace": metadata.namespace,
                "labels": self._labels(),
                "annotations": annotations,
                "ownerReferences": [owner_of(self.pool)],
            },
            "spec": {
                # A failed worker is not restarted behind our back: we wait longer each time.
                "backoffLimit": 0,
                "podFailurePolicy": {"rules": [_IGNORE_DISRUPTIONS]},
                "ttlSecondsAfterFinished": int(KEPT_AFTER_FAILURE.total_seconds()),
                "template": self._finished_pod(kept=kept),
            },
        }

    def _labels(self) -> dict[str, str]:
        return pool_labels(self.pool) | {VERSION_LABEL: self.version}

    def _finished_pod(self, *, kept: bool) -> Manifest:
        leaving = [] if kept else _idle_arguments(self.pool)
        pod = json.loads(json.dumps(self.pod))
        for container in pod["spec"]["containers"]:
            if container["name"] == WORKER_CONTAINER:
                given = container.get("args") or ()  # a template can have taken them away
                container["args"] = [*given, *leaving, "--build-id", self.version]
        metadata: Manifest = {"labels": self._labels()}
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        return overlay(pod, {"metadata": metadata})


def build_template(pool: WorkerPool, defaults: WorkerDefaults, code: Code | None) -> WorkerTemplate:
    """Return what the pool's Jobs are made from.

    Args:
        pool: The pool.
        defaults: What the operator adds.
        code: The ConfigMap's content, when the pool's code comes from one.
    """
    pod = overlay(_pod(pool, defaults, code), parts_of(pool.spec.template))
    defining = {
        "pod": pod,
        "idle": _idle_arguments(pool),
        "code": dict(code.files) if code else None,
    }
    if code and code.binary:
        defining["binary"] = dict(code.binary)
    text = json.dumps(defining, sort_keys=True, separators=(",", ":"))
    version = hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LENGTH]
    if pool.spec.code is not None:
        name = object_name(pool, version)
        pod["spec"]["volumes"] = _mount_instead(pod, pool.spec.code.config_map, name)
    return _template(pool, pod, version, defaults)


def rebuild_template(pool: WorkerPool, defaults: WorkerDefaults, version: str) -> WorkerTemplate:
    """Return what the Jobs of an older version are made from.

    Args:
        pool: The pool as it was: its modules are named, and its code is the version's own copy.
        defaults: What the operator adds now: where the server is may have changed since.
        version: Its name, as it was found then.
    """
    pod = overlay(_pod(pool, defaults, None), parts_of(pool.spec.template))
    return _template(pool, pod, version, defaults)


def object_name(pool: WorkerPool, version: str) -> str:
    """Return the name of what is kept of a version."""
    return f"{pool.metadata.name}-{version}"


def _template(
    pool: WorkerPool, pod: Manifest, version: str, defaults: WorkerDefaults
) -> WorkerTemplate:
    return WorkerTemplate(
        pool=pool,
        pod=_with_sidecars(pod),
        version=version,
        annotations=access_annotations(defaults),
    )


def _mount_instead(pod: Manifest, config_map: str, other: str) -> list[Manifest]:
    """Return the pod's volumes with the code from another ConfigMap."""
    return [
        {**each, "configMap": {**each["configMap"], "name": other}}
        if each["name"] == "code" and each.get("configMap", {}).get("name") == config_map
        else each
        for each in pod["spec"]["volumes"]
    ]


def _with_sidecars(pod: Manifest) -> Manifest:
    """Return the pod with every container but the worker as a sidecar.

    A pod is over when its containers are, and a proxy never is: the Job would not end. Kubernetes
    stops a sidecar, which is an init container that is restarted always, once the worker has left.
    """
    spec = pod["spec"]
    others = [each for each in spec["containers"] if each["name"] != WORKER_CONTAINER]
    if not others:
        return pod
    sidecars = [{**each, "restartPolicy": "Always"} for each in others]
    workers = [each for each in spec["containers"] if each["name"] == WORKER_CONTAINER]
    init = [*spec.get("initContainers", ()), *sidecars]
    return {**pod, "spec": {**spec, "containers": workers, "initContainers": init}}


def pool_labels(pool: WorkerPool) -> dict[str, str]:
    """Return the labels of everything that belongs to a pool."""
    return {
        "app.kubernetes.io/name": "perdure-worker",
        "app.kubernetes.io/instance": pool.metadata.name,
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/part-of": "perdure",
        "app.kubernetes.io/managed-by": MANAGER,
        POOL_LABEL: pool.metadata.name,
    }


_IGNORE_DISRUPTIONS = {
    # A pod that is evicted or preempted has done nothing wrong: the Job makes another one.
    "action": "Ignore",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}


def owner_of(pool: WorkerPool) -> Manifest:
    """Return what makes an object go when the pool does."""
    return {
        "apiVersion": pool.api_version,
        "kind": pool.kind,
        "name": pool.metadata.name,
        "uid": pool.metadata.uid,
        "controller": True,
    }


def parts_of(template: Manifest | None) -> Manifest:
    """Return the user's template with both of its parts."""
    given = template or {}
    return {"metadata": given.get("metadata") or {}, "spec": given.get("spec") or {}}


def _pod(pool: WorkerPool, defaults: WorkerDefaults, code: Code | None) -> Manifest:
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {}}]
    if pool.spec.code is not None:
        volumes.append({"name": "code", "configMap": {"name": pool.spec.code.config_map}})
    volumes += access_volumes(defaults)
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pool, defaults, code)],
        "volumes": volumes,
    }
    if pool.spec.service_account_name:
        spec["serviceAccountName"] = pool.spec.service_account_name
    return {"metadata": {"labels": pool_labels(pool)}, "spec": spec}


def _container(pool: WorkerPool, defaults: WorkerDefaults, code: Code | None) -> Manifest:
    spec = pool.spec
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the worker's own, in its pod
    if spec.code is not None:
        mounts.append({"name": "code", "mountPath": CODE_PATH})
    mounts += access_mounts(defaults)
    container: Manifest = {
        "name": WORKER_CONTAINER,
        "image": spec.image or defaults.image,
        "command": ["perdure", "worker"],
        "args": _arguments(pool, defaults, spec.modules or (code.modules if code else ())),
        "env": _environment(pool, access_environment(defaults)),
        "volumeMounts": mounts,
        # The last lines of its log are what people need to know of a worker that crashed.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if spec.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.image_pull_policy.value
    return container


def _arguments(pool: WorkerPool, defaults: WorkerDefaults, modules: Sequence[str]) -> list[str]:
    return [
        *modules,
        "--task-queue",
        pool.task_queue,
        "--address",
        defaults.server,
        "--namespace",
        pool.metadata.namespace,
        "--slots",
        str(pool.spec.slots),
    ]


def _idle_arguments(pool: WorkerPool) -> list[str]:
    return ["--idle-after", f"{pool.spec.scaling.idle_after.total_seconds():g}s"]


def _environment(pool: WorkerPool, access: Sequence[Manifest]) -> list[Manifest]:
    ours: list[Manifest] = [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the worker's own, in its pod
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        *access,
    ]
    theirs = [
        each.model_dump(mode="json", exclude_none=True, by_alias=True) for each in pool.spec.env
    ]
    if pool.spec.code is not None:
        path: Any = next((each.get("value") for each in theirs if each["name"] == "PYTHONPATH"), "")
        theirs = [each for each in theirs if each["name"] != "PYTHONPATH"]
        value = f"{CODE_PATH}:{path or IMAGE_CODE_PATH}"
        ours.append({"name": "PYTHONPATH", "value": value})
    names = {each["name"] for each in theirs}
    return [each for each in ours if each["name"] not in names] + theirs
