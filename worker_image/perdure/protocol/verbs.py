"""What clients ask of the server, one request and one response type a verb.

Each is ``POST /api/v1/{verb}`` with the request as the body, as JSON or, with
``Content-Type: application/msgpack``, as MessagePack; the response comes in the same form. An
error is a status of 400 or above with an :class:`ErrorResponse`.
"""

from __future__ import annotations

import msgspec

from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.items import PendingBatch as PendingBatch  # noqa: PLC0414 - part of the verbs
from perdure.protocol.payloads import Millis, Payload, Payloads, RetryPolicy
from perdure.protocol.pending import PendingActivity as PendingActivity  # noqa: PLC0414 - part of the verbs
from perdure.protocol.placements import Placement
from perdure.protocol.queues import QueueDescription as QueueDescription  # noqa: PLC0414 - part of the verbs
from perdure.protocol.queues import VersionDescription as VersionDescription  # noqa: PLC0414 - part of the verbs
from perdure.protocol.queues import WorkerDescription as WorkerDescription  # noqa: PLC0414 - part of the verbs
from perdure.protocol.refusals import ErrorResponse as ErrorResponse  # noqa: PLC0414 - part of the verbs
from perdure.protocol.requests import TargetRequest as TargetRequest  # noqa: PLC0414 - part of the verbs
from perdure.protocol.retries import Retried, RetryPoint, RetryResponse
from perdure.protocol.statuses import IdConflictPolicy as IdConflictPolicy  # noqa: PLC0414 - part of the verbs
from perdure.protocol.statuses import IdReusePolicy as IdReusePolicy  # noqa: PLC0414 - part of the verbs
from perdure.protocol.statuses import RunStatus as RunStatus  # noqa: PLC0414 - part of the verbs
from perdure.protocol.taking import BeatActivityRequest as BeatActivityRequest  # noqa: PLC0414 - part of the verbs
from perdure.protocol.taking import BeatActivityResponse as BeatActivityResponse  # noqa: PLC0414 - part of the verbs
from perdure.protocol.taking import ReportActivityRequest as ReportActivityRequest  # noqa: PLC0414 - part of the verbs
from perdure.protocol.taking import TakeActivityRequest as TakeActivityRequest  # noqa: PLC0414 - part of the verbs
from perdure.protocol.taking import TakeActivityResponse as TakeActivityResponse  # noqa: PLC0414 - part of the verbs


class _Verb(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class StartRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``start``: make a run, durably. Answered with :class:`StartResponse`."""

    namespace: str
    workflow_id: str
    workflow_type: str
    task_queue: str
    input: Payloads = ()
    kind: str = "workflow"
    activity: ActivityOptions | None = None
    """Set when ``kind`` is ``activity``."""
    execution_timeout: Millis | None = None
    run_timeout: Millis | None = None
    task_timeout: Millis = 10_000
    retry_policy: RetryPolicy | None = None
    memo: dict[str, Payload] = {}
    headers: dict[str, Payload] = {}
    id_reuse_policy: IdReusePolicy = IdReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: IdConflictPolicy = IdConflictPolicy.FAIL
    request_id: str = ""
    """The same non-empty id again is the same start: the run that it made is returned."""
    identity: str = ""
    start_signal: str = ""
    start_signal_input: Payloads = ()
    watched: bool = False
    """Changes of this run are told by ``watch``: set for what a manifest started."""


class ActivityOptions(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """How a standalone activity runs; as ``ScheduleActivity`` has them.

    With ``items`` it is a batch, as ``ScheduleBatch`` has it, and the request has no ``input``.
    """

    items: tuple[Payloads, ...] = ()
    parallelism: int = 0
    tolerated_failures: int = 0
    schedule_to_close_timeout: Millis | None = None
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    placement: Placement | None = None


class StartResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """The run that there is now."""

    run_id: str
    started: bool = True
    """False when it was there before (same request, or ``USE_EXISTING``)."""


class SignalRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``signal``: tell an open run something. Answered with :class:`Done`."""

    name: str
    input: Payloads = ()
    signal_id: str = ""
    identity: str = ""


class QueryRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``query``: ask a run's code something, on a worker. Answered with :class:`QueryResponse`."""

    name: str
    input: Payloads = ()
    timeout: Millis = 30_000


class QueryResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """What the handler returned, or how it failed."""

    result: Payload | None = None
    failure: Failure | None = None


class CancelRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``cancel``: ask an open run to end. Answered with :class:`Done`."""

    reason: str = ""
    identity: str = ""


class SuspendRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``suspend``: hold an open run where it is. Answered with :class:`Done`.

    What runs is finished and recorded; timers fire and signals are kept; nothing new begins.
    """

    reason: str = ""
    identity: str = ""


class ResumeRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``resume``: let a suspended run go on. Answered with :class:`Done`."""

    identity: str = ""


class TerminateRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``terminate``: end an open run without asking its code. Answered with :class:`Done`."""

    reason: str = ""
    details: Payloads = ()
    identity: str = ""


class Done(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """It is on disk."""


class RetryRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``retry``: make a new run of a closed one. Answered with :class:`RetryResponse`.

    It has the same workflow id, type, queue, input, memo and timeouts, which begin anew.
    """

    point: RetryPoint = RetryPoint.FAILED_STEP
    request_id: str = ""
    """The same non-empty id again is the same retry: the run that it made is returned."""
    reason: str = ""
    identity: str = ""


class ResultRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``result``: wait for a run's end, ``wait`` at most. Answered with :class:`ResultResponse`."""

    wait: Millis = 20_000


class ResultResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """Where the run is; while it is running the caller asks again."""

    run_id: str
    status: RunStatus
    result: Payload | None = None
    failure: Failure | None = None


class DescribeRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``describe``. Answered with :class:`RunDescription`."""

    whole_history: int = 0
    """Tell the history as well, if it has no more bytes than this."""
    last_events: int = 0
    """Of a longer history, tell the last so many events."""
    settle: bool = False
    """Have history take up what is recorded beside it, results of open batches: for those who
    carry it elsewhere. It is a change, and needs the right to make one."""


class RunSummary(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``list``."""

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    kind: str = "workflow"
    status: RunStatus
    started: Millis
    closed: Millis | None = None
    events: int = 0
    current_step: str = ""
    """What the run waits for, in a word: an activity's or step's name, a timer, a signal."""


class RunDescription(RunSummary, frozen=True, kw_only=True, omit_defaults=True):
    """All that the server knows of a run short of its history."""

    history_bytes: int = 0
    digest: str = ""
    """Head of the history's hash chain, hexadecimal SHA-256."""
    memo: dict[str, Payload] = {}
    pending_activities: tuple[PendingActivity, ...] = ()
    pending_batches: tuple[PendingBatch, ...] = ()
    task_attempt: int = 1
    """Above 1: the workflow's code keeps failing, ``task_failure`` says how."""
    task_failure_cause: str = ""
    task_failure: Failure | None = None
    cancel_requested: bool = False
    watched: bool = False
    """Whether ``watch`` tells of it."""
    build_id: str = ""
    """The version of its code that it is pinned to; empty when it is to none."""
    history: tuple[HistoryEvent, ...] = ()
    """The end of the history, or all of it, as the request asked for."""
    outcome: ResultResponse | None = None
    """How it ended, if it has and its history was asked for."""
    retried: Retried | None = None
    """Set when it is a retry of an earlier run."""


class HistoryRequest(TargetRequest, frozen=True, kw_only=True, omit_defaults=True):
    """``history``: the events after ``after``. Answered with :class:`HistoryResponse`."""

    after: int = 0
    limit: int = 1000
    wait: Millis = 0
    """With nothing new yet: wait this long for it."""


class HistoryResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """A page; ask again after the last event's id until ``closed`` and nothing more comes."""

    run_id: str
    workflow_type: str
    events: tuple[HistoryEvent, ...] = ()
    last_event: int = 0
    """The id of the newest event that there is."""
    closed: bool = False


class ImportRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``import``: make a run from its whole history. Answered with :class:`ImportResponse`.

    An open run goes on from there: activities that were open begin anew, timers fire when they
    were to. A run that is there with this history, or has gone on from it, is left as it is.
    """

    namespace: str
    workflow_id: str
    run_id: str
    events: tuple[HistoryEvent, ...]
    digest: str = ""
    """What ``describe`` said of it, hexadecimal: the history must have it."""
    watched: bool = False
    """As in :class:`StartRequest`."""


class ImportResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """The run is on disk."""

    run_id: str
    imported: bool = True
    """False when it was there before."""


class ListRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``list``: newest first. Answered with :class:`ListResponse`. Empty means any."""

    namespace: str = ""
    status: str = ""
    workflow_type: str = ""
    workflow_id: str = ""
    kind: str = ""
    limit: int = 100
    page: str = ""
    """``next_page`` of the response before."""


class ListResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """A page of runs."""

    runs: tuple[RunSummary, ...] = ()
    next_page: str = ""


class WatchRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``watch``: which watched runs changed after ``cursor``; waits for one.

    A cursor stays good over restarts of the server. 0 begins with every watched run.
    Answered with :class:`WatchResponse`.
    """

    namespace: str = ""
    """Empty means any."""
    cursor: int = 0
    limit: int = 500
    wait: Millis = 20_000


class RunChange(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """A watched run is no longer as it was."""

    namespace: str
    workflow_id: str
    run_id: str
    kind: str = "workflow"
    status: RunStatus
    events: int


class WatchResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """The changes since the cursor, each run once, oldest change first."""

    cursor: int
    changes: tuple[RunChange, ...] = ()
    store: str = ""
    """Which store it is. Another one than before: cursors of before mean nothing in it."""


class QueuesRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``queues``: work and workers by task queue. Answered with :class:`QueuesResponse`.

    With ``wait`` it answers as soon as ``version`` is no longer the current one.
    """

    namespace: str = ""
    version: int = 0
    wait: Millis = 0


class QueuesResponse(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """Every queue with work or workers."""

    version: int
    queues: tuple[QueueDescription, ...] = ()


class SetCurrentVersionRequest(_Verb, frozen=True, kw_only=True, omit_defaults=True):
    """``set-current-version``: which version of the code new runs of a task queue are for.

    Runs that a kept version is named for stay with it; those pinned to a version that is neither
    current nor kept go to the current one. Answered with :class:`Done`.
    """

    namespace: str
    task_queue: str
    build_id: str
    """Empty: versions are of no account, any worker takes anything."""
    kept: tuple[str, ...] = ()
    """Older versions whose workers go on serving the runs that are pinned to them."""


VERBS: dict[type[msgspec.Struct], tuple[str, type[msgspec.Struct]]] = {
    StartRequest: ("start", StartResponse),
    SignalRequest: ("signal", Done),
    QueryRequest: ("query", QueryResponse),
    CancelRequest: ("cancel", Done),
    TerminateRequest: ("terminate", Done),
    SuspendRequest: ("suspend", Done),
    ResumeRequest: ("resume", Done),
    RetryRequest: ("retry", RetryResponse),
    ResultRequest: ("result", ResultResponse),
    DescribeRequest: ("describe", RunDescription),
    TakeActivityRequest: ("take-activity", TakeActivityResponse),
    ReportActivityRequest: ("report-activity", Done),
    BeatActivityRequest: ("beat-activity", BeatActivityResponse),
    HistoryRequest: ("history", HistoryResponse),
    ImportRequest: ("import", ImportResponse),
    ListRequest: ("list", ListResponse),
    WatchRequest: ("watch", WatchResponse),
    QueuesRequest: ("queues", QueuesResponse),
    SetCurrentVersionRequest: ("set-current-version", Done),
}
"""Every verb: its request's type, its name in the address, its response's type."""
