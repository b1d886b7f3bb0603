"""The WorkerPool: where code runs.

A pool names an image, or a ConfigMap with code, the task queue its workers poll, and how many
workers there may be. The operator makes worker Jobs of it as long as there is work.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from perdure_operator.model.fields import (
    AnyObject,
    Clipped,
    ImageName,
    ObjectName,
    PositiveDuration,
    QueueName,
    SpecModel,
    StatusModel,
    UniqueBy,
    cel,
    cel_rules,
    written,
)
from perdure_operator.model.immutability import immutable
from perdure_operator.model.pod_templates import PodTemplate
from perdure_operator.model.resources import Resource, ResourceStatus

POOL_NAME_MAX_LENGTH = 48
"""Leaves room for a version and a number in the names of Jobs, within a label value's 63."""

WORKER_CONTAINER = "worker"
"""The container of the pod template that is the worker."""


_MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
_AS_IMPORTED = (
    "write a module as Python imports it, for example orders.workflows: a file's name without .py, "
    "dots for slashes, no dashes"
)


def _is_no_file(name: str) -> str:
    if name.endswith(".py"):
        raise ValueError(_AS_IMPORTED)
    return name


ModuleName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=_MODULE,
        json_schema_extra=cel_rules(
            written(_MODULE, _AS_IMPORTED), cel("!self.endsWith('.py')", _AS_IMPORTED)
        ),
    ),
    AfterValidator(_is_no_file),
]
"""A Python module, as an import statement names it."""


class ImagePullPolicy(StrEnum):
    """When a node fetches an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class CodeSource(SpecModel):
    """Code that is not part of an image."""

    config_map: ObjectName
    """The ConfigMap, in the same namespace, whose keys are Python files such as orders.py."""


class ScalingMode(StrEnum):
    """Who decides how many workers there are."""

    BACKLOG = "Backlog"
    """The operator, by the tasks that there are, from min to max."""
    EXTERNAL = "External"
    """Whoever writes spec.replicas: a person, a HorizontalPodAutoscaler, KEDA."""


class Versioning(StrEnum):
    """What becomes of open runs when the pool is changed."""

    PINNED = "Pinned"
    """They stay with the version of the code that they have begun on."""
    AUTO_UPGRADE = "AutoUpgrade"
    """They go on with the new version."""


class Scaling(SpecModel):
    """How many workers there may be, and how long an idle one stays."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "self.min <= self.max",
                "scaling.min is above scaling.max: lower min or raise max",
                field="min",
            )
        )
    )

    min: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many workers are kept even when nothing is runnable."""
    max: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many workers of one version there are at most."""
    idle_after: PositiveDuration = timedelta(seconds=60)
    """How long a worker without work stays before it leaves."""

    @model_validator(mode="after")
    def _min_is_not_above_max(self) -> Scaling:
        if self.min > self.max:
            raise ValueError("scaling.min is above scaling.max: lower min or raise max")
        return self


class PoolScaling(Scaling):
    """How many workers a pool may have, and who says so."""

    mode: ScalingMode = ScalingMode.BACKLOG
    """Backlog: as many workers as the tasks fill, from min to max. External: as many as
    spec.replicas says, which kubectl scale, a HorizontalPodAutoscaler or KEDA may write."""


class EnvVar(SpecModel):
    """An environment variable of the worker, as in a container of a pod."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern="^[^=]+$")]
    """The variable's name."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Its value."""
    value_from: AnyObject | None = None
    """Where its value comes from instead, for example {secretKeyRef: {name: card, key: token}}."""


NO_CODE = (
    "there is no code to run: give image (made FROM perdure-worker) and modules, or "
    "code.configMap with the Python files"
)
NO_MODULES = "modules is missing: list the Python modules of the image that hold the workflows"

_CODE_RULES = (
    cel("has(self.image) || has(self.code)", NO_CODE),
    cel(
        "has(self.code) || !has(self.image) || size(self.modules) > 0",
        NO_MODULES,
        field="modules",
    ),
)


class WorkerSpec(SpecModel):
    """Which code runs where; a WorkerPool's spec, and a Workflow's own worker."""

    model_config = ConfigDict(json_schema_extra=cel_rules(*_CODE_RULES))

    image: ImageName | None = None
    """The workers' image, made FROM perdure-worker. With code, and without it: the operator's
    default image."""
    image_pull_policy: ImagePullPolicy | None = None
    """When a node fetches the image. Without it: Always for the tag latest, else IfNotPresent."""
    modules: Annotated[
        tuple[ModuleName, ...],
        Field(max_length=64),
    ] = ()
    """The Python modules whose workflows and activities the workers register, for example
    orders.workflows. With code, and without it: every Python file there."""
    code: CodeSource | None = None
    """Code from a ConfigMap, put in front of what the image holds."""
    task_queue: QueueName | None = None
    """The task queue that the workers poll. Without it: the name of the resource."""
    slots: Annotated[int, Field(ge=1, le=10000)] = 100
    """How many tasks one worker holds at once."""
    scaling: Scaling = Scaling()
    """How many workers there may be."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256), UniqueBy("name")] = ()
    """Environment variables of the workers."""
    service_account_name: ObjectName | None = None
    """The ServiceAccount the workers' pods run as. Without it: the namespace's default one."""
    template: PodTemplate | None = None
    """A pod template (metadata and spec) laid over the one that the operator makes: resources,
    nodeSelector, volumes, more containers. The worker's own container is named worker."""

    @model_validator(mode="after")
    def _there_is_code(self) -> WorkerSpec:
        if self.image is None and self.code is None:
            raise ValueError(NO_CODE)
        if self.code is None and not self.modules:
            raise ValueError(NO_MODULES)
        return self


REPLICAS_NOT_OBEYED = (
    "replicas is obeyed in scaling.mode External only: set that mode, or leave replicas away; in "
    "mode Backlog the workers follow the work between scaling.min and scaling.max"
)


class WorkerPoolSpec(WorkerSpec):
    """Which code runs where, and with how many workers."""

    model_config = ConfigDict(
        json_schema_extra=immutable(
            "taskQueue",
            mutable=(),
            remedy="runs that were started on it wait there. Make a new WorkerPool instead",
            others=[
                *_CODE_RULES,
                cel(
                    "!has(self.replicas) || (has(self.scaling) && has(self.scaling.mode) && "
                    "self.scaling.mode == 'External')",
                    REPLICAS_NOT_OBEYED,
                    field="replicas",
                ),
            ],
        )
    )

    scaling: PoolScaling = PoolScaling()
    """How many workers there may be."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many workers there are, in scaling.mode External; without it none."""
    versioning: Versioning = Versioning.PINNED
    """Pinned: a changed pool is for new runs, and open runs stay with the code that they have begun
    on. AutoUpgrade: open runs go on with the new code at once, which must fit their history."""

    @model_validator(mode="after")
    def _replicas_are_obeyed(self) -> WorkerPoolSpec:
        if self.replicas is not None and self.scaling.mode is not ScalingMode.EXTERNAL:
            raise ValueError(REPLICAS_NOT_OBEYED)
        return self


class PoolPhase(StrEnum):
    """A WorkerPool's state in one word; programs read the conditions instead."""

    PENDING = "Pending"
    """Not looked at yet."""
    IDLE = "Idle"
    """Nothing is runnable; there is no worker."""
    STARTING = "Starting"
    """Workers were asked for; none is ready yet."""
    ACTIVE = "Active"
    """At least one worker is ready."""
    STALLED = "Stalled"
    """Workers are needed and cannot start."""


MAX_SHOWN_VERSIONS = 16


class PoolVersion(StatusModel):
    """One version of the pool's code."""

    hash: Annotated[str, Clipped(64)]
    """Its name, which also is the build id of its workers."""
    current: bool = False
    """Whether new runs start on it."""
    workers: Annotated[int, Field(ge=0)] = 0
    """How many of its workers are connected and take tasks."""
    backlog: Annotated[int, Field(ge=0)] = 0
    """How many tasks wait for one of its workers."""
    open_runs: Annotated[int, Field(ge=0)] = 0
    """How many open runs are pinned to it; a version without any is removed."""


class WorkerPoolStatus(ResourceStatus):
    """What the operator knows about the pool's workers."""

    phase: PoolPhase | None = None
    """Pending, Idle, Starting, Active or Stalled."""
    task_queue: Annotated[str, Clipped(255)] | None = None
    """The task queue that the workers poll."""
    version: Annotated[str, Clipped(64)] | None = None
    """A hash of what defines the workers; new runs start on this version."""
    active_jobs: Annotated[int, Field(ge=0)] = 0
    """How many worker Jobs have not finished."""
    ready_workers: Annotated[int, Field(ge=0)] = 0
    """How many workers are connected and take tasks."""
    backlog: Annotated[int, Field(ge=0)] = 0
    """How many tasks wait for a worker."""
    versions: Annotated[tuple[PoolVersion, ...], Field(max_length=MAX_SHOWN_VERSIONS)] = ()
    """The versions of the code that runs need, the current one first."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """What the scale subresource shows: how many Jobs of the current version have not finished."""
    selector: Annotated[str, Clipped(512)] | None = None
    """What the scale subresource shows: by which labels the workers' pods are found."""


NAME_TOO_LONG = (
    f"the name is longer than {POOL_NAME_MAX_LENGTH} characters, and the names of the worker Jobs "
    "begin with it: choose a shorter one"
)


class WorkerPool(Resource):
    """Where code runs: an image or code from a ConfigMap, a task queue, and bounds."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(f"size(self.metadata.name) <= {POOL_NAME_MAX_LENGTH}", NAME_TOO_LONG)
        )
    )

    KIND: ClassVar[str] = "WorkerPool"

    kind: Literal["WorkerPool"] = "WorkerPool"
    """The kind of this object."""
    spec: WorkerPoolSpec
    """Which code runs where, and with how many workers."""
    status: WorkerPoolStatus = WorkerPoolStatus()
    """What the operator knows about the workers."""

    @model_validator(mode="after")
    def _leaves_room_in_names(self) -> WorkerPool:
        if len(self.metadata.name) > POOL_NAME_MAX_LENGTH:
            raise ValueError(NAME_TOO_LONG)
        return self

    @property
    def task_queue(self) -> str:
        """The task queue that the workers poll."""
        return self.spec.task_queue or self.metadata.name
