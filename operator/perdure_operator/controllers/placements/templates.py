"""The Job of one attempt: of any container, or of a worker that runs this one activity.

A Job makes one pod and never another: what an attempt's end means is decided by the server, so
that an attempt has one effect and not two. Pods meet Pod Security "restricted" as long as the
template says nothing else; they have no token for the API server.

A container finds its input in ``PERDURE_INPUT`` and in the file ``PERDURE_INPUT_FILE``. The file is
made from an annotation of the pod, so no object has to be made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from perdure_operator.cluster import JOBS, Manifest
from perdure_operator.controllers.placements.names import (
    ACTIVITY_LABEL,
    ATTEMPT_LABEL,
    RUN_LABEL,
    WORKFLOW_LABEL,
    label_value,
)
from perdure_operator.controllers.pools.access import (
    WorkerDefaults,
    access_annotations,
    access_environment,
    access_mounts,
    access_volumes,
)
from perdure_operator.controllers.pools.overlaying import overlay
from perdure_operator.controllers.pools.revisions import RevisionFacts, pool_of
from perdure_operator.controllers.pools.templates import (
    MANAGER,
    POOL_LABEL,
    Code,
    WorkerTemplate,
    build_template,
    object_name,
    parts_of,
    rebuild_template,
)
from perdure_operator.model import Activity, WorkerPool
from perdure_operator.model.activity_template import MAIN_CONTAINER, ActivityTemplate
from perdure_operator.model.workerpool import WORKER_CONTAINER

INPUT_ANNOTATION = "perdure.dev/input"
INPUT_VOLUME = "perdure-input"
INPUT_PATH = "/perdure"
INPUT_FILE = "input.json"
RESULT_FILE = "/dev/termination-log"
"""Where the kubelet reads what a container has to say at its end."""

WORKER_IDLE = "60s"
"""After so long a worker of its own leaves whose activity is no longer there."""

ENV_BYTES = 64 * 1024
"""A longer input is in the file alone: the kernel bounds what a process is given at its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, as its Job is made for it."""

    activity: Activity
    name: str
    """The Job's."""
    workflow_id: str
    run_id: str
    seq: int
    number: int

    @property
    def labels(self) -> dict[str, str]:
        """Of the Job and of its pod."""
        return {
            "app.kubernetes.io/name": "perdure-activity",
            "app.kubernetes.io/component": "activity",
            "app.kubernetes.io/part-of": "perdure",
            "app.kubernetes.io/managed-by": MANAGER,
            ACTIVITY_LABEL: label_value(self.activity.metadata.name),
            ATTEMPT_LABEL: str(self.number),
            WORKFLOW_LABEL: label_value(self.workflow_id),
            RUN_LABEL: label_value(self.run_id),
        }

    @property
    def annotations(self) -> dict[str, str]:
        """Of the Job and of its pod."""
        return {ACTIVITY_LABEL: self.activity.metadata.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an attempt's container is given."""

    token: str
    """The right to beat and to report the attempt."""
    arguments: str
    """The activity's input, a JSON list."""
    idempotency_key: str
    """The same for every attempt."""
    heartbeat: str = ""
    """The details of the last heartbeat of the attempt before, a JSON list; empty: none."""


def build_container_job(attempt: Attempt, defaults: WorkerDefaults, given: Given) -> Manifest:
    """Return the Job that runs the Activity's container.

    Args:
        attempt: Which attempt.
        defaults: What every pod is given to reach the server.
        given: What differs from attempt to attempt.
    """
    template = attempt.activity.spec.template
    assert template is not None
    # A container reports with the attempt's token, so it gets none of the ServiceAccount.
    access = replace(defaults, audience="")
    pod = _container_pod(attempt, template, access, given)
    annotations = {INPUT_ANNOTATION: given.arguments, **access_annotations(access)}
    return _build_job(attempt, overlay(pod, parts_of(template.pod)), annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCode:
    """Whose code, image and settings a worker has where the Activity says nothing."""

    pool: WorkerPool
    files: Code | None = None
    """The ConfigMap's content, when the pool's code comes from one."""
    pinned: RevisionFacts | None = None
    """The version of the pool that the attempt is to have; without it: the current one."""


def build_worker_job(
    attempt: Attempt, code: PoolCode, defaults: WorkerDefaults, *, queue: str
) -> Manifest:
    """Return the Job of a worker that runs this attempt and leaves.

    Args:
        attempt: Which attempt.
        code: What the worker runs.
        defaults: What every worker is given.
        queue: The task queue that has nothing but this activity.
    """
    template = attempt.activity.spec.template
    assert template is not None
    made = _worker_template(code, template, defaults, queue)
    pod = overlay(made.pod, parts_of(template.pod))
    for container in pod["spec"]["containers"]:
        if container["name"] == WORKER_CONTAINER:
            extra = ["--once", "--idle-after", WORKER_IDLE, "--build-id", made.version]
            container["args"] = [*(container.get("args") or ()), *extra]
    # It is none of the pool's workers: it takes nothing else, and no scaling counts it.
    pod = overlay(pod, {"metadata": {"labels": {POOL_LABEL: None}}})
    return _build_job(attempt, pod, made.annotations)


def _worker_template(
    of: PoolCode, template: ActivityTemplate, defaults: WorkerDefaults, queue: str
) -> WorkerTemplate:
    """Return what the worker's pod is made from: one version of the pool, adapted."""
    pool, code = of.pool, of.files
    if of.pinned is not None:
        then = _adapted(pool_of(of.pinned, pool), template, queue)
        return rebuild_template(then, defaults, of.pinned.version)
    version = build_template(pool, defaults, code).version
    spec = _adapted(pool, template, queue).spec
    if spec.code is not None:
        # The version's own copy of the code is what there is; whoever makes the pool's workers
        # makes it, and until then the pod waits for it.
        copy = spec.code.model_copy(update={"config_map": object_name(pool, version)})
        modules = spec.modules or (code.modules if code else ())
        spec = spec.model_copy(update={"code": copy, "modules": modules})
    return rebuild_template(pool.model_copy(update={"spec": spec}), defaults, version)


def _adapted(pool: WorkerPool, template: ActivityTemplate, queue: str) -> WorkerPool:
    """Return the pool as if it were this one worker's."""
    known = {each.name for each in template.env}
    env = (*(each for each in pool.spec.env if each.name not in known), *template.env)
    container: Manifest = {"name": WORKER_CONTAINER, **_resources(template)}
    if template.volume_mounts:
        container["volumeMounts"] = list(template.volume_mounts)
    own: Manifest = {"spec": {**_pod_fields(template), "containers": [container]}, "metadata": {}}
    if template.volumes:
        own["spec"]["volumes"] = list(template.volumes)
    changes: dict[str, Any] = {
        "task_queue": queue,
        "slots": 1,
        "env": env,
        "template": overlay(pool.spec.template or {}, own),
    }
    if template.image is not None:
        changes["image"] = template.image
    if template.image_pull_policy is not None:
        changes["image_pull_policy"] = template.image_pull_policy
    return pool.model_copy(update={"spec": pool.spec.model_copy(update=changes)})


def _container_pod(
    attempt: Attempt, template: ActivityTemplate, access: WorkerDefaults, given: Given
) -> Manifest:
    field = {"fieldPath": f"metadata.annotations['{INPUT_ANNOTATION}']"}
    volume = {
        "name": INPUT_VOLUME,
        "downwardAPI": {"items": [{"path": INPUT_FILE, "fieldRef": field}]},
    }
    container: Manifest = {
        "name": MAIN_CONTAINER,
        "image": template.image,
        "env": _environment(attempt, template, access, given),
        "volumeMounts": [
            {"name": INPUT_VOLUME, "mountPath": INPUT_PATH, "readOnly": True},
            *access_mounts(access),
            *template.volume_mounts,
        ],
        "terminationMessagePath": RESULT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **_resources(template),
    }
    if template.command:
        container["command"] = list(template.command)
    if template.args:
        container["args"] = list(template.args)
    if template.image_pull_policy is not None:
        container["imagePullPolicy"] = template.image_pull_policy.value
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [volume, *access_volumes(access), *template.volumes],
        **_pod_fields(template),
    }
    return {"metadata": {}, "spec": spec}


def _environment(
    attempt: Attempt, template: ActivityTemplate, access: WorkerDefaults, given: Given
) -> list[Manifest]:
    values = {
        "PERDURE_INPUT_FILE": f"{INPUT_PATH}/{INPUT_FILE}",
        "PERDURE_RESULT_FILE": RESULT_FILE,
        "PERDURE_ADDRESS": access.server,
        "PERDURE_TASK_TOKEN": given.token,
        "PERDURE_NAMESPACE": attempt.activity.metadata.namespace,
        "PERDURE_WORKFLOW_ID": attempt.workflow_id,
        "PERDURE_RUN_ID": attempt.run_id,
        "PERDURE_ATTEMPT": str(attempt.number),
        "PERDURE_IDEMPOTENCY_KEY": given.idempotency_key,
    }
    if len(given.arguments.encode()) <= ENV_BYTES:
        values["PERDURE_INPUT"] = given.arguments
    if 0 < len(given.heartbeat.encode()) <= ENV_BYTES:
        values["PERDURE_HEARTBEAT_DETAILS"] = given.heartbeat
    theirs = [each.model_dump(mode="json", exclude_none=True) for each in template.env]
    names = {each["name"] for each in theirs}
    ours = [{"name": name, "value": _literal(value)} for name, value in values.items()]
    ours += access_environment(access)
    return [*(each for each in ours if each["name"] not in names), *theirs]


def _literal(value: str) -> str:
    """Return a value that Kubernetes leaves as it is: $(NAME) would be replaced."""
    return value.replace("$", "$$")


def _pod_fields(template: ActivityTemplate) -> Manifest:
    fields: Manifest = {}
    if template.node_selector:
        fields["nodeSelector"] = dict(template.node_selector)
    if template.service_account_name is not None:
        fields["serviceAccountName"] = template.service_account_name
    if template.tolerations:
        fields["tolerations"] = list(template.tolerations)
    if template.image_pull_secrets:
        fields["imagePullSecrets"] = list(template.image_pull_secrets)
    return fields


def _resources(template: ActivityTemplate) -> Manifest:
    return {} if template.resources is None else {"resources": template.resources}


def _build_job(attempt: Attempt, pod: Manifest, annotations: Mapping[str, str]) -> Manifest:
    activity, metadata = attempt.activity, attempt.activity.metadata
    both = {"labels": attempt.labels, "annotations": attempt.annotations}
    marked = overlay(
        pod,
        {
            "metadata": {**both, "annotations": {**attempt.annotations, **annotations}},
            "spec": {"restartPolicy": "Never"},
        },
    )
    owner = {
        "apiVersion": activity.api_version,
        "kind": activity.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
    }
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": attempt.name,
            "namespace": metadata.namespace,
            **both,
            "ownerReferences": [owner],
        },
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": marked},
    }
