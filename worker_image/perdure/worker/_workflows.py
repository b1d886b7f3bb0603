"""The workflow side of a worker: cached runs, the tasks that hold them, their steps.

Everything here happens on the loop and at once: a message comes in, workflow code runs, reports
go into the outbox. A run with a task is *held*; one without is idle, may be asked by queries, and
is dropped when it is the longest unused of too many. Each drop that the server does not know of
is told with :class:`RunEvicted`; of a held run that gives the task back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from perdure.converter import DataConverter
from perdure.protocol.commands import Command
from perdure.protocol.events import (
    HistoryEvent,
    StepCompleted,
    StepFailed,
    WorkflowStarted,
)
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.messages import (
    AskQuery,
    EvictRun,
    QueryAnswer,
    RunEvicted,
    RunRef,
    StepResult,
    TaskEvents,
    TaskFailed,
    TaskProgress,
    TaskRefused,
    WorkflowTask,
)
from perdure.protocol.payloads import Millis, Payload
from perdure.replay._asked import StepInvocation
from perdure.replay.errors import WorkflowTaskError
from perdure.worker._runs import CachedRun, HeldTask, Instance, Told, UnknownWorkflowTypeError
from perdure.worker._steps import Step, StepSettings
from perdure.worker._stream import Outbox
from perdure.worker._watchdog import DeadlockError, Watchdog

logger = logging.getLogger("perdure.worker")

MakeInstance = Callable[[RunRef, Sequence[HistoryEvent]], Instance]
"""Makes a run's code from its history, which it is not told yet."""


class Workflows:
    """Runs the workflow tasks and queries that a worker is handed.

    Args:
        make_instance: Raises :class:`UnknownWorkflowTypeError` for what is not registered.
        steps: The worker's.
        converter: For errors of our own.
        outbox: Takes reports.
        watchdog: Runs workflow code, and interrupts it when it does not come back.
        max_cached: How many runs are kept when nothing is asked of them.
    """

    def __init__(
        self,
        *,
        make_instance: MakeInstance,
        steps: StepSettings,
        converter: DataConverter,
        outbox: Outbox,
        watchdog: Watchdog,
        max_cached: int,
    ) -> None:
        self._make_instance = make_instance
        self._steps = steps
        self._converter = converter
        self._outbox = outbox
        self._watchdog = watchdog
        self._max_cached = max_cached
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()
        self._held: dict[int, CachedRun] = {}
        self._with_results: dict[int, CachedRun] = {}
        self._became_idle = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether no task is held."""
        return not self._held

    async def wait_until_idle(self) -> None:
        """Wait until no task is held."""
        while self._held:
            self._became_idle.clear()
            await self._became_idle.wait()

    @property
    def cached(self) -> int:
        """How many runs are in the cache."""
        return len(self._runs)

    # --- messages ----------------------------------------------------------------------------

    def begin(self, message: WorkflowTask) -> None:
        """A task begins."""
        run_id = message.run.run_id
        run = self._runs.get(run_id)
        if message.complete:
            self._forget(run_id)
            run = self._make(message)
        elif run is None:
            # It crossed our word that the run was dropped.
            self._outbox.put(RunEvicted(run_id=run_id))
        if run is None:
            return

        before, run.task = run.task, HeldTask(id=message.task)
        if before is not None:  # the server says by this that it is over
            self._let_go(before)
            run.task.finished, run.task.reported = before.finished, before.reported
        self._held[message.task] = run
        self._runs[run_id] = run
        self._runs.move_to_end(run_id)
        self._activate(run, message.events, message.started, complete=message.complete)

    def go_on(self, message: TaskEvents) -> None:
        """Reports are on disk, or something has happened to a held run."""
        run = self._held.get(message.task)
        if run is None or run.task is None:
            return
        for each in message.events:
            if isinstance(each.event, (StepCompleted, StepFailed)):
                run.task.reported.discard(each.event.seq)
        if message.events and not run.task.is_closed:
            self._activate(run, message.events, message.events[-1].time, complete=False)
        task = run.task
        if task is not None and 0 < task.done <= message.number:
            self._release(run)

    def refuse(self, message: TaskRefused) -> None:
        """Nothing of a task is recorded any more."""
        run = self._held.get(message.task)
        if run is not None:
            logger.info("Task of %s was refused: %s", run.ref.workflow_id, message.reason)
            self._forget(run.ref.run_id)

    def evict(self, message: EvictRun) -> None:
        """The run is over, or lives elsewhere."""
        self._forget(message.run_id)

    def query(self, message: AskQuery) -> None:
        """Ask a run's code something, without letting it go on."""
        run_id = message.run.run_id
        run = self._runs.get(run_id)
        if run is None and not message.complete:
            self._outbox.put(RunEvicted(run_id=run_id))
            return
        result: Payload | None = None
        failure: Failure | None = None
        try:
            run = self._told_for_query(run, message)
            label = f"query {message.name} of workflow {message.run.workflow_id}"
            instance = run.instance
            result, failure = self._watchdog.run(
                label, lambda: instance.query(message.name, message.input)
            )
        except WorkflowTaskError as error:
            failure = error.failure
        except (Exception, DeadlockError) as error:  # noqa: BLE001 - the asker is told
            failure = _failure(error)
        self._outbox.put(QueryAnswer(query=message.query, result=result, failure=failure))
        self._shrink()

    def _told_for_query(self, run: CachedRun | None, message: AskQuery) -> CachedRun:
        """Return the run, knowing of the events but not gone on with them."""
        run_id, events = message.run.run_id, message.events
        if run is None or (message.complete and run.task is None):
            self._forget(run_id)
            run = self._runs[run_id] = CachedRun(
                ref=message.run,
                workflow_type=_workflow_type(events),
                instance=self._make_instance(message.run, events),
            )
        elif message.complete:
            return run  # it knows more than what it is asked about
        self._runs.move_to_end(run_id)
        if events:
            instance, complete = run.instance, message.complete
            try:
                self._watchdog.run(
                    f"workflow {run.ref.workflow_id}",
                    lambda: instance.activate(events, started=None, complete=complete),
                )
            except BaseException:
                self._outbox.put(RunEvicted(run_id=run_id))
                self._forget(run_id)
                raise
        return run

    # --- the worker's own --------------------------------------------------------------------

    def collect(self) -> None:
        """Report the steps that have ended since the last frame."""
        if self._with_results:
            runs, self._with_results = self._with_results, {}
            for run in runs.values():
                self._report(run)

    def too_large(self, message: TaskProgress, size: int) -> None:
        """A report does not fit into a frame."""
        run = self._held.get(message.task)
        if run is not None:
            text = (
                f"the workflow asked for {size:,} bytes at once, more than the server takes: pass "
                "references to large data, or ask for less at a time"
            )
            self._fail(run, "PayloadTooLarge", Failure(message=text))

    def hand_back(self) -> None:
        """The worker is leaving: give back every task that still waits for something."""
        for run in list(self._held.values()):
            self._outbox.put(RunEvicted(run_id=run.ref.run_id))
            self._forget(run.ref.run_id, worker_shutdown=True)

    def drop_all(self) -> None:
        """The connection is gone, and with it what the server knows of this cache."""
        for run_id in list(self._runs):
            self._forget(run_id)

    # --- one run -----------------------------------------------------------------------------

    def _make(self, message: WorkflowTask) -> CachedRun | None:
        try:
            instance = self._make_instance(message.run, message.events)
        except UnknownWorkflowTypeError as error:
            logger.warning("%s", error)
            self._outbox.put(
                TaskFailed(task=message.task, cause="UnknownWorkflowType", failure=_failure(error))
            )
            return None
        return CachedRun(
            ref=message.run, workflow_type=_workflow_type(message.events), instance=instance
        )

    def _activate(
        self,
        run: CachedRun,
        events: Sequence[HistoryEvent],
        started: Millis,
        *,
        complete: bool,
    ) -> None:
        told = self._run_code(
            run, lambda: run.instance.activate(events, started=started, complete=complete)
        )
        if told is None or run.task is None:
            return
        if told.activations:
            run.task.done = 0
            run.task.activations += told.activations
        for seq in told.cancel_steps:
            self._cancel_step(run, seq)
        if told.closed:
            run.task.is_closed = True
            self._cancel_steps(run)
        else:
            for invocation in told.start_steps:
                self._start_step(run, invocation)
        self._report(run, told.commands)

    def _run_code(self, run: CachedRun, code: Callable[[], Told]) -> Told | None:
        try:
            told: Told = self._watchdog.run(f"workflow {run.ref.workflow_id}", code)
        except WorkflowTaskError as error:
            self._fail(run, error.task_cause, error.failure)
        except DeadlockError as error:
            self._fail(run, "Deadlock", _failure(error))
        except Exception as error:
            logger.exception("Workflow %s met an error of Perdure itself", run.ref.workflow_id)
            self._fail(run, "InternalError", self._converter.to_failure(error))
        else:
            return told
        return None

    def _report(self, run: CachedRun, commands: Sequence[Command] = ()) -> None:
        """Send what there is to tell; a task with nothing left to do is given back by it."""
        task = run.task
        if task is None:
            return
        steps, task.finished = task.finished, []
        task.reported.update(each.seq for each in steps)
        done = task.is_closed or not (run.steps or task.reported)
        if not (commands or steps or (done and not task.done)):
            return

        task.number += 1
        task.done = task.number if done else 0
        activations, task.activations = task.activations, []
        self._outbox.put(
            TaskProgress(
                task=task.id,
                number=task.number,
                activations=tuple(activations),
                commands=tuple(commands),
                steps=tuple(steps),
                done=done,
            )
        )

    def _fail(self, run: CachedRun, cause: str, failure: Failure) -> None:
        logger.warning(
            "Workflow %s cannot go on (%s): %s. It is tried again, with growing delays, until its "
            "code is mended%s",
            run.ref.workflow_id,
            cause,
            failure.message,
            f"\n{failure.stack_trace}" if failure.stack_trace else "",
        )
        if run.task is not None:
            self._outbox.put(TaskFailed(task=run.task.id, cause=cause, failure=failure))
        self._forget(run.ref.run_id)

    def _release(self, run: CachedRun) -> None:
        """The task is over; the run waits for the next one, or is over too."""
        assert run.task is not None
        self._let_go(run.task)
        closed, run.task = run.task.is_closed, None
        if closed:
            self._forget(run.ref.run_id)
        self._shrink()

    def _let_go(self, task: HeldTask) -> None:
        self._held.pop(task.id, None)
        self._with_results.pop(task.id, None)
        self._became_idle.set()

    def _shrink(self) -> None:
        surplus = len(self._runs) - self._max_cached
        if surplus <= 0:
            return
        idle = [run_id for run_id, run in self._runs.items() if run.task is None]
        for run_id in idle[:surplus]:
            self._outbox.put(RunEvicted(run_id=run_id))
            self._forget(run_id)

    def _forget(self, run_id: str, *, worker_shutdown: bool = False) -> None:
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        if run.task is not None:
            self._let_go(run.task)
            run.task = None
        self._cancel_steps(run, worker_shutdown=worker_shutdown)
        try:
            self._watchdog.run(f"workflow {run.ref.workflow_id}", run.instance.close)
        except (Exception, DeadlockError):
            logger.exception("Workflow %s could not be dropped cleanly", run.ref.workflow_id)

    # --- steps -------------------------------------------------------------------------------

    def _start_step(self, run: CachedRun, invocation: StepInvocation) -> None:
        def ended(result: StepResult) -> None:
            if run.steps.pop(result.seq, None) is None or run.task is None:
                return
            run.task.finished.append(result)
            self._with_results[run.task.id] = run
            self._outbox.wake()

        run.steps[invocation.seq] = Step(run.ref, run.workflow_type, invocation, self._steps, ended)

    def _cancel_step(self, run: CachedRun, seq: int) -> None:
        step = run.steps.pop(seq, None)
        if step is not None:
            step.cancel()
        elif run.task is not None:
            run.task.finished = [each for each in run.task.finished if each.seq != seq]

    def _cancel_steps(self, run: CachedRun, *, worker_shutdown: bool = False) -> None:
        steps, run.steps = run.steps, {}
        for step in steps.values():
            step.cancel(worker_shutdown=worker_shutdown)


def _failure(error: BaseException) -> Failure:
    info = ApplicationInfo(type=type(error).__name__, non_retryable=True)
    return Failure(message=str(error), info=info)


def _workflow_type(events: Sequence[HistoryEvent]) -> str:
    first = events[0].event if events else None
    return first.workflow_type if isinstance(first, WorkflowStarted) else ""
