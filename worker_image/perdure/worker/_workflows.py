"""The workflow tasks of a worker, and the steps that they wait for.

Everything here happens on the loop and at once: a message comes in, workflow code runs, reports
go into the outbox. A task ends with the report that says that nothing of it is left to do. What
is sent for it afterwards (it crossed that report) is kept for the run's next task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from perdure.converter import DataConverter
from perdure.protocol.commands import Command
from perdure.protocol.events import HistoryEvent, StepCompleted, StepFailed
from perdure.protocol.failures import Failure
from perdure.protocol.messages import (
    EvictRun,
    StepResult,
    TaskEvents,
    TaskFailed,
    TaskProgress,
    TaskRefused,
    WorkflowTask,
)
from perdure.protocol.payloads import Millis
from perdure.replay import StepInvocation
from perdure.replay.errors import WorkflowTaskError
from perdure.worker._outbox import Outbox
from perdure.worker._runs import (
    CachedRun,
    HeldTask,
    RunCache,
    Told,
    UnknownWorkflowTypeError,
    failure_of,
)
from perdure.worker._steps import Step, StepSettings
from perdure.worker._watchdog import DeadlockError, Watchdog

logger = logging.getLogger("perdure.worker")


class Workflows:
    """Runs the workflow tasks that a worker is handed."""

    def __init__(
        self,
        *,
        runs: RunCache,
        steps: StepSettings,
        converter: DataConverter,
        outbox: Outbox,
        watchdog: Watchdog,
    ) -> None:
        self._runs = runs
        self._steps = steps
        self._converter = converter
        self._outbox = outbox
        self._watchdog = watchdog
        self._with_results: dict[int, CachedRun] = {}
        self._changed = asyncio.Event()

    @property
    def held(self) -> list[CachedRun]:
        """The runs that have a task."""
        return [run for run in self._runs if run.task is not None]

    async def wait_until_idle(self) -> None:
        """Wait until no task is held."""
        while self.held:
            self._changed.clear()
            await self._changed.wait()

    # --- messages ----------------------------------------------------------------------------

    def begin(self, message: WorkflowTask) -> None:
        """A task begins."""
        run_id = message.run.run_id
        if message.complete:
            try:
                run = self._runs.make(message.run, message.events)
            except UnknownWorkflowTypeError as error:
                logger.warning("%s", error)
                self._tell_failed(message.task, "UnknownWorkflowType", failure_of(error))
                return
        else:
            found = self._runs.get(run_id)
            if found is None:
                self._runs.miss(run_id)
                return
            run = found
        self._runs.assign(run, HeldTask(id=message.task))
        self._activate(run, message.events, message.started, complete=message.complete)

    def go_on(self, message: TaskEvents) -> None:
        """Reports are on disk, or something has happened to a held run."""
        run = self._runs.of_task(message.task)
        if run is None or not message.events:
            return
        if run.task is None:
            self._keep_for_later(run, message.events)
            return
        for each in message.events:
            if isinstance(each.event, (StepCompleted, StepFailed)):
                run.task.reported.discard(each.event.seq)
        self._activate(run, message.events, message.events[-1].time, complete=False)

    def refuse(self, message: TaskRefused) -> None:
        """Nothing of a task is recorded any more."""
        run = self._runs.of_task(message.task)
        if run is not None:
            logger.info("A task of the %s was refused: %s", run.label, message.reason)
            self._forget(run)

    def evict(self, message: EvictRun) -> None:
        """The run is over, or lives elsewhere."""
        self._runs.forget(message.run_id)
        self._changed.set()

    # --- the worker's own --------------------------------------------------------------------

    def collect(self) -> None:
        """Report the steps that have ended since the last frame."""
        if self._with_results:
            runs, self._with_results = self._with_results, {}
            for run in runs.values():
                self._report(run)

    def fail_unread(self, task: int, run_id: str, cause: str, failure: Failure) -> None:
        """A task came that cannot be read."""
        self._runs.forget(run_id)
        self._tell_failed(task, cause, failure)
        self._changed.set()

    def fail_unsent(self, task: int, cause: str, failure: Failure) -> None:
        """A report cannot be sent."""
        self._tell_failed(task, cause, failure)
        run = self._runs.of_task(task)
        if run is not None:
            self._forget(run)

    def give_back(self, task: int) -> None:
        """Let somebody begin a task anew, perhaps this worker."""
        run = self._runs.of_task(task)
        if run is not None:
            self._runs.evict(run.ref.run_id)
            self._changed.set()

    def hand_back(self) -> None:
        """The worker is leaving: give back every task that still waits for something."""
        for run in self.held:
            self._runs.evict(run.ref.run_id, worker_shutdown=True)
        self._changed.set()

    def drop_all(self) -> None:
        """The connection is gone, and with it what the server knows of this cache."""
        self._runs.clear()
        self._changed.set()

    # --- one run -----------------------------------------------------------------------------

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
        task = run.task
        if told is None or task is None:
            return
        task.activations += told.activations
        task.is_closed = told.closed
        for seq in told.cancel_steps:
            self._cancel_step(run, task, seq)
        for invocation in told.start_steps:
            self._start_step(run, invocation)
        self._report(run, told.commands)

    def _keep_for_later(self, run: CachedRun, events: Sequence[HistoryEvent]) -> None:
        try:
            run.instance.activate(events, started=None, complete=False)
        except WorkflowTaskError as error:
            logger.warning("The %s is dropped from the cache: %s", run.label, error)
            self._runs.evict(run.ref.run_id)

    def _run_code(self, run: CachedRun, code: Callable[[], Told]) -> Told | None:
        try:
            told: Told = self._watchdog.run(run.label, code)
        except WorkflowTaskError as error:
            self._fail(run, error.task_cause, error.failure)
        except DeadlockError as error:
            self._fail(run, "Deadlock", failure_of(error))
        except Exception as error:
            # One run's trouble must not end the worker.
            logger.exception("The %s met an error of Perdure itself", run.label)
            self._fail(run, "InternalError", self._converter.to_failure(error))
        else:
            return told
        return None

    def _report(self, run: CachedRun, commands: Sequence[Command] = ()) -> None:
        """Send what there is to tell; with nothing left to do, give the task back."""
        task = run.task
        if task is None:
            return
        steps, task.finished = task.finished, []
        task.reported.update(each.seq for each in steps)
        done = task.is_closed or not (run.steps or task.reported)
        if not (commands or steps or done):
            return
        task.number += 1
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
        if done:
            self._end_task(run, closed=task.is_closed)

    def _end_task(self, run: CachedRun, *, closed: bool) -> None:
        run.task = None
        if closed:
            self._runs.evict(run.ref.run_id)
        else:
            self._runs.shrink()
        self._changed.set()

    def _fail(self, run: CachedRun, cause: str, failure: Failure) -> None:
        trace = f"\n{failure.stack_trace}" if failure.stack_trace else ""
        logger.warning(
            "The %s cannot go on (%s): %s. It is tried again, with growing delays, until its code "
            "is mended%s",
            run.label,
            cause,
            failure.message,
            trace,
        )
        if run.task is not None:
            self._tell_failed(run.task.id, cause, failure)
        self._forget(run)

    def _tell_failed(self, task: int, cause: str, failure: Failure) -> None:
        self._outbox.put(TaskFailed(task=task, cause=cause, failure=failure))

    def _forget(self, run: CachedRun) -> None:
        self._runs.forget(run.ref.run_id)
        self._changed.set()

    # --- steps -------------------------------------------------------------------------------

    def _start_step(self, run: CachedRun, invocation: StepInvocation) -> None:
        def ended(result: StepResult) -> None:
            if run.steps.pop(result.seq, None) is None or run.task is None:
                return
            run.task.finished.append(result)
            self._with_results[run.task.id] = run
            self._outbox.wake()

        run.steps[invocation.seq] = Step(run.ref, run.workflow_type, invocation, self._steps, ended)

    def _cancel_step(self, run: CachedRun, task: HeldTask, seq: int) -> None:
        step = run.steps.pop(seq, None)
        if step is not None:
            step.cancel()
        task.finished = [each for each in task.finished if each.seq != seq]
