"""The worker stream: one WebSocket a worker, each frame a list of messages.

The worker says :class:`Hello` and is answered with :class:`Welcome`. From then on the server
hands out tasks up to the worker's free slots, and the worker reports.

**A workflow task** begins with :class:`WorkflowTask` and lasts until the worker reports
:class:`TaskProgress` with ``done``. Every report is numbered. The server answers each with
:class:`TaskEvents`, which carries every event recorded since the last one sent, the worker's
own included: the worker goes on only with what came back, because only that is on disk. While
the task lasts, other events of the run (a signal) arrive by the same message. When the worker
is done and more has happened, the next :class:`WorkflowTask` follows, with the new events only;
a report that is done has no other answer, unless it is refused.

**An activity task** is one attempt. ``run`` + ``seq`` + ``attempt`` is its fencing token: a
report for an attempt that is no longer the current one is refused. A worker keeps a result
until it is acknowledged, and repeats it after a reconnect.

A worker that has not been heard of for the lease's time has lost all that it held.
"""

from __future__ import annotations

import msgspec

from perdure.protocol.commands import Command
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis, Payload, Payloads

PROTOCOL_VERSION = 1


class _Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    pass


class RunRef(msgspec.Struct, frozen=True, array_like=True):
    """A run's full name."""

    namespace: str
    workflow_id: str
    run_id: str


class AttemptRef(msgspec.Struct, frozen=True, array_like=True):
    """One attempt of one activity: its fencing token."""

    run_id: str
    seq: int
    attempt: int


# --- from the worker -------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The first message. A worker that reconnects gives the same ``worker_id``."""

    version: int = PROTOCOL_VERSION
    worker_id: str
    """Unique to the process: the lease's owner."""
    identity: str
    """For people: process, host."""
    namespace: str
    task_queue: str
    build_id: str = ""
    workflow_types: tuple[str, ...] = ()
    activity_types: tuple[str, ...] = ()
    workflow_slots: int = 100
    activity_slots: int = 100
    held: tuple[AttemptRef, ...] = ()
    """Attempts still running, or finished and not yet acknowledged, since before a reconnect.

    They take no slot again: the server goes on with their leases."""


class Activation(msgspec.Struct, frozen=True, array_like=True):
    """One run of workflow code: what it had been told, and its time."""

    through: int
    started: Millis
    asked: int = 0
    """The highest number that the code has taken by now."""


class StepResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished step: ``failure`` says that it raised, otherwise it returned ``result``."""

    seq: int
    name: str
    result: Payload | None = None
    failure: Failure | None = None
    attempt: int = 1


class TaskProgress(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a workflow task has come to; recorded in one commit, or refused whole."""

    task: int
    number: int
    """Of this report within the task, from 1."""
    activations: tuple[Activation, ...] = ()
    """Run since the last report, oldest first."""
    commands: tuple[Command, ...] = ()
    """Asked for by the last of the activations."""
    steps: tuple[StepResult, ...] = ()
    done: bool = False
    """Nothing of the run is left to do here (no step running): give the task back."""


class TaskFailed(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The workflow's code could not be run. The worker has dropped the run from its cache."""

    task: int
    cause: str
    failure: Failure


class ActivityReport(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """How an attempt ended: with ``failure`` (a canceled one if it was cancelled) or ``result``."""

    attempt: AttemptRef
    result: Payload | None = None
    failure: Failure | None = None


class ActivityHeartbeat(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The attempt is alive; ``details`` are given to the next one."""

    attempt: AttemptRef
    details: Payloads = ()


class QueryAnswer(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an :class:`AskQuery`."""

    query: int
    result: Payload | None = None
    failure: Failure | None = None


class RunEvicted(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The worker dropped this run from its cache: send its whole history next time.

    If it holds the run's task, that is given back; a query of the run that it has not answered
    is asked again.
    """

    run_id: str


class Ping(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """I am alive. Sent several times a lease."""


class Drain(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Hand me nothing new; I finish what I hold."""


class NewToken(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The worker's token was renewed: a connection is good for no longer than its newest token."""

    token: str


FromWorker = (
    Hello
    | TaskProgress
    | TaskFailed
    | ActivityReport
    | ActivityHeartbeat
    | QueryAnswer
    | RunEvicted
    | Ping
    | Drain
    | NewToken
)

# --- from the server -------------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The worker is known from now on."""

    lease: Millis
    """Silence longer than this loses everything that the worker holds."""
    server_version: str = ""


class WorkflowTask(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Run this run's code."""

    task: int
    run: RunRef
    started: Millis
    """The time of the task's first activation."""
    events: tuple[HistoryEvent, ...]
    """From event 1 when ``complete``, else what is new since the last event sent for this run."""
    complete: bool = False
    attempt: int = 1


class TaskEvents(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """What was recorded for the run of ``task`` since the last events sent.

    Acknowledges the reports up to ``number``. ``events`` may be empty.
    """

    task: int
    number: int = 0
    events: tuple[HistoryEvent, ...] = ()


class TaskRefused(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing of this task is recorded any more: drop the run from the cache.

    It comes again, whole, if there is anything to do.
    """

    task: int
    reason: str


class ActivityTask(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Run one attempt of an activity."""

    attempt: AttemptRef
    namespace: str
    workflow_id: str
    workflow_type: str
    activity_id: str
    activity_type: str
    task_queue: str
    input: Payloads = ()
    headers: dict[str, Payload] = {}
    scheduled: Millis
    started: Millis
    schedule_to_close_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    heartbeat_details: Payloads = ()
    """Of the attempt before."""
    standalone: bool = False
    idempotency_key: str = ""
    """Empty: the usual one, the attempt's run id and number as text with a colon between."""
    item: int | None = None
    """The index of a batch's item; ``attempt.seq`` is then made by ``protocol.items``."""


class ReportAccepted(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The attempt's report is on disk, or was refused because the attempt is over."""

    attempt: AttemptRef
    accepted: bool = True


class CancelActivity(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Stop this attempt: ``cancel_requested``, ``not_found``, ``timed_out``."""

    attempt: AttemptRef
    reason: str


class AskQuery(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Ask a run's code something; ``events`` as in :class:`WorkflowTask`."""

    query: int
    run: RunRef
    name: str
    input: Payloads = ()
    events: tuple[HistoryEvent, ...] = ()
    complete: bool = False


class EvictRun(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The run is over or lives elsewhere: drop it from the cache."""

    run_id: str


class Pong(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """Answer to :class:`Ping`."""


class Refused(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """The server cannot serve this worker, and says why; the connection is closed."""

    reason: str


FromServer = (
    Welcome
    | WorkflowTask
    | TaskEvents
    | TaskRefused
    | ActivityTask
    | ReportAccepted
    | CancelActivity
    | AskQuery
    | EvictRun
    | Pong
    | Refused
)

encode_frame = msgspec.msgpack.Encoder().encode
"""Encode a list of messages as one frame."""

decode_from_worker = msgspec.msgpack.Decoder(list[FromWorker]).decode
decode_from_server = msgspec.msgpack.Decoder(list[FromServer]).decode
