"""``perdure run`` behind its options: start or find the run, work on it, watch it end."""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.cli.asking import explain, open_service
from perdure.cli.ending import print_ending
from perdure.cli.errors import EXIT_RUN_FAILED, EXIT_UNREACHABLE, CommandError
from perdure.cli.failures import failure_lines
from perdure.cli.following import follow_history
from perdure.cli.loading import Definitions
from perdure.cli.outputs import print_line
from perdure.cli.servers import ServerOptions, running_server
from perdure.cli.verbs.show import batch_line
from perdure.protocol.events import HistoryEvent, WorkflowTaskFailed
from perdure.protocol.failures import Failure
from perdure.protocol.lines import HistoryLines, failure_text
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Payloads
from perdure.protocol.verbs import (
    DescribeRequest,
    PendingActivity,
    ResultRequest,
    ResultResponse,
    RunDescription,
    StartRequest,
)

if TYPE_CHECKING:
    from perdure.client import Service

_LOOK_AGAIN = 1000
"""Milliseconds without an event after which to look at what is being tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What ``perdure run`` was asked for."""

    definitions: Definitions
    workflow_type: str
    workflow_id: str
    namespace: str
    task_queue: str
    input: Payloads
    db: Path
    port: int
    """Of the server; 0 takes a free one."""
    again: str
    """The command to give again, without the id."""

    @property
    def how_to_go_on(self) -> str:
        """The command that goes on with this run."""
        return f"{self.again} --id {self.workflow_id}"


class BrokenCodeError(Exception):
    """The workflow's code cannot be run as it is; the run waits for better code."""

    def __init__(self, cause: str, failure: Failure) -> None:
        super().__init__(cause)
        self.cause = cause
        self.failure = failure


def run_to_end(job: Job) -> int:
    """Run a workflow to its end and return the exit code.

    Raises:
        CommandError: it could not be run.
        KeyboardInterrupt: the user, or SIGTERM, ended the command first.
    """
    from perdure.client import RPCError

    # What the server and the worker say of failing code is said better by this command.
    logging.getLogger("perdure.worker").setLevel(logging.ERROR)
    for name in ("perdure.workflow", "perdure.activity"):
        logging.getLogger(name).setLevel(logging.INFO)
    options = ServerOptions(db=job.db, port=job.port, release_leases=True, log_level="error")
    with running_server(options) as server:
        print_line(f"server on {server.address}", to_stderr=True)
        try:
            ended = asyncio.run(_run(job, server.address))
        except BrokenCodeError as error:
            _tell_broken_code(job, error)
            return EXIT_RUN_FAILED
        except RPCError as error:
            told = explain(error)
            raise CommandError(f"{told}\nGo on with: {job.how_to_go_on}", told.code) from None
    return print_ending(job.workflow_id, ended)


def _tell_broken_code(job: Job, error: BrokenCodeError) -> None:
    print_line(f"{job.workflow_id}: its code cannot go on ({error.cause})", to_stderr=True)
    for line in failure_lines(error.failure):
        print_line(f"  {line}", to_stderr=True)
    print_line(
        f"Nothing is lost: mend the code, then go on with: {job.how_to_go_on}", to_stderr=True
    )


async def _run(job: Job, address: str) -> ResultResponse:
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        async with open_service(address) as service:
            found = await _find(service, job)
            if found is not None and not found.status.is_open:
                print_line(f"{job.workflow_id} is over; this is how it ended", to_stderr=True)
                return await _result(service, found.run_id, job)
            run_id = found.run_id if found else await _start(service, job)
            await _work_on(service, job, run_id, found)
            return await _result(service, run_id, job)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _find(service: Service, job: Job) -> RunDescription | None:
    from perdure.client import RPCError

    try:
        found = await service.call(
            DescribeRequest(namespace=job.namespace, workflow_id=job.workflow_id)
        )
    except RPCError as error:
        if error.code == "NotFound":
            return None
        raise
    if found.workflow_type != job.workflow_type:
        raise CommandError(
            f"{job.workflow_id} is a run of {found.workflow_type}, not of {job.workflow_type}: "
            "give another --id"
        )
    return found


async def _start(service: Service, job: Job) -> str:
    started = await service.call(
        StartRequest(
            namespace=job.namespace,
            workflow_id=job.workflow_id,
            workflow_type=job.workflow_type,
            task_queue=job.task_queue,
            input=job.input,
            request_id=str(uuid.uuid4()),
            identity="perdure run",
        )
    )
    print_line(f"started {job.workflow_id}", to_stderr=True)
    return started.run_id


async def _work_on(service: Service, job: Job, run_id: str, found: RunDescription | None) -> None:
    from perdure.client import Client
    from perdure.exceptions import UsageError
    from perdure.worker import Worker

    if found is not None:
        print_line(f"going on with {job.workflow_id}", to_stderr=True)
    client = Client(service, namespace=job.namespace)
    try:
        worker = Worker(
            client,
            task_queue=found.task_queue if found else job.task_queue,
            workflows=job.definitions.workflows,
            activities=job.definitions.activities,
        )
    except UsageError as error:
        raise CommandError(str(error)) from None
    watch = Watch(service, RunRef(job.namespace, job.workflow_id, run_id), found)
    await _until_first(watch.to_the_end(), worker.run())


async def _until_first(
    watching: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]
) -> None:
    """Wait until the run is over or its worker is, which it should not be first."""
    tasks = [asyncio.create_task(watching), asyncio.create_task(work)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in tasks if task.done())
        if ended is tasks[1]:
            error = ended.exception() or "it left"
            raise CommandError(f"the worker ended before the run: {error}", EXIT_UNREACHABLE)
        await ended
    finally:
        for task in tasks:
            task.cancel()  # the worker hands back what it holds
        await asyncio.gather(*tasks, return_exceptions=True)


async def _result(service: Service, run_id: str, job: Job) -> ResultResponse:
    return await service.call(
        ResultRequest(namespace=job.namespace, workflow_id=job.workflow_id, run_id=run_id, wait=0)
    )


def _what_of(activity: PendingActivity) -> str:
    """Return what leaves no event: why it is tried again, or what it lacks."""
    if activity.waits_for:
        return f"waits for {activity.waits_for}"
    if activity.last_failure is None:
        return ""
    return f"attempt {activity.attempt}, after {failure_text(activity.last_failure)}"


@dataclass
class Watch:
    """Prints what happens to a run, and notices when its code cannot go on."""

    service: Service
    run: RunRef
    found: RunDescription | None
    """The run as it was found; None for a new one."""
    _lines: HistoryLines = field(default_factory=HistoryLines)
    _told_attempts: set[tuple[int, int]] = field(default_factory=set)
    _told_batches: dict[int, str] = field(default_factory=dict)

    async def to_the_end(self) -> None:
        """Watch until the run is closed.

        Raises:
            BrokenCodeError: the workflow's code failed.
        """
        async for recorded in follow_history(self.service, self.run, wait=_LOOK_AGAIN):
            if recorded is None:
                await self._look()
            else:
                self._tell(recorded)

    def _tell(self, recorded: HistoryEvent) -> None:
        line = self._lines.line(recorded)
        if line is not None:
            print_line(line, to_stderr=True)
        is_news = self.found is None or recorded.id > self.found.events
        if is_news and isinstance(recorded.event, WorkflowTaskFailed):
            raise BrokenCodeError(recorded.event.cause, recorded.event.failure)

    async def _look(self) -> None:
        """Look at what leaves no event: attempts that failed, and code that fails once more."""
        now = await self.service.call(
            DescribeRequest(
                namespace=self.run.namespace,
                workflow_id=self.run.workflow_id,
                run_id=self.run.run_id,
            )
        )
        for each in now.pending_activities:
            attempt = (each.seq, each.attempt)
            told = _what_of(each)
            if told and attempt not in self._told_attempts:
                self._told_attempts.add(attempt)
                print_line(f"           {each.activity_type}: {told}", to_stderr=True)
        for batch in now.pending_batches:
            progress = batch_line(batch)
            if self._told_batches.get(batch.seq) != progress:
                self._told_batches[batch.seq] = progress
                print_line(f"           {progress}", to_stderr=True)
        before = self.found.task_attempt if self.found else 1
        if now.task_failure is not None and now.task_attempt > before:
            raise BrokenCodeError(now.task_failure_cause, now.task_failure)
