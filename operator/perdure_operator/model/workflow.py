"""The Workflow: one run that somebody wants, and how it is doing.

What defines the run (type, input, where it runs, limits) cannot be changed once it is there: the
API server checks that by the rules at :class:`WorkflowSpec`. What may be changed steers the run:
suspend, cancel, signals, and what happens afterwards.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from perdure_operator.model.checkpoints import Checkpoint
from perdure_operator.model.fields import (
    AnyJson,
    AnyObject,
    Clipped,
    ObjectName,
    SpecModel,
    StatusModel,
    Time,
    TypeName,
    UniqueBy,
    cel,
    cel_rules,
)
from perdure_operator.model.immutability import immutable
from perdure_operator.model.policies import Failure, WorkflowTimeouts
from perdure_operator.model.resources import Resource, ResourceStatus
from perdure_operator.model.workerpool import WorkerSpec

MAX_ARGUMENTS = 64
MAX_SIGNALS = 512
MAX_RETRIES = 64

RESULT_LIMIT_BYTES = 8192
"""A longer result is left out of the status; ``perdure result`` prints it."""

HISTORY_TAIL = 20
"""How many of the last events the status shows."""


_REMEDY = "it defines the run. Make a new Workflow, or delete this one first to use its name again"
_ONE_WORKER = "give exactly one of workerPool (a WorkerPool's name) and worker (a pool of its own)"


class DeletionPolicy(StrEnum):
    """What happens to a run whose Workflow is deleted."""

    CANCEL = "Cancel"
    """It is canceled, and may clean up first."""
    TERMINATE = "Terminate"
    """It is ended at once."""
    ORPHAN = "Orphan"
    """It goes on without a Workflow."""


class Signal(SpecModel):
    """A message for the run, delivered once."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "self == oldSelf",
                "a signal cannot be changed once it is there: append another one with a new id",
            )
        )
    )

    id: Annotated[str, Field(min_length=1, max_length=63)]
    """What tells this signal from all others of this Workflow; each id is delivered once."""
    name: TypeName
    """The signal's name, as the workflow's code declares it."""
    input: Annotated[tuple[AnyJson, ...], Field(max_length=MAX_ARGUMENTS)] = ()
    """The arguments, in order."""


class RetryFrom(StrEnum):
    """Where a retry begins."""

    FAILED_STEP = "FailedStep"
    """At what made the run end; nothing that was done before or beside it is done again."""
    START = "Start"
    """At the beginning, with the same input and all signals."""


class Retry(SpecModel):
    """A wish to have a run that has ended go on, fulfilled once."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "self == oldSelf",
                "a retry cannot be changed once it is there: append another one with a new id",
            )
        )
    )

    id: Annotated[str, Field(min_length=1, max_length=63)]
    """What tells this retry from all others of this Workflow."""
    from_: Annotated[RetryFrom, Field(alias="from")] = RetryFrom.FAILED_STEP
    """Where it begins: FailedStep (what was done is not done again) or Start."""


class WorkflowSpec(SpecModel):
    """The run that is wanted."""

    model_config = ConfigDict(
        json_schema_extra=immutable(
            "type",
            "workerPool",
            "worker",
            "workflowId",
            "timeouts",
            "memo",
            hidden=("input",),
            mutable=(
                "suspend",
                "cancel",
                "signals",
                "retries",
                "ttlSecondsAfterFinished",
                "deletionPolicy",
            ),
            remedy=_REMEDY,
            others=[cel("has(self.workerPool) != has(self.worker)", _ONE_WORKER)],
        )
    )

    type: TypeName
    """The workflow's type: the name of the class, or the one given to workflow.defn."""
    input: Annotated[tuple[AnyJson, ...], Field(max_length=MAX_ARGUMENTS)] = ()
    """The arguments of the workflow's run method, in order: any JSON."""
    worker_pool: ObjectName | None = None
    """The WorkerPool, in the same namespace, whose workers run it."""
    worker: WorkerSpec | None = None
    """Workers of this run's own, for a manifest that stands alone."""
    workflow_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The run's identity in the store. Without it: the name of the Workflow."""
    timeouts: WorkflowTimeouts = WorkflowTimeouts()
    """How long it may take."""
    memo: AnyObject | None = None
    """Notes that are stored with the run and shown with it: any JSON object."""
    suspend: bool = False
    """Whether the run is held: true lets it take no further step, false lets it go on."""
    cancel: bool = False
    """Whether cancellation is asked for. Once the run was told, false does not take it back."""
    signals: Annotated[
        tuple[Signal, ...],
        Field(
            max_length=MAX_SIGNALS,
            json_schema_extra=cel_rules(
                cel(
                    "oldSelf.all(old, self.exists(new, new.id == old.id))",
                    "signals can only be appended: leave those that are there in the list",
                )
            ),
        ),
        UniqueBy("id"),
    ] = ()
    """Messages for the run, each delivered once. Append to the list; leave what is in it."""
    retries: Annotated[
        tuple[Retry, ...],
        Field(
            max_length=MAX_RETRIES,
            json_schema_extra=cel_rules(
                cel(
                    "oldSelf.all(old, self.exists(new, new.id == old.id))",
                    "retries can only be appended: leave those that are there in the list",
                )
            ),
        ),
        UniqueBy("id"),
    ] = ()
    """Append one to have a run that has ended go on: what failed is done again. Each is done once;
    one that is seen before the run has ended is not needed, and does nothing."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """How many seconds after its end the Workflow is deleted. Without it: never."""
    deletion_policy: DeletionPolicy = DeletionPolicy.CANCEL
    """What happens to the run when the Workflow is deleted before its end."""

    @model_validator(mode="after")
    def _runs_in_one_place(self) -> WorkflowSpec:
        if (self.worker_pool is None) == (self.worker is None):
            raise ValueError(_ONE_WORKER)
        return self


class WorkflowPhase(StrEnum):
    """A run's state in one word; programs read the conditions instead."""

    PENDING = "Pending"
    """Not started yet."""
    RUNNING = "Running"
    """Started, and not ended."""
    SUSPENDED = "Suspended"
    """Held by ``spec.suspend``."""
    SUCCEEDED = "Succeeded"
    """Ended with a result."""
    FAILED = "Failed"
    """Ended with an error."""
    CANCELED = "Canceled"
    """Ended by its cancellation."""
    TERMINATED = "Terminated"
    """Ended from outside, without being asked."""
    TIMED_OUT = "TimedOut"
    """Did not end within its timeout."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in _OPEN_PHASES


_OPEN_PHASES = frozenset({WorkflowPhase.PENDING, WorkflowPhase.RUNNING, WorkflowPhase.SUSPENDED})


class HistorySummary(StatusModel):
    """The run's history, in short."""

    events: Annotated[int, Field(ge=0)] = 0
    """How many events it has."""
    digest: Annotated[str, Clipped(128)] = ""
    """The head of the events' hash chain, for example sha256:9f86d0…"""
    tail: Annotated[tuple[Annotated[str, Clipped(512)], ...], Field(max_length=HISTORY_TAIL)] = ()
    """The last events, a line each."""


class RetryOutcome(StrEnum):
    """What became of a wish to retry."""

    RETRIED = "Retried"
    """There is a new run."""
    REFUSED = "Refused"
    """There is none, and the message says why."""
    NOT_NEEDED = "NotNeeded"
    """The run had not ended when the wish was seen."""


class RetryRecord(StatusModel):
    """What became of one of ``spec.retries``."""

    id: Annotated[str, Field(max_length=63)]
    """Its id."""
    outcome: RetryOutcome
    """Retried, Refused or NotNeeded."""
    run_id: Annotated[str, Field(max_length=255)] | None = None
    """The run that it made."""
    message: Annotated[str, Clipped(512)] = ""
    """Where the new run began, and what the earlier one did after that; or why there is none."""


class WorkflowStatus(ResourceStatus):
    """How the run is doing."""

    phase: WorkflowPhase | None = None
    """Pending, Running, Suspended, Succeeded, Failed, Canceled, Terminated or TimedOut."""
    workflow_id: Annotated[str, Field(max_length=255)] | None = None
    """The run's identity in the store."""
    run_id: Annotated[str, Field(max_length=255)] | None = None
    """Which execution of it this is."""
    task_queue: Annotated[str, Clipped(255)] | None = None
    """The task queue that the run's tasks go to."""
    current_step: Annotated[str, Clipped(255)] | None = None
    """What the run is doing, or what it waits for."""
    start_time: Time | None = None
    """When the run started."""
    completion_time: Time | None = None
    """When the run ended."""
    result: AnyJson = None
    """What the run returned, if that is not longer than 8 KiB; `perdure result` prints any."""
    result_omitted: bool = False
    """Whether the result was too long to be shown here."""
    failure: Failure | None = None
    """Why the run did not succeed."""
    history: HistorySummary | None = None
    """The run's history, in short."""
    checkpoint: Checkpoint | None = None
    """The whole history, compressed, as long as it is small enough."""
    delivered_signals: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(max_length=MAX_SIGNALS, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ()
    """The ids of the signals that the run has received."""
    retries: Annotated[
        tuple[RetryRecord, ...],
        Field(
            max_length=MAX_RETRIES,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
            },
        ),
    ] = ()
    """What became of each of spec.retries."""
    pending_activities: Annotated[int, Field(ge=0)] = 0
    """How many activities of the run are open."""


class Workflow(Resource):
    """One run of a workflow: a function that goes on to its end across crashes and waits."""

    KIND: ClassVar[str] = "Workflow"

    kind: Literal["Workflow"] = "Workflow"
    """The kind of this object."""
    spec: WorkflowSpec
    """The run that is wanted."""
    status: WorkflowStatus = WorkflowStatus()
    """How the run is doing."""

    @property
    def workflow_id(self) -> str:
        """The run's identity in the store."""
        return self.spec.workflow_id or self.metadata.name
