"""The vocabulary of status conditions: every type, every reason, and how one is set.

Tools read conditions by the rules of kstatus: ``Ready`` says whether the resource is as wanted;
``Reconciling`` and ``Stalled`` are *abnormal-true*, so they are present only while they are true.
A resource that runs to its end has ``Complete`` or ``Failed`` besides, as a Job has, and is Ready
once it is over well or waits as it should.

No other module spells a type or a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perdure_operator.model.fields import Clipped, StatusModel, Time


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    """The resource is as wanted: a pool can take work, a run has ended well. False meanwhile."""
    RECONCILING = "Reconciling"
    """Abnormal-true: the operator is still working on what the spec asks for."""
    STALLED = "Stalled"
    """Abnormal-true: there is no progress, and somebody has to change something."""
    COMPLETE = "Complete"
    """The run or activity is over and succeeded. Gone again only when the run is retried."""
    FAILED = "Failed"
    """The run or activity is over and did not succeed. Gone again only when the run is retried."""
    RETRIED = "Retried"
    """Of a Workflow with ``spec.retries``: whether the last of them made a new run."""
    WORKERS_READY = "WorkersReady"
    """Workers can take the tasks there are: some are ready, or none is needed."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition has the status it has."""

    # Ready and Reconciling, while a run or an activity goes on.
    PENDING = "Pending"
    """Accepted; the run or activity has not started yet."""
    RUNNING = "Running"
    """It has started and has not ended."""
    SUSPENDED = "Suspended"
    """``spec.suspend`` holds it; nothing happens until that is taken back."""
    CANCELING = "Canceling"
    """Cancellation was asked for; the code is given the time to clean up."""
    DELETING = "Deleting"
    """The resource is being deleted; what it started is ended as ``deletionPolicy`` says."""

    # Complete, Failed and Ready, once it has ended.
    SUCCEEDED = "Succeeded"
    """It returned a result."""
    EXECUTION_FAILED = "ExecutionFailed"
    """It raised an error that is not to be retried; ``status.failure`` says which."""
    CANCELED = "Canceled"
    """It ended by its cancellation."""
    TERMINATED = "Terminated"
    """It was ended from outside, without being asked."""
    TIMED_OUT = "TimedOut"
    """It did not end within its timeout."""

    # Retried.
    RETRIED = "RunRetried"
    """There is a new run; the message says where it began."""
    RETRY_REFUSED = "RetryRefused"
    """The run cannot be retried like that; the message says why."""
    RETRY_HELD = "RetryHeld"
    """``spec.cancel`` or ``spec.suspend`` is set: the run is retried when that is taken back."""

    # Stalled.
    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be carried out as written; the message says what to write instead."""
    SPEC_CHANGED = "SpecChanged"
    """What defines the run was changed after its start; the run goes on as it was started."""
    ID_IN_USE = "WorkflowIdInUse"
    """Another Workflow, or code, already started a run under this workflow id."""
    POOL_NOT_FOUND = "WorkerPoolNotFound"
    """There is no WorkerPool of that name in the namespace."""
    CODE_NOT_FOUND = "CodeNotFound"
    """The ConfigMap that holds the code does not exist, or holds no Python file."""
    TYPE_NOT_REGISTERED = "TypeNotRegistered"
    """The workers of the pool do not know the workflow or activity type."""
    NONDETERMINISTIC = "Nondeterministic"
    """Replay gave other commands than history holds; the run waits for code that fits."""
    TASK_FAILING = "WorkflowTaskFailing"
    """The workflow's code fails before it can decide anything; it is tried again."""
    STATE_LOST = "StateLost"
    """The store no longer has the run, and no complete checkpoint is there to rebuild it from."""
    STATE_BEHIND = "StateBehind"
    """The store was put back to an older backup, and has less of the run than was recorded."""
    SERVER_UNAVAILABLE = "ServerUnavailable"
    """The Perdure server does not answer; tried again."""

    # WorkersReady and a pool's Ready.
    IDLE = "Idle"
    """Nothing is runnable, so no worker is needed."""
    STARTING = "WorkersStarting"
    """Worker Jobs exist; none of their pods is ready yet."""
    AVAILABLE = "WorkersAvailable"
    """At least one worker is ready."""
    CRASHING = "WorkersCrashing"
    """Workers fail at their start; the next Job waits for the backoff."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The image of the worker, or of an activity's own pod, cannot be pulled."""
    UNSCHEDULABLE = "Unschedulable"
    """No node takes the pod of the worker, or of the activity."""
    EVICTED = "WorkersEvicted"
    """The worker's pod was evicted or preempted, or its node is gone; another one is made."""
    NOT_STARTING = "WorkersNotStarting"
    """The worker's pod is on a node that does not get it to start, and does not say why."""
    # An Activity's Ready and Stalled, when it has a pod of its own.
    POD_STARTING = "PodStarting"
    """The attempt's Job is there, or is about to be; its container does not run yet."""
    POD_NOT_STARTING = "PodNotStarting"
    """The attempt's container cannot be made; the message says why."""
    # A Schedule's Ready and Stalled.
    SCHEDULED = "Scheduled"
    """The Schedule makes Workflows when it is time."""
    PAUSED = "Paused"
    """``spec.pause`` holds the Schedule."""
    NO_TIME_LEFT = "NoTimeLeft"
    """The Schedule is over: nothing it names is still to come."""
    PAUSED_ON_FAILURE = "PausedOnFailure"
    """A Workflow of the Schedule failed; it is held until its spec is changed."""
    NAME_TAKEN = "NameTaken"
    """An object that is somebody else's has the name that is needed."""
    FORBIDDEN = "Forbidden"
    """The API server refuses what the operator has to create: a quota, a policy or RBAC."""


ABNORMAL_TRUE = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Types that mean trouble when true; absent is how they say that all is well."""


class Condition(StatusModel):
    """One aspect of the resource's state, as the Kubernetes API conventions define it."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What the condition is about, for example Ready."""
    status: ConditionStatus
    """Whether it holds: True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one CamelCase word for programs."""
    message: Annotated[str, Clipped(4096)] = ""
    """Why, in a sentence for people, with what to do about it."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that this was found for."""


def find_condition(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    """Return the condition of this type, if it is there."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: ConditionType) -> bool:
    """Tell whether the condition of this type is there and True."""
    condition = find_condition(conditions, type_)
    return condition is not None and condition.status is ConditionStatus.TRUE


def set_condition(
    conditions: Sequence[Condition],
    type_: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: str,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions with this one added, or replaced where it stands.

    The time of the last transition stays what it was while the status does not change: reason and
    message may. An abnormal-true type that is no longer True is left out altogether.
    """
    if type_ in ABNORMAL_TRUE and status is ConditionStatus.FALSE:
        return clear_condition(conditions, type_)

    before = find_condition(conditions, type_)
    unchanged = before is not None and before.status is status
    after = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before and unchanged else now,
        observed_generation=generation,
    )
    if before is None:
        return (*conditions, after)
    return tuple(after if condition.type == type_ else condition for condition in conditions)


def clear_condition(conditions: Iterable[Condition], type_: ConditionType) -> tuple[Condition, ...]:
    """Return the conditions without the one of this type."""
    return tuple(condition for condition in conditions if condition.type != type_)
