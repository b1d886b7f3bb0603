"""The worker: what users make, run and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from perdure.exceptions import UsageError
from perdure.worker import guards
from perdure.worker._options import WorkerClient, WorkerOptions
from perdure.worker._registry import register, usable_slots
from perdure.worker._service import Service

logger = logging.getLogger("perdure.worker")


class Worker:
    """Runs the workflows and activities of one task queue.

    Either ``await worker.run()``, which ends when the worker leaves, or ``async with worker:``
    around what needs it. A worker runs once.

    Args:
        client: Says where the server is, the namespace, and how values are converted.
        task_queue: What it takes tasks from.
        workflows: Classes marked with ``@workflow.defn``.
        activities: Functions, methods and callables marked with ``@activity.defn``.
        activity_executor: Threads for sync activities; by default as many as are needed.
        max_concurrent_activities: Attempts that may run at once.
        max_concurrent_workflow_tasks: Workflow tasks that may be held at once.
        max_concurrent_local_activities: Threads for sync steps.
        max_cached_workflows: Runs that are kept in memory while they wait. 0 keeps none: each task
            then replays its run's whole history.
        graceful_shutdown_timeout: How long running activities and steps may go on when the worker
            leaves, before they are cancelled.
        max_heartbeat_throttle_interval: The longest time between two heartbeats that are sent.
        default_heartbeat_throttle_interval: The same for activities without a heartbeat timeout.
        identity: Who it is, for people; process and host by default.
        build_id: Which version of the code it runs.
        debug_mode: Let workflow code stop at breakpoints: its activations may take any time. Also
            set by the environment variable PERDURE_DEBUG.
        workflow_failure_exception_types: Exceptions that fail a run, besides failures and timeouts,
            for every workflow. By default another exception fails the task, which is tried again.
        on_fatal_error: Awaited with the error that ends the worker.
        idle_after: The worker leaves by itself when it has held nothing for that long.
        once: It takes one attempt of an activity, nothing else, and leaves when the report of that
            is on disk: the worker of an activity with a pod of its own.

    Raises:
        UsageError: something in this cannot work; the message says what to write instead.
    """

    def __init__(  # noqa: PLR0913 - all but one by keyword, with Temporal's names
        self,
        client: WorkerClient,
        *,
        task_queue: str,
        workflows: Sequence[type] = (),
        activities: Sequence[Callable[..., Any]] = (),
        activity_executor: Executor | None = None,
        max_concurrent_activities: int = 100,
        max_concurrent_workflow_tasks: int = 100,
        max_concurrent_local_activities: int = 32,
        max_cached_workflows: int = 1000,
        graceful_shutdown_timeout: timedelta = timedelta(seconds=10),
        max_heartbeat_throttle_interval: timedelta = timedelta(seconds=60),
        default_heartbeat_throttle_interval: timedelta = timedelta(seconds=30),
        identity: str | None = None,
        build_id: str | None = None,
        debug_mode: bool = False,
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None = None,
        idle_after: timedelta | None = None,
        once: bool = False,
    ) -> None:
        registry = register(workflows, activities)
        self._options = WorkerOptions(
            client=client,
            task_queue=task_queue,
            registry=registry,
            activity_executor=activity_executor,
            activity_slots=usable_slots(registry, activity_executor, max_concurrent_activities),
            workflow_slots=max_concurrent_workflow_tasks,
            step_threads=max_concurrent_local_activities,
            max_cached_workflows=max_cached_workflows,
            graceful_shutdown_timeout=graceful_shutdown_timeout,
            longest_throttle=max_heartbeat_throttle_interval,
            default_throttle=default_heartbeat_throttle_interval,
            worker_id=uuid.uuid4().hex,
            identity=identity or client.identity or f"{os.getpid()}@{socket.gethostname()}",
            build_id=build_id or "",
            debug_mode=debug_mode or bool(os.environ.get("PERDURE_DEBUG")),
            workflow_failures=tuple(workflow_failure_exception_types),
            idle_after=idle_after,
            once=once,
        )
        self._on_fatal_error = on_fatal_error
        self._service: Service | None = None
        self._running: asyncio.Task[None] | None = None
        self._block: asyncio.Task[Any] | None = None
        self._stop_wanted = False

    @property
    def task_queue(self) -> str:
        """What it takes tasks from."""
        return self._options.task_queue

    @property
    def is_running(self) -> bool:
        """Whether it is between its start and its end, draining included."""
        return self._running is not None and not self._running.done()

    @property
    def is_shutdown(self) -> bool:
        """Whether it has run and ended."""
        return self._running is not None and self._running.done()

    async def run(self) -> None:
        """Run until :meth:`shutdown`, SIGTERM, ``idle_after``, or the end of what ``once`` takes.

        SIGTERM is listened to only where nobody else does, on the main thread. Cancelling this
        call shuts the worker down too; cancelling it again does not wait for that.

        Raises:
            WorkerRefusedError: the server will not have this worker.
        """
        running = self._start()
        with self._stopped_by_sigterm():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                if running.cancelled():
                    raise
                self._stop()
                try:
                    await running
                finally:
                    running.cancel()
                raise

    async def shutdown(self) -> None:
        """Take nothing new, finish or hand back what is held, and leave.

        Returns when the worker has ended.
        """
        self._stop()
        if self._running is not None:
            with suppress(Exception):  # whoever runs the worker is told
                await asyncio.shield(self._running)

    async def __aenter__(self) -> Self:
        """Start; should the worker end by an error, the block is cancelled and raises it."""
        running = self._start()
        self._block = asyncio.current_task()
        running.add_done_callback(self._cancel_block)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._running is not None
        self._running.remove_done_callback(self._cancel_block)
        self._stop()
        await self._running

    def _cancel_block(self, running: asyncio.Task[None]) -> None:
        if self._block is not None and (running.cancelled() or running.exception()):
            self._block.cancel()

    def _start(self) -> asyncio.Task[None]:
        if self._running is not None:
            raise UsageError("This worker has been started already: make a new Worker to run again")
        guards.install()
        for module in self._options.registry.workflow_modules:
            guards.install_into(module)
        self._service = Service(self._options)
        if self._stop_wanted:
            self._service.stop()
        self._running = asyncio.create_task(self._run(self._service), name="perdure worker")
        return self._running

    async def _run(self, service: Service) -> None:
        try:
            await service.run()
        except Exception as error:
            logger.critical("Worker %s ends: %s", self._options.identity, error)
            if self._on_fatal_error is not None:
                await self._on_fatal_error(error)
            raise

    def _stop(self) -> None:
        self._stop_wanted = True
        if self._service is not None:
            self._service.stop()

    @contextmanager
    def _stopped_by_sigterm(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if ours:
            loop.add_signal_handler(signal.SIGTERM, self._stop)
        try:
            yield
        finally:
            if ours:
                loop.remove_signal_handler(signal.SIGTERM)
