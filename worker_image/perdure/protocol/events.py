"""The facts that a history is made of.

An event records something that has happened, so its name is in the past tense, and once
recorded it is never changed, reordered or removed. Events carry data only.

Three kinds, by who brings them about:

* *command events* record what the workflow's code asked for, in the order asked, right
  behind the :class:`WorkflowTaskCompleted` of the activation that asked;
* *resolutions* are what workflow code is told: signals, results, fired timers, a request to
  cancel;
* the rest is bookkeeping that workflow code never sees.

**Activations.** Workflow code runs in activations: it is told some events, runs until
everything in it waits, and asks for things. Which events one activation was told must be
recorded, or a replay could tell them in other portions and the code could take another path.
``through`` is that record: it names the last event that the activation had been told. It
stands on :class:`WorkflowTaskCompleted`, or, when an activation asked for steps only, on the
:class:`StepCompleted`/:class:`StepFailed` that follows it, so that a step costs one event.
"""

from __future__ import annotations

import msgspec

from perdure.protocol.batch_events import BatchCanceled as BatchCanceled  # noqa: PLC0414 - an event
from perdure.protocol.batch_events import BatchCompleted as BatchCompleted  # noqa: PLC0414 - an event
from perdure.protocol.batch_events import BatchFailed as BatchFailed  # noqa: PLC0414 - an event
from perdure.protocol.batch_events import BatchItemsClosed as BatchItemsClosed  # noqa: PLC0414 - an event
from perdure.protocol.batch_events import BatchScheduled as BatchScheduled  # noqa: PLC0414 - an event
from perdure.protocol.failures import Failure, RetryState
from perdure.protocol.items import ItemResult as ItemResult  # noqa: PLC0414 - part of the events
from perdure.protocol.payloads import Millis, Payload, Payloads, RetryPolicy
from perdure.protocol.placements import Placement
from perdure.protocol.retries import KeyRange, Retried


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    pass


class WorkflowStarted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run exists. Always the first event."""

    workflow_type: str
    """For a standalone activity: the activity's type."""
    task_queue: str
    input: Payloads = ()
    run_id: str
    """Also seeds the run's random numbers, unless ``seed`` does."""
    kind: str = "workflow"
    """``workflow``, or ``activity`` for an activity that a client started on its own."""
    attempt: int = 1
    execution_timeout: Millis | None = None
    run_timeout: Millis | None = None
    task_timeout: Millis = 10_000
    retry_policy: RetryPolicy | None = None
    memo: dict[str, Payload] = {}
    headers: dict[str, Payload] = {}
    identity: str = ""
    request_id: str = ""
    """What makes starting twice with the same request harmless."""
    retried: Retried | None = None
    """Set when the run is a retry of an earlier one."""
    seed: str = ""
    """Seeds the random numbers instead of the run id: what the earlier run drew is drawn again."""
    keys: tuple[KeyRange, ...] = ()
    """Whose idempotency keys the first numbers have, in ascending order; later ones its own."""


class WorkflowTaskCompleted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """An activation was run; its command events follow."""

    through: int
    """The last event that the activation had been told."""
    started: Millis
    """When the activation's task was handed out: the workflow's time during it."""
    asked: int = 0
    """The highest number (``seq``) that the code had taken by the end of the activation."""
    busy: bool = False
    """Steps of the run were still running: its task goes on."""
    identity: str = ""
    build_id: str = ""


class WorkflowTaskFailed(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Workflow code could not be run; it is tried again, the first failure is recorded."""

    cause: str
    """``WorkflowError``, ``Nondeterminism``, ``UnknownWorkflowType``, ``PayloadTooLarge``…"""
    failure: Failure
    identity: str = ""
    build_id: str = ""


class ActivityScheduled(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Command event of ``ScheduleActivity``, whose fields it repeats."""

    seq: int
    activity_id: str
    activity_type: str
    task_queue: str
    input: Payloads = ()
    schedule_to_close_timeout: Millis | None = None
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    headers: dict[str, Payload] = {}
    summary: str = ""
    placement: Placement | None = None


class ActivityStarted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The attempt that closed the activity; written together with the closing event."""

    seq: int
    attempt: int
    started: Millis
    identity: str = ""
    last_failure: Failure | None = None


class ActivityCompleted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: the activity returned."""

    seq: int
    result: Payload | None = None


class ActivityFailed(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: the activity raised and is not tried again."""

    seq: int
    failure: Failure
    retry_state: RetryState


class ActivityTimedOut(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: a timeout passed and the activity is not tried again."""

    seq: int
    failure: Failure
    retry_state: RetryState


class ActivityCancelRequested(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Command event of ``RequestCancelActivity``; ``seq`` may be a batch's."""

    seq: int


class ActivityCanceled(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: the activity ended because it was asked to."""

    seq: int
    details: Payloads = ()


class StepCompleted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: a step, run in the workflow's own worker, returned."""

    seq: int
    name: str
    result: Payload | None = None
    attempt: int = 1
    through: int = 0
    """See the module; 0 when a WorkflowTaskCompleted says it already."""
    started: Millis = 0
    """With ``through``: the time of that activation."""
    build_id: str = ""
    """With ``through``, when the history did not say so yet: which version ran the code."""
    asked: int = 0
    """With ``through``: as in :class:`WorkflowTaskCompleted`."""


class StepFailed(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: a step raised and is not tried again."""

    seq: int
    name: str
    failure: Failure
    attempt: int = 1
    through: int = 0
    started: Millis = 0
    build_id: str = ""
    asked: int = 0


class TimerStarted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Command event of ``StartTimer``."""

    seq: int
    delay: Millis
    fires: Millis
    """When it is due: the time of this event plus ``delay``."""
    summary: str = ""


class TimerFired(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: the wake-up that ``TimerStarted`` with the same ``seq`` asked for."""

    seq: int


class TimerCanceled(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Command event of ``CancelTimer``."""

    seq: int


class SignalReceived(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: somebody told the run something."""

    name: str
    input: Payloads = ()
    identity: str = ""
    signal_id: str = ""
    """Two signals with the same non-empty id are one."""


class CancelRequested(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Resolution: the run was asked to end."""

    reason: str = ""
    identity: str = ""


class Suspended(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody held the run: its code is not run and no attempt begins until it is resumed."""

    reason: str = ""
    identity: str = ""


class Resumed(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody let a suspended run go on."""

    identity: str = ""


class WorkflowCompleted(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run returned. Command event of ``CompleteWorkflow``."""

    result: Payload | None = None


class WorkflowFailed(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run raised. Command event of ``FailWorkflow``."""

    failure: Failure
    failed_seq: int = 0
    """The activity or step whose failure made it raise; 0: the code raised of itself."""


class WorkflowCanceled(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run ended as asked. Command event of ``CancelWorkflow``."""

    details: Payloads = ()


class WorkflowTerminated(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run was ended from outside, without asking its code."""

    reason: str = ""
    details: Payloads = ()
    identity: str = ""


class WorkflowTimedOut(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The run took longer than its execution or run timeout."""


Event = (
    WorkflowStarted
    | WorkflowTaskCompleted
    | WorkflowTaskFailed
    | ActivityScheduled
    | ActivityStarted
    | ActivityCompleted
    | ActivityFailed
    | ActivityTimedOut
    | ActivityCancelRequested
    | ActivityCanceled
    | BatchScheduled
    | BatchItemsClosed
    | BatchCompleted
    | BatchFailed
    | BatchCanceled
    | StepCompleted
    | StepFailed
    | TimerStarted
    | TimerFired
    | TimerCanceled
    | SignalReceived
    | CancelRequested
    | Suspended
    | Resumed
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCanceled
    | WorkflowTerminated
    | WorkflowTimedOut
)

COMMAND_EVENTS = (
    ActivityScheduled,
    BatchScheduled,
    ActivityCancelRequested,
    TimerStarted,
    TimerCanceled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowCanceled,
)
"""What workflow code asked for; matched one by one on replay."""

RESOLUTIONS = (
    ActivityCompleted,
    ActivityFailed,
    ActivityTimedOut,
    ActivityCanceled,
    BatchItemsClosed,
    BatchCompleted,
    BatchFailed,
    BatchCanceled,
    StepCompleted,
    StepFailed,
    TimerFired,
    SignalReceived,
    CancelRequested,
)
"""What workflow code is told (besides the start itself)."""

ACTIVITY_ENDS = (ActivityCompleted, ActivityFailed, ActivityTimedOut, ActivityCanceled)
"""How an activity is over; the attempt that ended it is recorded right before."""

BATCH_ENDS = (BatchCompleted, BatchFailed, BatchCanceled)
"""How a batch is over; the results of its items are recorded before."""

CLOSING_EVENTS = (
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowCanceled,
    WorkflowTerminated,
    WorkflowTimedOut,
)
"""The end of a run: at most one in a history, and nothing after it."""


class HistoryEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event at its place in a run's history."""

    id: int
    """From 1, without gaps."""
    time: Millis
    """When it was recorded; never earlier than the event before it."""
    event: Event


def event_name(event: Event) -> str:
    """Return the public name of an event's kind, e.g. ``TimerFired``."""
    return type(event).__name__


encode_events = msgspec.msgpack.Encoder().encode
"""Encode a list of :class:`HistoryEvent` as it is stored and hashed."""

decode_events = msgspec.msgpack.Decoder(list[HistoryEvent]).decode
"""The reverse of :func:`encode_events`."""

_FEW = 15
"""MessagePack writes a map of at most so many entries with a short head."""


def hashed_form(recorded: HistoryEvent) -> bytes:
    """Return what the hash chain of a history is over.

    It is :func:`encode_events`, in a form that stays the same when an event's kind is given more
    fields: msgspec takes a long head for kinds with many fields, however few of them are set, and
    what an earlier version recorded must have the digest that it had then.
    """
    if len(recorded.event.__struct_fields__) < _FEW:
        return encode_events(recorded)
    return encode_events(msgspec.to_builtins(recorded, builtin_types=(bytes,)))
