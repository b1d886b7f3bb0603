"""The running attempt, as the functions of this package find it.

A worker (or a test environment) makes a :class:`Context` for each attempt and sets it in a context
variable around the user's code, so that it is found in the attempt's task, in tasks that this one
starts, and in its thread. A thread that the user's code starts by hand has it only when the context
is copied there (:func:`contextvars.copy_context`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.activity._info import ActivityCancellationDetails, Info

if TYPE_CHECKING:
    # A layer above: only its name is needed, for whoever reads or checks the types.
    from perdure.client import Client
    from perdure.converter import PayloadConverter


_making = threading.Lock()


class Flag:
    """Something that happens at most once, and that coroutines and threads can wait for.

    There is one for each attempt and most are never waited for, so what a thread waits on is
    made when the first one does.
    """

    __slots__ = ("_event", "_happened", "_waiting")

    def __init__(self) -> None:
        self._happened = False
        self._event: threading.Event | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let it happen; from any thread."""
        with _making:
            self._happened = True
            event = self._event
        if event is not None:
            event.set()
        while self._waiting:
            future = self._waiting.pop()
            future.get_loop().call_soon_threadsafe(_wake, future)

    async def wait(self) -> None:
        """Wait for it in a coroutine."""
        if self._happened:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._happened:  # between the look and the append, on another thread
            return
        await future

    def wait_sync(self, timeout: float | None = None) -> bool:
        """Wait for it in a thread; return whether it has happened."""
        with _making:
            if self._happened:
                return True
            if self._event is None:
                self._event = threading.Event()
            event = self._event
        return event.wait(timeout)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Context:
    """One attempt's side of :mod:`perdure.activity`.

    Args:
        info: Asked at most once, when somebody wants to know.
        heartbeat: Takes the details of a heartbeat, on any thread.
        shield: Makes the context manager that holds back the exception which cancels a thread.
        shutdown: The worker's; shared by all its attempts.
        payload_converter: Asked when somebody wants it.
        client: For async activities.
    """

    def __init__(
        self,
        *,
        info: Callable[[], Info],
        heartbeat: Callable[..., None],
        shutdown: Flag,
        shield: Callable[[], AbstractContextManager[None]] = nullcontext,
        payload_converter: Callable[[], PayloadConverter] | None = None,
        client: Client | None = None,
    ) -> None:
        self._info: Info | None = None
        self._make_info = info
        self.heartbeat = heartbeat
        self.shutdown = shutdown
        self.shield = shield
        self.payload_converter = payload_converter
        self.client = client
        self.cancelled = Flag()
        self.cancellation_details: ActivityCancellationDetails | None = None

    @property
    def info(self) -> Info:
        """What the attempt knows about itself."""
        if self._info is None:
            self._info = self._make_info()
        return self._info

    def cancel(self, details: ActivityCancellationDetails) -> bool:
        """Note that it shall stop; return whether this is the first time."""
        if self.cancellation_details is not None:
            return False
        self.cancellation_details = details
        self.cancelled.set()
        return True


current_context: ContextVar[Context] = ContextVar("perdure_activity")


def current() -> Context:
    """Return the running attempt.

    Raises:
        RuntimeError: this is no activity's or step's code.
    """
    context = current_context.get(None)
    if context is None:
        raise RuntimeError(
            "Not in activity context: functions of perdure.activity work only inside a running "
            "activity or step (in a thread of your own, run the code with "
            "contextvars.copy_context().run)"
        )
    return context


def in_activity() -> bool:
    """Whether this is the code of an activity or a step."""
    return current_context.get(None) is not None


def info() -> Info:
    """Return what the running attempt knows about itself."""
    return current().info


def heartbeat(*details: Any) -> None:
    """Say that the attempt is alive, and how far it has come.

    Cheap: what is said in quick succession is thinned out, and the last word is kept. The next
    attempt finds the details in ``info().heartbeat_details``.
    """
    current().heartbeat(*details)


def cancellation_details() -> ActivityCancellationDetails | None:
    """Return why the attempt was asked to stop; None when it was not."""
    return current().cancellation_details


def is_cancelled() -> bool:
    """Whether the attempt was asked to stop."""
    return current().cancelled.is_set()


async def wait_for_cancelled() -> None:
    """Wait, in an async activity, until the attempt is asked to stop."""
    await current().cancelled.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """Wait, in a sync activity, until the attempt is asked to stop or ``timeout`` passes."""
    current().cancelled.wait_sync(_seconds(timeout))


def is_worker_shutdown() -> bool:
    """Whether the worker is leaving."""
    return current().shutdown.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait, in an async activity, until the worker is leaving."""
    await current().shutdown.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Wait, in a sync activity, until the worker is leaving or ``timeout`` passes."""
    current().shutdown.wait_sync(_seconds(timeout))


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def shield_thread_cancel_exception() -> AbstractContextManager[None]:
    """Hold back, in a sync activity, the exception that cancels it until the block ends.

    Raises:
        CancelledError: at the end of the outermost block, when it was cancelled meanwhile.
    """
    return current().shield()


def payload_converter() -> PayloadConverter:
    """Return the converter of the running attempt, for the raw values of a dynamic activity."""
    make = current().payload_converter
    if make is None:
        raise RuntimeError("This attempt was given no payload converter")
    return make()


def client() -> Client:
    """Return the worker's client, in an async activity."""
    found = current().client
    if found is None:
        raise RuntimeError(
            "No client here: it is there in `async def` activities only, and in tests when it is "
            "given to ActivityEnvironment"
        )
    return found
