"""Running activity code in a test, without a worker or a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity._context import Context, Flag, current_context
from perdure.activity._definition import find_definition, is_async
from perdure.converter import DataConverter, PayloadConverter
from perdure.exceptions import CancelledError
from perdure.worker._threads import Interrupter

if TYPE_CHECKING:
    from perdure.client import Client

P = ParamSpec("P")
R = TypeVar("R")

_REQUESTED = ActivityCancellationDetails(cancel_requested=True)


class ActivityEnvironment:
    """Gives activity code what :mod:`perdure.activity` offers.

    ::

        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: heartbeats.append(details)
        assert await environment.run(charge, order) == "paid"

    Args:
        client: What :func:`perdure.activity.client` returns in async activities.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.info = self.default_info()
        """What the code sees of itself; change it with :func:`dataclasses.replace`."""
        self.on_heartbeat: Callable[..., None] = lambda *_details: None
        """Called with the details of each heartbeat."""
        self.payload_converter: PayloadConverter = DataConverter.default.payload_converter
        """What the code converts raw values with."""
        self._client = client
        self._shutdown = Flag()
        self._cancelled: ActivityCancellationDetails | None = None
        self._running: set[_Running] = set()

    @staticmethod
    def default_info() -> Info:
        """Return what an activity in a test is called, how often it was tried, and so on."""
        epoch = datetime.fromtimestamp(0, UTC)
        return Info(
            activity_id="test",
            activity_type="unknown",
            attempt=1,
            current_attempt_scheduled_time=epoch,
            heartbeat_details=[],
            heartbeat_timeout=None,
            is_local=False,
            namespace="default",
            schedule_to_close_timeout=timedelta(seconds=1),
            scheduled_time=epoch,
            start_to_close_timeout=timedelta(seconds=1),
            started_time=epoch,
            task_queue="test",
            task_token=b"test",
            workflow_id="test",
            workflow_namespace="default",
            workflow_run_id="test-run",
            workflow_type="test",
            idempotency_key="test-run:1",
        )

    def run(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` as an activity; of an async one this returns what is to be awaited."""
        return _Running(self, fn).run(*args, **kwargs)  # type: ignore[no-any-return]  # fn says what

    def cancel(self, cancellation_details: ActivityCancellationDetails = _REQUESTED) -> None:
        """Ask what runs, and what is run later, to stop; only the first call counts."""
        if self._cancelled is None:
            self._cancelled = cancellation_details
            for running in list(self._running):
                running.cancel(cancellation_details)

    def worker_shutdown(self) -> None:
        """Let the worker leave, as far as the code can see."""
        self._shutdown.set()


class _Running:
    """One call of activity code."""

    def __init__(self, environment: ActivityEnvironment, fn: Callable[..., Any]) -> None:
        self._environment = environment
        self._fn = fn
        self._is_async = is_async(fn)
        definition = find_definition(fn)
        silent = definition is not None and definition.no_thread_cancel_exception
        self._interrupter = None if self._is_async or silent else Interrupter()
        self._context = Context(
            info=lambda: environment.info,
            heartbeat=environment.on_heartbeat,
            shutdown=environment._shutdown,  # noqa: SLF001 - two halves of one thing
            shield=self._interrupter.shield if self._interrupter else nullcontext,
            payload_converter=lambda: environment.payload_converter,
            client=environment._client if self._is_async else None,  # noqa: SLF001
        )
        self._task: asyncio.Task[Any] | None = None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return self._run_async(args, kwargs) if self._is_async else self._run_sync(args, kwargs)

    async def _run_async(self, args: Any, kwargs: Any) -> Any:
        token = self._enter()
        try:
            self._task = asyncio.ensure_future(self._fn(*args, **kwargs))
            if self._context.cancelled.is_set():
                self._task.cancel()
            return await self._task
        finally:
            self._leave(token)

    def _run_sync(self, args: Any, kwargs: Any) -> Any:
        token = self._enter()
        try:
            if self._interrupter is None:
                return self._fn(*args, **kwargs)
            return self._interrupter.run(lambda: self._fn(*args, **kwargs))
        finally:
            self._leave(token)

    def cancel(self, details: ActivityCancellationDetails) -> None:
        self._context.cancel(details)
        if self._interrupter is not None:
            self._interrupter.interrupt(CancelledError)
        if self._task is not None:
            self._task.cancel()

    def _enter(self) -> Any:
        before = self._environment._cancelled  # noqa: SLF001 - two halves of one thing
        if before is not None:
            self._context.cancel(before)
        self._environment._running.add(self)  # noqa: SLF001
        return current_context.set(self._context)

    def _leave(self, token: Any) -> None:
        current_context.reset(token)
        self._environment._running.discard(self)  # noqa: SLF001
