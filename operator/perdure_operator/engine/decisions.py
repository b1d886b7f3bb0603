"""Which events an input causes.

Each function looks at a run, changes nothing, and returns the events that follow from what
somebody asked or reported; :mod:`perdure_operator.engine.recording` lets them happen. What
does not fit the run's state is refused with words for the one who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import msgspec
from msgspec import structs

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.commands import CLOSING_COMMANDS, Command
from perdure.protocol.events import Event
from perdure.protocol.failures import Failure
from perdure.protocol.messages import Activation, StepResult, TaskProgress
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import (
    CancelRequest,
    ResumeRequest,
    SignalRequest,
    StartRequest,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.engine import attempts, batching, standalone
from perdure_operator.engine.errors import RefusedError, RunClosedError
from perdure_operator.engine.runs import Run
from perdure_operator.engine.standalone import ONLY_SEQ
from perdure_operator.engine.transitions import NEVER, RUN_TIMEOUT_SEQ

MAX_EVENTS = 50_000
MAX_HISTORY_BYTES = 50 * 1024 * 1024


def start(request: StartRequest, run_id: str) -> list[Event]:
    """A run begins."""
    events: list[Event] = [
        ev.WorkflowStarted(
            workflow_type=request.workflow_type,
            task_queue=request.task_queue,
            input=request.input,
            run_id=run_id,
            kind=request.kind,
            execution_timeout=request.execution_timeout,
            run_timeout=request.run_timeout,
            task_timeout=request.task_timeout,
            retry_policy=request.retry_policy,
            memo=request.memo,
            headers=request.headers,
            identity=request.identity,
            request_id=request.request_id,
        )
    ]
    if request.kind == "activity":
        events.append(standalone.scheduled(request))
    if request.start_signal:
        events.append(
            ev.SignalReceived(
                name=request.start_signal,
                input=request.start_signal_input,
                identity=request.identity,
                signal_id=request.request_id,
            )
        )
    return events


def signal(run: Run, request: SignalRequest) -> list[Event]:
    """Somebody tells the run something; the same signal id again changes nothing."""
    if request.signal_id and request.signal_id in run.signal_ids:
        return []
    _refuse_closed(run, "signalled")
    if not run.is_workflow:
        raise RefusedError(f"{run.ref.workflow_id!r} is an activity: it takes no signals")
    return [
        ev.SignalReceived(
            name=request.name,
            input=request.input,
            identity=request.identity,
            signal_id=request.signal_id,
        )
    ]


def request_cancel(run: Run, request: CancelRequest) -> list[Event]:
    """Somebody asks the run to end; asking again changes nothing."""
    _refuse_closed(run, "cancelled")
    if run.cancel_requested:
        return []
    events: list[Event] = [ev.CancelRequested(reason=request.reason, identity=request.identity)]
    if not run.is_workflow:
        events.append(ev.ActivityCancelRequested(seq=ONLY_SEQ))
        events += cancel_activity(run, ONLY_SEQ)
    return events


def terminate(run: Run, request: TerminateRequest) -> list[Event]:
    """Somebody ends the run without asking its code."""
    _refuse_closed(run, "terminated")
    return [
        ev.WorkflowTerminated(
            reason=request.reason, details=request.details, identity=request.identity
        )
    ]


def suspend(run: Run, request: SuspendRequest) -> list[Event]:
    """Somebody holds the run; holding it again changes nothing."""
    _refuse_closed(run, "suspended")
    if run.is_suspended:
        return []
    return [ev.Suspended(reason=request.reason, identity=request.identity)]


def resume(run: Run, request: ResumeRequest) -> list[Event]:
    """Somebody lets the run go on; a run that is not held just goes on."""
    _refuse_closed(run, "resumed")
    return [ev.Resumed(identity=request.identity)] if run.is_suspended else []


def fire_timer(run: Run, seq: int, due: Millis) -> list[Event]:
    """A timer's time has come, if it is still wanted."""
    if run.is_closed:
        return []
    if seq == RUN_TIMEOUT_SEQ:
        return [ev.WorkflowTimedOut()] if run.deadline == due else []
    batch = run.batches.get(seq)
    if batch is not None:
        return batching.time_out(run, batch) if batch.deadline == due else []
    timer = run.timers.get(seq)
    return [ev.TimerFired(seq=seq)] if timer is not None and timer.fires == due else []


def close_activity(run: Run, closed: attempts.Closed) -> list[Event]:
    """An activity is over; a standalone one ends its run with it."""
    events = list(closed.events)
    if not run.is_workflow:
        events.append(_end_with(events[-1]))
    return events


def _end_with(closing: Event) -> Event:
    match closing:
        case ev.ActivityCompleted(result=result):
            return ev.WorkflowCompleted(result=result)
        case ev.ActivityFailed(failure=failure) | ev.ActivityTimedOut(failure=failure):
            return ev.WorkflowFailed(failure=failure)
        case ev.ActivityCanceled(details=details):
            return ev.WorkflowCanceled(details=details)
        case _:
            raise AssertionError(f"{closing} does not close an activity")


def cancel_activity(run: Run, seq: int, just_asked: Container[int] = ()) -> list[Event]:
    """Close an activity that is asked to stop, unless an attempt runs, which must be told first.

    Args:
        run: Whose activity it is.
        seq: Which; a batch's number too.
        just_asked: Activities that the same report schedules: nobody has begun them.
    """
    if seq in run.batches:
        return batching.cancel(run, run.batches[seq])
    activity = run.activities.get(seq)
    if activity is None:
        if seq not in just_asked:
            return []
        return [ev.ActivityCanceled(seq=seq)]
    became = attempts.request_cancel(activity)
    return close_activity(run, became) if isinstance(became, attempts.Closed) else []


def fail_task(run: Run, cause: str, failure: Failure, identity: str, build_id: str) -> list[Event]:
    """The run's code could not be run; only the first failure in a row is recorded."""
    if run.is_closed or run.task_failure is not None:
        return []
    return [
        ev.WorkflowTaskFailed(cause=cause, failure=failure, identity=identity, build_id=build_id)
    ]


def record_progress(
    run: Run, progress: TaskProgress, now: Millis, *, identity: str = "", build_id: str = ""
) -> list[Event]:
    """The run's code has come further.

    Raises:
        RefusedError: the report does not fit; the worker must begin again from history.
    """
    _refuse_closed(run, "reported on")
    through = _check_activations(run, progress.activations)
    closes = any(isinstance(each, CLOSING_COMMANDS) for each in progress.commands)
    if closes and run.last_resolution > through:
        raise RefusedError(
            f"event {run.last_resolution} happened while the run was ending: it must be told first"
        )
    if progress.commands and not progress.activations:
        raise RefusedError("commands without the activation that asked for them")

    boundaries, on_step = _boundaries(run, progress)
    events: list[Event] = [
        ev.WorkflowTaskCompleted(
            through=each.through,
            started=each.started,
            asked=each.asked,
            busy=not progress.done,
            identity=identity,
            build_id=build_id,
        )
        for each in boundaries
    ]
    taken: set[int] = set()
    events += [_command_event(run, each, now, taken) for each in progress.commands]
    if closes:
        return _up_to_close(events)
    for number, step in enumerate(progress.steps):
        boundary = on_step if number == 0 else None
        # Said once is enough: thousands of steps would repeat it.
        news = build_id if boundary is not None and build_id != run.build_id else ""
        events.append(_step_event(step, boundary, news))
    events += _close_cancelled(run, progress.commands, taken)
    closed = {each.seq for each in events if isinstance(each, ev.BATCH_ENDS)}
    return events + batching.move_told(run, through, but=closed)


def _close_cancelled(run: Run, commands: Sequence[Command], taken: set[int]) -> list[Event]:
    """Close what the commands cancel, as far as nobody works on it."""
    just_asked = {each.seq for each in commands if isinstance(each, cmd.ScheduleBatch)}
    events: list[Event] = []
    for seq in dict.fromkeys(c.seq for c in commands if isinstance(c, cmd.RequestCancelActivity)):
        if seq in just_asked:
            events.append(ev.BatchCanceled(seq=seq))
        else:
            events += cancel_activity(run, seq, taken)
    return events


def over_limit(run: Run, events: Sequence[Event]) -> str:
    """Return why the history may not grow by ``events``, or nothing."""
    if run.last_event + len(events) > MAX_EVENTS:
        return f"history limit: more than {MAX_EVENTS:,} events"
    if run.history_bytes > MAX_HISTORY_BYTES:
        return f"history limit: more than {MAX_HISTORY_BYTES // 2**20} MiB"
    return ""


def _refuse_closed(run: Run, what: str) -> None:
    if run.is_closed:
        raise RunClosedError(
            f"run {run.ref.workflow_id!r} ({run.ref.run_id}) is {run.status.value} "
            f"and cannot be {what} any more"
        )


def _check_activations(run: Run, activations: Sequence[Activation]) -> int:
    through = run.through
    for each in activations:
        if not through < each.through <= run.last_event:
            raise RefusedError(
                f"an activation told through event {each.through} does not fit between "
                f"{through} and {run.last_event}"
            )
        through = each.through
    return through


def _boundaries(run: Run, progress: TaskProgress) -> tuple[Sequence[Activation], Activation | None]:
    """Return the activations to record as events, and the one to put on the first step."""
    activations = progress.activations
    if progress.done:
        if not activations and run.busy:
            # Nothing was told, but the steps are over: record that the task is at rest.
            return (Activation(run.through, run.last_time),), None
        return activations, None
    if progress.steps and not progress.commands and len(activations) == 1:
        return (), activations[0]
    return activations, None


def _step_event(step: StepResult, boundary: Activation | None, build_id: str) -> Event:
    through, started, asked = structs.astuple(boundary) if boundary else (0, 0, 0)
    if step.failure is not None:
        return ev.StepFailed(
            seq=step.seq,
            name=step.name,
            failure=step.failure,
            attempt=step.attempt,
            through=through,
            started=started,
            asked=asked,
            build_id=build_id,
        )
    return ev.StepCompleted(
        seq=step.seq,
        name=step.name,
        result=step.result,
        attempt=step.attempt,
        through=through,
        started=started,
        asked=asked,
        build_id=build_id,
    )


def _up_to_close(events: list[Event]) -> list[Event]:
    """The first end wins: what was asked for behind it is dropped."""
    for number, event in enumerate(events):
        if isinstance(event, ev.CLOSING_EVENTS):
            return events[: number + 1]
    raise AssertionError("no closing event among them")


def _command_event(run: Run, command: Command, now: Millis, taken: set[int]) -> Event:
    return _COMMAND_EVENTS[type(command)](run, command, max(now, run.last_time), taken)


def _take(run: Run, seq: int, taken: set[int], what: str) -> None:
    if seq in taken or seq in run.seqs:
        raise RefusedError(f"{what} takes number {seq}, which is taken")
    taken.add(seq)


def _schedule_activity(
    run: Run, command: cmd.ScheduleActivity, _now: Millis, taken: set[int]
) -> Event:
    _take(run, command.seq, taken, f"activity {command.activity_type!r}")
    fields: dict[str, Any] = msgspec.structs.asdict(command)
    fields["task_queue"] = command.task_queue or run.start.task_queue
    return ev.ActivityScheduled(**fields)


def _schedule_batch(run: Run, command: cmd.ScheduleBatch, _now: Millis, taken: set[int]) -> Event:
    _take(run, command.seq, taken, f"batch of {command.activity_type!r}")
    fields: dict[str, Any] = msgspec.structs.asdict(command)
    fields["task_queue"] = command.task_queue or run.start.task_queue
    return ev.BatchScheduled(**fields)


def _start_timer(run: Run, command: cmd.StartTimer, now: Millis, taken: set[int]) -> Event:
    _take(run, command.seq, taken, "a timer")
    return ev.TimerStarted(
        seq=command.seq,
        delay=command.delay,
        fires=min(NEVER, now + command.delay),
        summary=command.summary,
    )


def _must_be_taken(run: Run, seq: int, taken: set[int], what: str) -> None:
    if seq not in taken and seq not in run.seqs:
        raise RefusedError(f"{what} {seq}, which was never asked for")


def _cancel_activity(
    run: Run, command: cmd.RequestCancelActivity, _now: Millis, taken: set[int]
) -> Event:
    _must_be_taken(run, command.seq, taken, "asks to cancel activity")
    return ev.ActivityCancelRequested(seq=command.seq)


def _cancel_timer(run: Run, command: cmd.CancelTimer, _now: Millis, taken: set[int]) -> Event:
    _must_be_taken(run, command.seq, taken, "cancels timer")
    return ev.TimerCanceled(seq=command.seq)


def _complete(_run: Run, command: cmd.CompleteWorkflow, _now: Millis, _taken: set[int]) -> Event:
    return ev.WorkflowCompleted(result=command.result)


def _fail(_run: Run, command: cmd.FailWorkflow, _now: Millis, _taken: set[int]) -> Event:
    return ev.WorkflowFailed(failure=command.failure, failed_seq=command.failed_seq)


def _cancel(_run: Run, command: cmd.CancelWorkflow, _now: Millis, _taken: set[int]) -> Event:
    return ev.WorkflowCanceled(details=command.details)


_COMMAND_EVENTS: dict[type, Callable[[Run, Any, Millis, set[int]], Event]] = {
    cmd.ScheduleActivity: _schedule_activity,
    cmd.ScheduleBatch: _schedule_batch,
    cmd.StartTimer: _start_timer,
    cmd.RequestCancelActivity: _cancel_activity,
    cmd.CancelTimer: _cancel_timer,
    cmd.CompleteWorkflow: _complete,
    cmd.FailWorkflow: _fail,
    cmd.CancelWorkflow: _cancel,
}
