"""A Perdure server in memory, as far as the controllers ask it anything.

It has runs that tests move on by hand: it records what was asked, answers a start with the same
request id with the same run, and refuses as the real server does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol import verbs as vb
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import (
    ApplicationInfo,
    CanceledInfo,
    Failure,
    RetryState,
    TerminatedInfo,
)
from perdure.protocol.payloads import Millis, Payload, Payloads
from perdure.protocol.placements import Placement
from perdure.protocol.retries import Effect, Retried, RetryPoint, RetryResponse
from perdure.protocol.verbs import RunStatus
from perdure_operator.controllers.server import error_for
from perdure_operator.server.describing import told_after

START: Millis = 1_767_225_600_000
"""The fake clock's beginning, 2026-01-01."""


@dataclass
class FakeRun:
    """A run; tests change it."""

    request: vb.StartRequest
    run_id: str
    events: list[HistoryEvent] = field(default_factory=list)
    status: RunStatus = RunStatus.RUNNING
    result: Payload | None = None
    failure: Failure | None = None
    cancel_requested: bool = False
    signals: list[str] = field(default_factory=list)
    current_step: str = ""
    pending: tuple[vb.PendingActivity, ...] = ()
    batches: tuple[vb.PendingBatch, ...] = ()
    task_attempt: int = 1
    task_failure_cause: str = ""
    task_failure: Failure | None = None
    history_bytes: int = 100
    inputs: dict[int, Payloads] = field(default_factory=dict)
    """What the activities with pods of their own are given, by seq."""
    reports: list[vb.ReportActivityRequest] = field(default_factory=list)
    """How their attempts ended."""
    build_id: str = ""
    """The version that it is pinned to."""
    unseen: int = 0
    """How many of the last events were recorded after the run was described."""

    def record(self, event: ev.Event) -> None:
        self.events.append(HistoryEvent(len(self.events) + 1, START + len(self.events), event))

    def complete(self, json: bytes = b"null") -> None:
        self.status = RunStatus.COMPLETED
        self.result = Payload({"encoding": b"json/plain"}, json)
        self.record(ev.WorkflowCompleted(result=self.result))

    def fail(self, failure: Failure) -> None:
        self.status = RunStatus.FAILED
        self.failure = failure
        self.record(ev.WorkflowFailed(failure=failure))

    def place(self, placement: Placement, *, seq: int = 1, arguments: Payloads = ()) -> None:
        """Have the run wait for an activity with a pod of its own."""
        own_queue = "" if placement.container else f"pod/{self.run_id}/{seq}"
        activity = vb.PendingActivity(
            seq=seq,
            activity_id=f"a{seq}",
            activity_type="container" if placement.container else "resize",
            state="Scheduled",
            attempt=1,
            scheduled=START,
            next_attempt=START,
            task_queue=self.request.task_queue,
            placement=placement,
            own_queue=own_queue,
        )
        self.pending = (*self.pending, activity)
        self.inputs[seq] = arguments
        self.record(
            ev.ActivityScheduled(
                seq=seq, activity_id=f"a{seq}", activity_type=activity.activity_type,
                task_queue=self.request.task_queue,
            )
        )  # fmt: skip

    def change_activity(self, seq: int = 1, **fields: Any) -> None:
        """Have an open activity be like this."""
        self.pending = tuple(
            msgspec.structs.replace(each, **fields) if each.seq == seq else each
            for each in self.pending
        )

    def close_activity(self, seq: int, *, result: Payload | None = None) -> None:
        """Have an activity return."""
        (open_,) = (each for each in self.pending if each.seq == seq)
        self.pending = tuple(each for each in self.pending if each.seq != seq)
        self.record(ev.ActivityStarted(seq=seq, attempt=open_.attempt, started=START))
        self.record(ev.ActivityCompleted(seq=seq, result=result))

    def take(self, request: vb.TakeActivityRequest) -> vb.TakeActivityResponse:
        open_ = next((each for each in self.pending if each.seq == request.seq), None)
        if open_ is None:
            raise error_for("AlreadyClosed", "the activity is over")
        if open_.started is None:
            self.change_activity(
                request.seq, state="Started", started=START, identity=request.identity
            )
        return vb.TakeActivityResponse(
            attempt=open_.attempt,
            token=f"{self.run_id}.{request.seq}.{open_.attempt}.secret",
            input=self.inputs.get(request.seq, ()),
            placement=open_.placement,
            idempotency_key=f"{self.run_id}:{request.seq}",
        )

    def report(self, request: vb.ReportActivityRequest) -> bool:
        """Take a report as the server does: what failed or is lost has another attempt."""
        run_id, seq, attempt, _ = request.token.split(".")
        for open_ in self.pending:
            if (run_id, int(seq), int(attempt)) != (self.run_id, open_.seq, open_.attempt):
                continue
            self.reports.append(request)
            failure = request.failure or (Failure(message=request.lost) if request.lost else None)
            if failure is None or not _is_retried(failure):
                self._close(open_, request.result, failure)
            else:
                self.change_activity(
                    open_.seq, state="Scheduled", started=None, attempt=open_.attempt + 1,
                    last_failure=failure, identity="",
                )  # fmt: skip
            return True
        return False

    def _close(self, open_: vb.PendingActivity, result: Any, failure: Failure | None) -> None:
        data = msgspec.json.encode(result)
        if failure is None:
            self.close_activity(open_.seq, result=Payload({"encoding": b"json/plain"}, data))
        else:
            self.pending = tuple(each for each in self.pending if each.seq != open_.seq)
            self.record(
                ev.ActivityCanceled(seq=open_.seq)
                if isinstance(failure.info, CanceledInfo)
                else ev.ActivityFailed(
                    seq=open_.seq, failure=failure, retry_state=RetryState.NON_RETRYABLE_FAILURE
                )
            )
        if self.request.kind != "activity":
            return
        if failure is None:
            self.complete(data)
        elif isinstance(failure.info, CanceledInfo):
            self.cancel()
        else:
            self.fail(failure)

    def cancel(self) -> None:
        self.status = RunStatus.CANCELED
        self.failure = Failure(message="cancelled", info=CanceledInfo())
        self.record(ev.WorkflowCanceled())


def _is_retried(failure: Failure) -> bool:
    info = failure.info
    is_final = isinstance(info, ApplicationInfo) and info.non_retryable
    return not is_final and not isinstance(info, CanceledInfo)


class FakeServer:
    """The port :class:`perdure_operator.controllers.server.Server`, in memory."""

    def __init__(self) -> None:
        self.runs: list[FakeRun] = []
        self.calls: list[Any] = []
        self.is_away = False
        self.refusal: tuple[str, str] | None = None
        """The code and message that the next starts and signals are refused with."""
        self.effects: tuple[Effect, ...] = ()
        """What a run did after the point that its retry goes back to."""
        self.queues: tuple[vb.QueueDescription, ...] = ()
        self.declared: dict[tuple[str, str], vb.SetCurrentVersionRequest] = {}
        """The versions of each task queue."""

    async def call(self, request: Any) -> Any:
        if self.is_away:
            raise error_for("Unavailable", "no server answers")
        self.calls.append(request)
        verb = vb.VERBS[type(request)][0].replace("-", "_")
        return getattr(self, f"_{verb}")(request)

    def asked(self, kind: type) -> list[Any]:
        """Return the requests of one kind, in order."""
        return [call for call in self.calls if isinstance(call, kind)]

    @property
    def run(self) -> FakeRun:
        """The only run."""
        (run,) = self.runs
        return run

    def _start(self, request: vb.StartRequest) -> vb.StartResponse:
        self._maybe_refuse()
        known = self._newest(request.namespace, request.workflow_id)
        if known is not None and known.request.request_id == request.request_id:
            return vb.StartResponse(run_id=known.run_id, started=False)
        if known is not None and known.status.is_open:
            raise error_for("AlreadyStarted", f"{request.workflow_id!r} is running already")
        run = FakeRun(request=request, run_id=f"run-{len(self.runs) + 1}")
        run.record(
            ev.WorkflowStarted(
                workflow_type=request.workflow_type,
                task_queue=request.task_queue,
                run_id=run.run_id,
                request_id=request.request_id,
                input=request.input,
            )
        )
        self.runs.append(run)
        placement = request.activity.placement if request.activity else None
        if placement is not None:
            run.place(placement, arguments=request.input)
        return vb.StartResponse(run_id=run.run_id)

    def _import(self, request: vb.ImportRequest) -> vb.ImportResponse:
        self._maybe_refuse()
        if any(run.run_id == request.run_id for run in self.runs):
            return vb.ImportResponse(run_id=request.run_id, imported=False)
        known = self._newest(request.namespace, request.workflow_id)
        if known is not None and known.status.is_open:
            raise error_for("AlreadyStarted", f"{request.workflow_id!r} has another open run")
        started = request.events[0].event
        assert isinstance(started, ev.WorkflowStarted)
        start = vb.StartRequest(
            namespace=request.namespace,
            workflow_id=request.workflow_id,
            workflow_type=started.workflow_type,
            task_queue=started.task_queue,
            request_id=started.request_id,
            watched=request.watched,
        )
        run = FakeRun(request=start, run_id=request.run_id, events=list(request.events))
        self.runs.append(run)
        return vb.ImportResponse(run_id=run.run_id)

    def _signal(self, request: vb.SignalRequest) -> vb.Done:
        run = self._find(request)
        self._refuse_closed(run)
        self._maybe_refuse()
        if request.signal_id not in run.signals:
            run.signals.append(request.signal_id)
            run.record(ev.SignalReceived(name=request.name, signal_id=request.signal_id))
        return vb.Done()

    def _cancel(self, request: vb.CancelRequest) -> vb.Done:
        run = self._find(request)
        self._refuse_closed(run)
        run.cancel_requested = True
        return vb.Done()

    def _terminate(self, request: vb.TerminateRequest) -> vb.Done:
        run = self._find(request)
        self._refuse_closed(run)
        run.status = RunStatus.TERMINATED
        run.failure = Failure(message=request.reason, info=TerminatedInfo())
        run.record(ev.WorkflowTerminated(reason=request.reason))
        return vb.Done()

    def _suspend(self, request: vb.SuspendRequest) -> vb.Done:
        run = self._find(request)
        self._refuse_closed(run)
        if run.status is RunStatus.RUNNING:
            run.status = RunStatus.SUSPENDED
            run.record(ev.Suspended(reason=request.reason, identity=request.identity))
        return vb.Done()

    def _resume(self, request: vb.ResumeRequest) -> vb.Done:
        run = self._find(request)
        self._refuse_closed(run)
        if run.status is RunStatus.SUSPENDED:
            run.status = RunStatus.RUNNING
            run.record(ev.Resumed(identity=request.identity))
        return vb.Done()

    def _retry(self, request: vb.RetryRequest) -> RetryResponse:
        self._maybe_refuse()
        earlier = self._find(request)
        run_id = f"retry-{request.request_id}"
        made = next((run for run in self.runs if run.run_id == run_id), None)
        if made is None:
            if earlier.status.is_open or earlier.status is RunStatus.COMPLETED:
                raise error_for("Invalid", f"{request.workflow_id!r} cannot be retried")
            if self._newest(request.namespace, request.workflow_id) is not earlier:
                raise error_for("AlreadyStarted", f"{request.workflow_id!r} was followed")
            made = self.follow(earlier, run_id, request.point)
        return RetryResponse(
            run_id=run_id, retried_run_id=earlier.run_id, event=2, effects=self.effects
        )

    def follow(
        self, earlier: FakeRun, run_id: str, point: RetryPoint = RetryPoint.FAILED_STEP
    ) -> FakeRun:
        """Have a run retried, whoever asked for it."""
        made = FakeRun(request=earlier.request, run_id=run_id)
        if point is RetryPoint.FAILED_STEP:
            made.signals = list(earlier.signals)
        first = earlier.events[0].event
        assert isinstance(first, ev.WorkflowStarted)
        origin = Retried(run_id=earlier.run_id, event=2, point=point, time=START)
        made.record(structs.replace(first, run_id=run_id, retried=origin))
        self.runs.append(made)
        return made

    def _describe(self, request: vb.DescribeRequest) -> vb.RunDescription:
        run = self._find(request)
        described = vb.RunDescription(
            namespace=run.request.namespace,
            workflow_id=run.request.workflow_id,
            run_id=run.run_id,
            workflow_type=run.request.workflow_type,
            task_queue=run.request.task_queue,
            kind=run.request.kind,
            status=run.status,
            started=START,
            closed=None if run.status.is_open else run.events[-1].time,
            events=len(run.events) - run.unseen,
            current_step=run.current_step,
            history_bytes=run.history_bytes,
            digest=f"{len(run.events):064x}",
            pending_activities=run.pending,
            pending_batches=run.batches,
            task_attempt=run.task_attempt,
            task_failure_cause=run.task_failure_cause,
            task_failure=run.task_failure,
            cancel_requested=run.cancel_requested,
            build_id=run.build_id,
            retried=run.events[0].event.retried,
        )
        return self._with_history(described, run, request)

    def _with_history(
        self, described: vb.RunDescription, run: FakeRun, request: vb.DescribeRequest
    ) -> vb.RunDescription:
        outcome = vb.ResultResponse(
            run_id=run.run_id, status=run.status, result=run.result, failure=run.failure
        )
        return structs.replace(
            described,
            history=tuple(run.events[told_after(described, request) : described.events]),
            outcome=None if run.status.is_open else outcome,
        )

    def _history(self, request: vb.HistoryRequest) -> vb.HistoryResponse:
        run = self._find(request)
        return vb.HistoryResponse(
            run_id=run.run_id,
            workflow_type=run.request.workflow_type,
            events=tuple(run.events[request.after : request.after + request.limit]),
            last_event=len(run.events),
            closed=not run.status.is_open,
        )

    def _result(self, request: vb.ResultRequest) -> vb.ResultResponse:
        run = self._find(request)
        return vb.ResultResponse(
            run_id=run.run_id, status=run.status, result=run.result, failure=run.failure
        )

    def _set_current_version(self, request: vb.SetCurrentVersionRequest) -> vb.Done:
        self.declared[request.namespace, request.task_queue] = request
        return vb.Done()

    def _take_activity(self, request: vb.TakeActivityRequest) -> vb.TakeActivityResponse:
        run = self._find(request)
        self._refuse_closed(run)
        self._maybe_refuse()
        return run.take(request)

    def _report_activity(self, request: vb.ReportActivityRequest) -> vb.Done:
        for run in self.runs:
            if run.report(request):
                return vb.Done()
        raise error_for("AlreadyClosed", "the attempt is over")

    def _find(self, request: vb.TargetRequest) -> FakeRun:
        of_id = [
            run
            for run in self.runs
            if (run.request.namespace, run.request.workflow_id)
            == (request.namespace, request.workflow_id)
            and request.run_id in {"", run.run_id}
        ]
        if not of_id:
            raise error_for("NotFound", f"no run of {request.workflow_id!r}")
        return of_id[-1]

    def _newest(self, namespace: str, workflow_id: str) -> FakeRun | None:
        of_id = (
            run
            for run in reversed(self.runs)
            if (run.request.namespace, run.request.workflow_id) == (namespace, workflow_id)
        )
        return next(of_id, None)

    def _maybe_refuse(self) -> None:
        if self.refusal is not None:
            raise error_for(*self.refusal)

    def _refuse_closed(self, run: FakeRun) -> None:
        if not run.status.is_open:
            raise error_for("AlreadyClosed", "the run has ended")
