"""The custom resources there are, and how kubectl shows each.

A new kind is a model module and one entry in :data:`KINDS`; its CRD follows from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure_operator.model.activity import Activity
from perdure_operator.model.resources import GROUP, Resource
from perdure_operator.model.schedule import Schedule
from perdure_operator.model.workerpool import WorkerPool
from perdure_operator.model.workflow import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of ``kubectl get``."""

    name: str
    """Its heading."""
    path: str
    """Where the value is, as a JSONPath from the object's root."""
    type: str = "string"
    """string, integer, number, boolean or date."""
    description: str
    """What the value means."""
    wide: bool = False
    """Whether only ``-o wide`` shows it."""


_AGE = Column(
    name="Age",
    path=".metadata.creationTimestamp",
    type="date",
    description="How long ago it was created.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """What a CRD says besides the schema."""

    model: type[Resource]
    """The pydantic model that the schema comes from."""
    plural: str
    """The name in URLs and after ``kubectl get``."""
    short_names: tuple[str, ...]
    """What may be typed instead; wf and the like belong to others."""
    columns: tuple[Column, ...]
    """What ``kubectl get`` prints after the name."""
    selectable: tuple[str, ...]
    """The fields that ``--field-selector`` and watches may select by."""
    scale: Mapping[str, str] | None = None
    """Where the scale subresource finds its numbers, if there is one."""

    @property
    def name(self) -> str:
        """The kind."""
        return self.model.KIND

    @property
    def singular(self) -> str:
        """The name of one."""
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        """The name of the CRD."""
        return f"{self.plural}.{GROUP}"


WORKFLOW = ResourceKind(
    model=Workflow,
    plural="workflows",
    short_names=("pwf",),
    columns=(
        Column(name="Type", path=".spec.type", description="The workflow's type."),
        Column(name="Phase", path=".status.phase", description="The run's state."),
        Column(name="Step", path=".status.currentStep", description="What it does or waits for."),
        _AGE,
        Column(
            name="Events",
            path=".status.history.events",
            type="integer",
            description="The length of its history.",
            wide=True,
        ),
        Column(
            name="Workflow ID",
            path=".status.workflowId",
            description="The run's identity in the store.",
            wide=True,
        ),
        Column(
            name="Reason",
            path='.status.conditions[?(@.type=="Ready")].reason',
            description="Why it is, or is not, Ready.",
            wide=True,
        ),
    ),
    selectable=(".status.phase", ".spec.type"),
)

ACTIVITY = ResourceKind(
    model=Activity,
    plural="activities",
    short_names=("pact",),
    columns=(
        Column(name="Type", path=".spec.type", description="The activity's type."),
        Column(name="Phase", path=".status.phase", description="Its state."),
        Column(
            name="Attempt",
            path=".status.attempt",
            type="integer",
            description="Which attempt is under way.",
        ),
        Column(
            name="Progress",
            path=".status.progress",
            description="How many activities of the batch have ended, of how many.",
        ),
        Column(name="Pool", path=".spec.workerPool", description="The pool that runs it."),
        Column(
            name="Workflow",
            path=".spec.scheduledBy.workflowId",
            description="The run that scheduled it.",
        ),
        _AGE,
        Column(
            name="Succeeded",
            path=".status.itemsSucceeded",
            type="integer",
            description="How many activities of the batch have succeeded.",
            wide=True,
        ),
        Column(
            name="Failed",
            path=".status.itemsFailed",
            type="integer",
            description="How many activities of the batch have failed for good.",
            wide=True,
        ),
        Column(
            name="Failure",
            path=".status.lastFailure.message",
            description="Why the last attempt failed.",
            wide=True,
        ),
        Column(
            name="Image",
            path=".spec.template.image",
            description="What its own pod runs.",
            wide=True,
        ),
        Column(
            name="Job",
            path=".status.job",
            description="The Job of the attempt that is under way.",
            wide=True,
        ),
    ),
    selectable=(".status.phase", ".spec.type"),
)

WORKER_POOL = ResourceKind(
    model=WorkerPool,
    plural="workerpools",
    short_names=("pwp", "wpool"),
    columns=(
        Column(name="Phase", path=".status.phase", description="The pool's state."),
        Column(name="Queue", path=".status.taskQueue", description="The task queue it polls."),
        Column(
            name="Backlog",
            path=".status.backlog",
            type="integer",
            description="How many tasks wait for a worker.",
        ),
        Column(
            name="Workers",
            path=".status.readyWorkers",
            type="integer",
            description="How many workers are connected.",
        ),
        Column(
            name="Max",
            path=".spec.scaling.max",
            type="integer",
            description="How many workers there are at most.",
        ),
        _AGE,
        Column(name="Image", path=".spec.image", description="The workers' image.", wide=True),
        Column(
            name="Version",
            path=".status.version",
            description="The version that new runs start on.",
            wide=True,
        ),
    ),
    selectable=(".status.phase",),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

SCHEDULE = ResourceKind(
    model=Schedule,
    plural="schedules",
    short_names=("psched",),
    columns=(
        Column(name="Phase", path=".status.phase", description="Active, Paused or Completed."),
        Column(
            name="Active",
            path=".status.activeCount",
            type="integer",
            description="How many of its Workflows are not over.",
        ),
        Column(
            name="Last",
            path=".status.lastScheduleTime",
            type="date",
            description="How long ago it was last time.",
        ),
        Column(
            name="Next", path=".status.nextScheduleTimes[0]", description="When it is time next."
        ),
        _AGE,
        Column(
            name="Time Zone",
            path=".spec.timeZone",
            description="The time zone of its local times.",
            wide=True,
        ),
        Column(name="Note", path=".spec.note", description="Why it is as it is.", wide=True),
    ),
    selectable=(".status.phase",),
)

KINDS = (WORKFLOW, ACTIVITY, WORKER_POOL, SCHEDULE)
"""Every kind, in the order in which they are explained."""
