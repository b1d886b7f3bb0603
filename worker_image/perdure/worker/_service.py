"""A worker from its start to its end: the parts put together, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

from perdure.activity._context import Flag
from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.messages import AttemptRef, Hello, RunRef
from perdure.replay.instance import WorkflowInstance
from perdure.worker._activities import Activities
from perdure.worker._attempts import AttemptSettings
from perdure.worker._codec import CodecBorder
from perdure.worker._heartbeats import throttle_interval
from perdure.worker._options import WorkerOptions
from perdure.worker._outbox import Outbox
from perdure.worker._queries import Queries
from perdure.worker._runs import RunCache, UnknownWorkflowTypeError
from perdure.worker._session import Session
from perdure.worker._steps import StepSettings
from perdure.worker._stream import Stream
from perdure.worker._watchdog import Watchdog
from perdure.worker._workflows import Workflows

logger = logging.getLogger("perdure.worker")

_LAST_WORDS = 5.0
"""Seconds for what has been cancelled to end, and for the last reports to reach the disk."""
_DRAIN = 2.0
"""Seconds for the server to hear that nothing new is wanted."""


class Service:
    """What runs while a worker runs. Made on the loop that it runs on."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._converter = options.client.data_converter
        self._shutdown = Flag()
        self._stop = asyncio.Event()
        self._outbox = Outbox()
        self._watchdog = Watchdog(deadlock_timeout=None if options.debug_mode else 2.0)
        self._own_threads = ThreadPoolExecutor(
            options.activity_slots, thread_name_prefix="perdure-activity"
        )
        self._step_threads = ThreadPoolExecutor(
            options.step_threads, thread_name_prefix="perdure-step"
        )
        runs = RunCache(
            make_instance=self._make_instance,
            capacity=options.max_cached_workflows,
            outbox=self._outbox,
            watchdog=self._watchdog,
        )
        self._workflows = self._make_workflows(runs)
        self._activities = self._make_activities()
        self._session = Session(
            hello=self._hello,
            workflows=self._workflows,
            queries=Queries(runs=runs, outbox=self._outbox, watchdog=self._watchdog),
            activities=self._activities,
            outbox=self._outbox,
        )
        self._stream = Stream(
            address=options.client.service.connection,
            handler=self._session,
            outbox=self._outbox,
            border=CodecBorder(self._converter) if self._converter.payload_codec else None,
            beat=self._watchdog.beat,
        )

    def stop(self) -> None:
        """Let it leave."""
        self._stop.set()

    async def run(self) -> None:
        """Work until it is stopped, or has been idle for long enough.

        Raises:
            WorkerRefusedError: the server will not have this worker.
        """
        logger.info(
            "Worker %s takes tasks of %s/%s from %s",
            self._options.identity,
            self._options.client.namespace,
            self._options.task_queue,
            self._options.client.service.connection.base_url,
        )
        self._watchdog.start()
        stream = asyncio.create_task(self._stream.run(), name="perdure stream")
        until_idle = asyncio.create_task(self._wait_until_idle(), name="perdure idle clock")
        once = asyncio.create_task(self._wait_until_done_once(), name="perdure once")
        stopped = asyncio.create_task(self._stop.wait(), name="perdure stop")
        ends = {stream, until_idle, once, stopped}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not stream.done():
                await self._leave()
        finally:
            self._shutdown.set()
            await _end(until_idle, once, stopped)
            self._abandon()
            await _end(stream)
            self._watchdog.stop()
            self._own_threads.shutdown(wait=False, cancel_futures=True)
            self._step_threads.shutdown(wait=False, cancel_futures=True)
        if not stream.cancelled():
            stream.result()
        logger.info("Worker %s has left", self._options.identity)

    async def _leave(self) -> None:
        """Take nothing new, finish, hand back what cannot be finished in time."""
        logger.info("Worker %s is leaving", self._options.identity)
        self._shutdown.set()
        await _at_most(_DRAIN, self._session.drain())
        grace = self._options.graceful_shutdown_timeout.total_seconds()
        await _at_most(grace, self._wait_until_free())
        self._workflows.hand_back()
        self._activities.cancel_all()
        await _at_most(_LAST_WORDS, self._activities.wait_until_ended())
        self._activities.give_up()
        await _at_most(_LAST_WORDS, self._activities.wait_until_acknowledged())
        await self._stream.close()

    async def _wait_until_free(self) -> None:
        await self._activities.wait_until_ended()
        await self._workflows.wait_until_idle()

    def _abandon(self) -> None:
        """Leave nothing running, whatever ended the worker."""
        self._workflows.drop_all()
        self._activities.cancel_all()

    async def _wait_until_idle(self) -> None:
        """Return when nothing has been held for ``idle_after``; never without it."""
        if self._options.idle_after is None:
            await asyncio.Event().wait()
            return
        patience = self._options.idle_after.total_seconds()
        loop = asyncio.get_running_loop()
        while True:
            if not self._session.is_idle:
                self._session.last_busy = loop.time()
            left = self._session.last_busy + patience - loop.time()
            if left <= 0:
                logger.info("Worker %s has had nothing to do", self._options.identity)
                return
            await asyncio.sleep(left)

    async def _wait_until_done_once(self) -> None:
        """Return when an attempt has been run and reported; never for a worker that stays."""
        if not self._options.once:
            await asyncio.Event().wait()
        await self._activities.wait_until_begun()
        await self._session.drain()
        await self._activities.wait_until_ended()
        await self._activities.wait_until_acknowledged()

    def _hello(self, held: tuple[AttemptRef, ...]) -> Hello:
        options = self._options
        return Hello(
            worker_id=options.worker_id,
            identity=options.identity,
            namespace=options.client.namespace,
            task_queue=options.task_queue,
            build_id=options.build_id,
            workflow_types=tuple(options.registry.workflows),
            activity_types=tuple(options.registry.activities),
            workflow_slots=0 if options.once else options.workflow_slots,
            activity_slots=1 if options.once else options.activity_slots,
            held=held,
        )

    def _make_workflows(self, runs: RunCache) -> Workflows:
        return Workflows(
            runs=runs,
            steps=StepSettings(
                registry=self._options.registry,
                converter=self._converter,
                executor=self._step_threads,
                shutdown=self._shutdown,
                task_queue=self._options.task_queue,
            ),
            converter=self._converter,
            outbox=self._outbox,
            watchdog=self._watchdog,
        )

    def _make_activities(self) -> Activities:
        return Activities(
            registry=self._options.registry,
            settings=AttemptSettings(
                converter=self._converter,
                executor=self._options.activity_executor or self._own_threads,
                shutdown=self._shutdown,
                throttle=partial(
                    throttle_interval,
                    default=self._options.default_throttle.total_seconds(),
                    longest=self._options.longest_throttle.total_seconds(),
                ),
                client=cast("Any", self._options.client),
            ),
            outbox=self._outbox,
        )

    def _make_instance(self, run: RunRef, events: Sequence[HistoryEvent]) -> WorkflowInstance:
        start = events[0].event if events else None
        name = start.workflow_type if isinstance(start, WorkflowStarted) else "(unknown)"
        definition = self._options.registry.find_workflow(name)
        if definition is None:
            known = ", ".join(sorted(self._options.registry.workflows)) or "none"
            raise UnknownWorkflowTypeError(
                f"Workflow type {name!r} is not registered on this worker of task queue "
                f"{self._options.task_queue!r}; registered are: {known}. Give its class to "
                "Worker(workflows=[...]), or start it on the task queue whose workers have it"
            )
        return WorkflowInstance(
            definition,
            run,
            self._converter,
            failure_exception_types=self._options.workflow_failures,
        )


async def _at_most(seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; what they raise is looked at elsewhere."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
