"""The event loop that workflow code runs on.

It never waits. A ready queue, first in first out, is run until it is empty; what then still waits,
waits for the run to be told something. Its time is the run's time, and a timer is a durable one:
the loop hands it to its :class:`TimerKeeper` and hears of it again, perhaps months later, on
another machine.

It runs nested in the worker's own loop, on the same thread: :meth:`DeterministicLoop.entered` makes
it the running loop for a moment.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from asyncio import tasks as _tasks
from asyncio.events import _get_running_loop, _set_running_loop
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Protocol, TypeVar, TypeVarTuple

from perdure.protocol.payloads import Millis
from perdure.replay._refusals import RefusingLoop
from perdure.workflow._errors import ReadOnlyContextError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TimerKeeper(Protocol):
    """Who keeps the loop's timers, and may refuse changes."""

    def assert_writable(self, what: str) -> None:
        """Raise when nothing may be asked for right now."""

    def start_timer(self, timer: DurableTimer, delay: Millis, summary: str) -> None:
        """Have ``timer`` put on the ready queue after ``delay``."""

    def cancel_timer(self, timer: DurableTimer) -> None:
        """Forget ``timer``, which may be over already."""

    def lose_error(self, message: str, error: BaseException | None) -> None:
        """Take note of an error that nobody looked at."""


class DurableTimer(asyncio.TimerHandle):
    """A timer, and the number that its run gave it: 0 for none."""

    __slots__ = ("seq",)

    seq: int


class RunTask(asyncio.Task[T]):
    """A task whose hash is the same on every replay, so that sets of tasks keep their order.

    ``asyncio.TaskGroup`` and ``asyncio.wait`` go through such sets, and cancel timers on the way.
    """

    __slots__ = ("_key",)

    def __init__(self, key: int, coro: Any, **options: Any) -> None:
        self._key = key
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._key


class DeterministicLoop(RefusingLoop):
    """An event loop without clock, threads or I/O."""

    def __init__(self, keeper: TimerKeeper) -> None:
        self._keeper = keeper
        self._ready: deque[asyncio.Handle] = deque()
        # In the order made. Kept until done: the garbage collector must not decide who lives.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._now_ms: Millis = 0
        # Different runs' tasks get different hashes: asyncio keeps all of them in one set.
        self._next_key = 0
        self._exception_handler: Callable[..., Any] | None = None
        self._task_count = 0
        self._torn_down = False
        self.read_only = ""
        """Where code is running that may only look; empty when it may do more."""

    # --- driven by the run -------------------------------------------------------------------

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be the running loop of this thread within the block."""
        outer = _get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        swap = getattr(_tasks, "_swap_current_task", None)  # Python 3.12 and later
        task = swap(outer, None) if swap is not None and outer is not None else None
        sys.set_asyncgen_hooks(firstiter=_ignore, finalizer=self._finalize_generator)
        _set_running_loop(self)
        try:
            yield
        finally:
            _set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)
            if task is not None and swap is not None:
                swap(outer, task)

    def drain(self) -> None:
        """Run what is ready, and what that makes ready, until all of it waits."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - a handle is run by its loop

    def set_now(self, now_ms: Millis) -> None:
        """Set the time."""
        self._now_ms = now_ms

    def fire(self, timer: DurableTimer) -> None:
        """A timer's time has come."""
        self._ready.append(timer)

    def take_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, and forget all that was to be run, for good."""
        self._torn_down = True
        self._ready.clear()
        tasks, self._tasks = self._tasks, {}
        return [each for each in tasks if not each.done()]

    def seed(self, seed: str) -> None:
        """Have the numbers for hashing differ from run to run; before any is taken."""
        self._next_key = zlib.crc32(seed.encode()) << 24

    def next_key(self) -> int:
        """Return a number for hashing, the same on every replay."""
        self._next_key += 1
        return self._next_key

    # --- used by workflow code and by asyncio -------------------------------------------------

    def time(self) -> float:
        """Return the run's time in seconds."""
        return self._now_ms / 1000

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Put a call on the ready queue."""
        if self.read_only:
            self._keeper.assert_writable("wake anybody")
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> DurableTimer:
        """Call back after ``delay`` seconds, by a durable timer."""
        return self.start_timer(delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> DurableTimer:
        """Call back at a moment of :meth:`time`, by a durable timer."""
        return self.start_timer(when - self.time(), callback, *args, context=context)

    def start_timer(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
        summary: str = "",
    ) -> DurableTimer:
        """Call back after ``delay`` seconds; at once, without a timer, when there are none."""
        self._keeper.assert_writable("start a timer")
        timer = DurableTimer(self.time() + delay, callback, args, self, context)
        timer.seq = 0
        if delay <= 0:
            self._ready.append(timer)
        else:
            self._keeper.start_timer(timer, max(1, round(delay * 1000)), summary)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        # Called by the handle itself, also when its time has come already.
        if isinstance(handle, DurableTimer) and handle.seq:
            self._keeper.cancel_timer(handle)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """Run a coroutine as a task."""
        if self._torn_down:
            # Whoever cleans up by starting tasks is soon thrown out of waiting for them, but the
            # coroutines that he made must not be left behind.
            coro.close()
            future: Any = self.create_future()
            return future  # type: ignore[no-any-return]  # close enough to a task for that
        try:
            self._keeper.assert_writable("create a task")
        except ReadOnlyContextError:
            coro.close()
            raise
        return self._spawn(coro, name=name, context=context, **options)

    def _spawn(self, coro: Any, *, name: object = None, **options: Any) -> asyncio.Task[Any]:
        self._task_count += 1
        if name is None:
            name = f"Task-{self._task_count}"
        task: asyncio.Task[Any] = RunTask(self.next_key(), coro, loop=self, name=name, **options)
        self._tasks[task] = None
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def get_debug(self) -> bool:
        """Debugging would look at real time."""
        return False

    def is_running(self) -> bool:
        """Whoever asks is being run by it."""
        return True

    def is_closed(self) -> bool:
        """It has nothing to close."""
        return False

    def get_task_factory(self) -> None:
        """Tasks are always made the same way."""

    def get_exception_handler(self) -> Callable[..., Any] | None:
        """Return what workflow code has set."""
        return self._exception_handler

    def set_exception_handler(self, handler: Callable[..., Any] | None) -> None:
        """Set what is called with errors that nobody looked at."""
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an error that nobody looked at."""
        self._keeper.lose_error(context.get("message", "error in a task"), context.get("exception"))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take note of an error that nobody looked at."""
        if self._exception_handler is None or _get_running_loop() is not self:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)

    async def shutdown_asyncgens(self) -> None:
        """Nothing is kept of them."""

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        # A generator that was left half way is closed by a task, as other loops do it; one that
        # is dropped while the run is torn down is not run any more.
        if _get_running_loop() is self and not self._torn_down:
            self._spawn(generator.aclose())


def _ignore(_generator: AsyncGenerator[Any, Any]) -> None:
    pass
