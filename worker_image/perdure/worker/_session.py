"""What a worker does with the messages of the stream: hands each to the side that it is for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.exceptions import PayloadTooLargeError
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.messages import (
    ActivityHeartbeat,
    ActivityReport,
    ActivityTask,
    AskQuery,
    AttemptRef,
    CancelActivity,
    Drain,
    EvictRun,
    FromServer,
    FromWorker,
    Hello,
    Ping,
    Pong,
    QueryAnswer,
    ReportAccepted,
    TaskEvents,
    TaskFailed,
    TaskProgress,
    TaskRefused,
    Welcome,
    WorkflowTask,
)
from perdure.worker._activities import Activities
from perdure.worker._outbox import Outbox
from perdure.worker._outcomes import PAYLOAD_TOO_LARGE
from perdure.worker._queries import Queries
from perdure.worker._workflows import Workflows

logger = logging.getLogger("perdure.worker")

CODEC_ERROR = "CodecError"
_WRITING = 0.05
"""Seconds that a commit of the server takes at most, as a rule."""


class Session:
    """One worker's side of the stream, over however many connections it takes.

    Args:
        hello: Makes the first message for what is held.
        workflows: Takes workflow tasks.
        queries: Takes queries.
        activities: Takes activity tasks.
        outbox: Where answers go.
    """

    def __init__(
        self,
        *,
        hello: Callable[[tuple[AttemptRef, ...]], Hello],
        workflows: Workflows,
        queries: Queries,
        activities: Activities,
        outbox: Outbox,
    ) -> None:
        self._hello = hello
        self._workflows = workflows
        self._activities = activities
        self._outbox = outbox
        self._draining = False
        self._drained = asyncio.Event()
        self._pongs_due = 0
        self._is_connected = False
        self.last_busy = asyncio.get_running_loop().time()
        """When a message last brought or ended work."""
        self._handlers: dict[type, Callable[[Any], None]] = {
            WorkflowTask: workflows.begin,
            TaskEvents: workflows.go_on,
            TaskRefused: workflows.refuse,
            EvictRun: workflows.evict,
            AskQuery: queries.ask,
            ActivityTask: activities.begin,
            CancelActivity: activities.cancel,
            ReportAccepted: activities.acknowledge,
        }

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held."""
        return not (self._workflows.held or self._activities.held)

    async def drain(self) -> None:
        """Ask for nothing new, and wait until nothing new can be on its way.

        The server answers in order: what it handed out before it read the Drain has come when
        its answer to a Ping behind the Drain has, but for attempts that it was writing to the
        disk at that time.
        """
        self._draining = True
        if not self._is_connected:
            return  # nothing can be on its way; should it connect again, it asks for nothing
        self._outbox.put(Drain())
        self.ping()
        await self._drained.wait()
        await asyncio.sleep(_WRITING)

    # --- Handler -----------------------------------------------------------------------------

    def hello(self) -> Hello:
        """Return the first message of a new connection."""
        hello = self._hello(self._activities.held)
        if self._draining:
            hello = msgspec.structs.replace(hello, workflow_slots=0, activity_slots=0)
        return hello

    def connected(self, _welcome: Welcome) -> None:
        """Go on: the server knows this worker."""
        self._is_connected = True
        self._pongs_due = 0
        self._activities.repeat_reports()
        if self._draining:
            self._outbox.put(Drain())
            self.ping()

    def disconnected(self) -> None:
        """Drop what the server gives to others now."""
        self._is_connected = False
        self._workflows.drop_all()

    def receive(self, message: FromServer) -> None:
        """Handle a message."""
        handle = self._handlers.get(type(message))
        if handle is not None:
            self.last_busy = asyncio.get_running_loop().time()
            handle(message)
        elif isinstance(message, Pong):
            self._pongs_due -= 1
            if self._draining and self._pongs_due == 0:
                self._drained.set()

    def ping(self) -> None:
        """Give a sign of life."""
        self._pongs_due += 1
        self._outbox.put(Ping())

    def collect(self) -> None:
        """Put into the outbox what waited for the end of the round."""
        self._workflows.collect()

    def unreadable(self, message: FromServer, error: Exception) -> None:
        """A message came that the codec cannot decode."""
        logger.error("The payload codec cannot decode a %s", type(message).__name__, exc_info=error)
        failure = _codec_failure(error)
        match message:
            case WorkflowTask(task=task, run=run):
                self._workflows.fail_unread(task, run.run_id, CODEC_ERROR, failure)
            case TaskEvents(task=task):
                self._workflows.give_back(task)
            case ActivityTask(attempt=attempt):
                self._activities.report(ActivityReport(attempt=attempt, failure=failure))
            case AskQuery(query=query):
                self._outbox.put(QueryAnswer(query=query, failure=failure))
            case _:
                pass  # nothing else carries payloads

    def unsendable(self, message: FromWorker, error: Exception) -> None:
        """A message was not sent: the codec cannot encode it, or no frame holds it."""
        logger.error("A %s cannot be sent: %s", type(message).__name__, error)
        failure = _codec_failure(error)
        match message:
            case TaskProgress(task=task):
                self._workflows.fail_unsent(task, _type_of(failure), failure)
            case ActivityReport(attempt=attempt):
                self._activities.report(ActivityReport(attempt=attempt, failure=failure))
            case ActivityHeartbeat(attempt=attempt, details=details) if details:
                self._outbox.put(ActivityHeartbeat(attempt=attempt))
            case QueryAnswer(query=query):
                self._outbox.put(QueryAnswer(query=query, failure=failure))
            case TaskFailed(task=task, cause=cause, failure=described):
                bare = Failure(message=described.message, stack_trace=described.stack_trace)
                self._outbox.put(TaskFailed(task=task, cause=cause, failure=bare))
            case _:
                pass  # nothing else carries payloads


def _codec_failure(error: Exception) -> Failure:
    too_large = isinstance(error, PayloadTooLargeError)
    info = ApplicationInfo(
        type=PAYLOAD_TOO_LARGE if too_large else CODEC_ERROR, non_retryable=too_large
    )
    return Failure(message=str(error) or type(error).__name__, info=info)


def _type_of(failure: Failure) -> str:
    assert isinstance(failure.info, ApplicationInfo)
    return failure.info.type
