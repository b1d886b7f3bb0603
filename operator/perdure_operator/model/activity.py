"""The Activity: one side effect that somebody wants, or a batch of them, and how it is doing.

It runs a registered activity on the workers of a pool, or any container in a pod of its own, with
retries, without a workflow around it. One that has ``scheduledBy`` starts nothing: it shows an
activity that a run scheduled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from perdure_operator.model.activity_template import ActivityTemplate
from perdure_operator.model.checkpoints import Checkpoint
from perdure_operator.model.fields import (
    AnyJson,
    Clipped,
    ObjectName,
    SpecModel,
    Time,
    TypeName,
    cel,
)
from perdure_operator.model.immutability import immutable
from perdure_operator.model.policies import ActivityTimeouts, Failure, RetryPolicy
from perdure_operator.model.resources import Resource, ResourceStatus

MAX_ARGUMENTS = 64
MAX_ITEMS = 10_000

_REMEDY = "it defines the activity. Make a new Activity, or delete this one first to use its name"
_ITEMS_OR_INPUT = "give input (one activity) or items (a batch, a list of arguments each), not both"
_ONLY_WITH_ITEMS = "is for a batch: give items with it, or leave it out"

NOTHING_TO_RUN = (
    "there is nothing to run: give type (a registered activity) and workerPool, or template (any "
    "container) with an image"
)
NO_POOL = (
    "workerPool is missing: name the WorkerPool whose workers have this activity, or leave type "
    "out to run the template's container"
)
NO_IMAGE = (
    "template.image is missing: without a type the activity is the container of that image; give "
    "type and workerPool to run registered code in a pod of its own"
)
ONLY_FOR_CONTAINERS = (
    "template.command, args and nonRetryableExitCodes are for containers, so for Activities "
    "without a type: leave them out, or leave out type"
)
NO_PODS_FOR_ITEMS = (
    "items and template cannot be together: a batch runs on the workers of its pool; give one "
    "Activity with the template for each item, or leave the template out"
)
CANCEL_THE_RUN = (
    "cancel has no effect on an Activity that shows one of a run: cancel the run (perdure cancel)"
)

Arguments = Annotated[tuple[AnyJson, ...], Field(max_length=MAX_ARGUMENTS)]


class ScheduledBy(SpecModel):
    """The activity of a run that an Activity shows."""

    workflow_id: Annotated[str, Field(min_length=1, max_length=1024)]
    """The run's workflow id."""
    run_id: Annotated[str, Field(min_length=1, max_length=255)]
    """The run."""
    seq: Annotated[int, Field(ge=1)]
    """Which activity of the run: the number that its events in history have."""
    items: Annotated[int, Field(ge=1)] | None = None
    """How many items it has. Without it: it is one activity and no batch."""


_RULES = (
    cel("has(self.type) || has(self.template)", NOTHING_TO_RUN),
    cel(
        "!has(self.type) || has(self.workerPool) || has(self.scheduledBy)",
        NO_POOL,
        field="workerPool",
    ),
    cel(
        "has(self.type) || !has(self.template) || has(self.template.image)",
        NO_IMAGE,
        field="template",
    ),
    cel(
        "!has(self.type) || !has(self.template) || "
        "size(self.template.command) + size(self.template.args) + "
        "size(self.template.nonRetryableExitCodes) == 0",
        ONLY_FOR_CONTAINERS,
        field="template",
    ),
    cel("!has(self.scheduledBy) || !self.cancel", CANCEL_THE_RUN, field="cancel"),
)


class ActivitySpec(SpecModel):
    """The activity that is wanted."""

    model_config = ConfigDict(
        json_schema_extra=immutable(
            "type",
            "parallelism",
            "toleratedFailures",
            "workerPool",
            "retryPolicy",
            "timeouts",
            "scheduledBy",
            hidden=("input", "items", "template"),
            mutable=("cancel", "ttlSecondsAfterFinished"),
            remedy=_REMEDY,
            others=_RULES,
        )
    )

    type: TypeName | None = None
    """The activity's type: the name of the function, or the one given to activity.defn. Without
    it: the container of the template."""
    input: Arguments | None = None
    """The arguments of one activity, in order: any JSON."""
    items: Annotated[tuple[Arguments, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """A batch: a list of arguments for each activity of it. The timeouts and the retryPolicy are
    then each activity's own, except scheduleToClose, which is of the whole."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """How many of the batch are open at once at most. Without it: 1000."""
    tolerated_failures: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None
    """How many of the batch may fail for good without failing the whole. Without it: none."""
    worker_pool: ObjectName | None = None
    """The WorkerPool, in the same namespace, whose workers run it."""
    template: ActivityTemplate | None = None
    """Have a pod of its own for each attempt. Without a type: any container. With one: a worker
    with the code of the pool, laid out as the template says."""
    scheduled_by: ScheduledBy | None = None
    """Set by the operator: this Activity starts nothing, it shows an activity of a run."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How failed attempts are repeated."""
    timeouts: ActivityTimeouts = ActivityTimeouts()
    """How long it may take."""
    cancel: bool = False
    """Whether cancellation is asked for. Once the worker was told, false does not take it back."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """How many seconds after its end the Activity is deleted. Without it: never."""

    # CEL cannot see fields that hold any JSON, so the API server accepts what is refused here;
    # the operator then says so in the Stalled condition.
    @model_validator(mode="after")
    def _is_one_or_a_batch(self) -> ActivitySpec:
        if self.items is not None and self.input is not None:
            raise ValueError(_ITEMS_OR_INPUT)
        if self.items is None and self.parallelism is not None:
            raise ValueError(f"parallelism {_ONLY_WITH_ITEMS}")
        if self.items is None and self.tolerated_failures is not None:
            raise ValueError(f"toleratedFailures {_ONLY_WITH_ITEMS}")
        return self

    @model_validator(mode="after")
    def _has_something_to_run(self) -> ActivitySpec:
        if self.type is None and self.template is None:
            raise ValueError(NOTHING_TO_RUN)
        if self.type is not None and self.worker_pool is None and self.scheduled_by is None:
            raise ValueError(NO_POOL)
        if self.scheduled_by is not None and self.cancel:
            raise ValueError(CANCEL_THE_RUN)
        self._check_template()
        return self

    def _check_template(self) -> None:
        template = self.template
        if template is None:
            return
        if self.items is not None:
            raise ValueError(NO_PODS_FOR_ITEMS)
        if self.type is None and template.image is None:
            raise ValueError(NO_IMAGE)
        of_containers = (template.command, template.args, template.non_retryable_exit_codes)
        if self.type is not None and any(of_containers):
            raise ValueError(ONLY_FOR_CONTAINERS)


class ActivityPhase(StrEnum):
    """An activity's state in one word; programs read the conditions instead."""

    PENDING = "Pending"
    """Waits for a worker, or for its next attempt."""
    RUNNING = "Running"
    """A worker has it."""
    SUCCEEDED = "Succeeded"
    """Ended with a result."""
    FAILED = "Failed"
    """Ended with an error that is not to be retried, or after its last attempt."""
    CANCELED = "Canceled"
    """Ended by its cancellation."""
    TIMED_OUT = "TimedOut"
    """Did not end within its timeout."""

    @property
    def is_final(self) -> bool:
        """Whether the activity has ended."""
        return self not in {ActivityPhase.PENDING, ActivityPhase.RUNNING}


class ActivityStatus(ResourceStatus):
    """How the activity is doing."""

    phase: ActivityPhase | None = None
    """Pending, Running, Succeeded, Failed, Canceled or TimedOut."""
    activity_id: Annotated[str, Field(max_length=255)] | None = None
    """Its identity in the store."""
    run_id: Annotated[str, Field(max_length=255)] | None = None
    """The run in the store that carries it."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """Which attempt is under way, or was the last one; the first is 1."""
    start_time: Time | None = None
    """When it was scheduled."""
    completion_time: Time | None = None
    """When it ended."""
    last_failure: Failure | None = None
    """Why the last attempt that failed did not succeed."""
    result: AnyJson = None
    """What it returned, if that is not longer than 8 KiB."""
    result_omitted: bool = False
    """Whether the result was too long to be shown here."""
    items_total: Annotated[int, Field(ge=0)] | None = None
    """How many activities the batch has."""
    items_running: Annotated[int, Field(ge=0)] | None = None
    """How many activities of the batch workers had when the progress was written."""
    progress: Annotated[str, Field(max_length=63)] | None = None
    """How many activities of the batch have ended, of how many; written in steps of a hundredth."""
    items_succeeded: Annotated[int, Field(ge=0)] | None = None
    """How many activities of the batch have succeeded."""
    items_failed: Annotated[int, Field(ge=0)] | None = None
    """How many activities of the batch have failed for good."""
    failed_indexes: Annotated[str, Clipped(1023)] | None = None
    """Which activities of the batch have failed for good, by their places from 0, as a Job says
    it: 0,3-5,7."""
    checkpoint: Checkpoint | None = None
    """The whole history, compressed, as long as it is small enough."""
    worker: Annotated[str, Clipped(255)] | None = None
    """The worker, or the pod, that has it or had it last."""
    job: Annotated[str, Clipped(63)] | None = None
    """The Job of the attempt that is under way, when it has a pod of its own."""


class Activity(Resource):
    """One side effect, or a batch of them, run on a pool's workers with retries."""

    KIND: ClassVar[str] = "Activity"

    kind: Literal["Activity"] = "Activity"
    """The kind of this object."""
    spec: ActivitySpec
    """The activity that is wanted."""
    status: ActivityStatus = ActivityStatus()
    """How the activity is doing."""
