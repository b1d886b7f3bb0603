"""The activity side of a worker: attempts that run, and reports until they are on disk.

A report is kept until the server has it on disk and repeated on every new connection; what runs
goes on over a broken connection, because the server keeps the lease for a worker that comes back.
"""

from __future__ import annotations

import asyncio
import logging

from perdure.activity._info import ActivityCancellationDetails
from perdure.protocol.items import key_text
from perdure.protocol.messages import (
    ActivityReport,
    ActivityTask,
    AttemptRef,
    CancelActivity,
    ReportAccepted,
)
from perdure.worker._attempts import Attempt, AttemptSettings
from perdure.worker._outbox import Outbox
from perdure.worker._outcomes import NOT_REGISTERED, failed
from perdure.worker._registry import Registry

logger = logging.getLogger("perdure.worker")

_REASONS = {
    "cancel_requested": ActivityCancellationDetails(cancel_requested=True),
    "not_found": ActivityCancellationDetails(not_found=True),
    "timed_out": ActivityCancellationDetails(timed_out=True),
}


class Activities:
    """Runs the attempts that a worker is handed."""

    def __init__(self, *, registry: Registry, settings: AttemptSettings, outbox: Outbox) -> None:
        self._registry = registry
        self._settings = settings
        self._outbox = outbox
        self._running: dict[AttemptRef, Attempt] = {}
        self._reported: dict[AttemptRef, ActivityReport] = {}
        self._given_up: set[AttemptRef] = set()
        """Attempts that the server itself said were over: it will refuse their reports."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._begun = asyncio.Event()

    @property
    def held(self) -> tuple[AttemptRef, ...]:
        """Attempts that run, or whose report is not known to be on disk."""
        return (*self._running, *self._reported)

    def begin(self, task: ActivityTask) -> None:
        """Start an attempt."""
        if task.attempt in self._running or task.attempt in self._reported:
            return  # handed out again after a reconnection; it is on its way
        self._begun.set()
        registered = self._registry.find_activity(task.activity_type)
        if registered is None:
            self._refuse(task)
            return

        attempt = Attempt(
            task, registered, self._settings, send=self._outbox.put, report=self.report
        )
        self._running[task.attempt] = attempt
        # The task's own name is what a log of a blocked loop says.
        running = asyncio.create_task(attempt.run(), name=attempt.label)
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    def cancel(self, message: CancelActivity) -> None:
        """Ask an attempt to stop, at once and whether or not it sends heartbeats."""
        attempt = self._running.get(message.attempt)
        if attempt is None:
            return
        details = _REASONS.get(message.reason, _REASONS["cancel_requested"])
        if not details.cancel_requested:
            self._given_up.add(message.attempt)
            logger.warning("The %s is stopped: the server says %s", attempt.label, message.reason)
        attempt.cancel(details)

    def acknowledge(self, message: ReportAccepted) -> None:
        """A report is on disk, or came too late."""
        report = self._reported.pop(message.attempt, None)
        expected = message.attempt in self._given_up
        self._given_up.discard(message.attempt)
        if report is not None and not message.accepted and not expected:
            logger.warning(
                "The report of attempt %d of activity %s of run %s came too late and is dropped: "
                "the attempt timed out, or this worker's lease passed, or the run is over",
                message.attempt.attempt,
                key_text(message.attempt.seq),
                message.attempt.run_id,
            )
        self._settle()

    def repeat_reports(self) -> None:
        """Send again what may not have arrived."""
        for report in self._reported.values():
            self._outbox.put(report)

    def report(self, report: ActivityReport) -> None:
        """Say how an attempt ended, until it is known to be on disk."""
        self._running.pop(report.attempt, None)
        self._reported[report.attempt] = report
        self._outbox.put(report)
        self._settle()

    def cancel_all(self) -> None:
        """The worker is leaving: ask every attempt to stop."""
        for attempt in list(self._running.values()):
            attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))

    def give_up(self) -> None:
        """Report for those that do not stop."""
        for attempt in list(self._running.values()):
            attempt.give_up("the worker is shutting down and did not wait for it any longer")

    async def wait_until_begun(self) -> None:
        """Wait until there was an attempt."""
        await self._begun.wait()

    async def wait_until_ended(self) -> None:
        """Wait until no attempt runs."""
        while self._running:
            self._settled.clear()
            await self._settled.wait()

    async def wait_until_acknowledged(self) -> None:
        """Wait until every report is on disk."""
        while self._reported:
            self._settled.clear()
            await self._settled.wait()

    def _refuse(self, task: ActivityTask) -> None:
        known = ", ".join(sorted(self._registry.activities)) or "none"
        message = (
            f"Activity {task.activity_type!r} is not registered on this worker of task queue "
            f"{task.task_queue!r}; registered are: {known}. Give it to Worker(activities=[...]), "
            "or correct the name where it is called"
        )
        logger.warning(message)
        outcome = failed(message, type_=NOT_REGISTERED)
        self.report(ActivityReport(attempt=task.attempt, failure=outcome.failure))

    def _settle(self) -> None:
        self._settled.set()
