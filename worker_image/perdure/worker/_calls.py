"""One call of user code outside workflows: async on the loop, sync in a thread.

A call is awaited by one task of ours and can be cancelled from the outside, whatever kind of
code it runs. Async code gets :class:`asyncio.CancelledError` where it waits; code in a thread gets
:class:`perdure.exceptions.CancelledError` at its next bytecode, unless it opted out.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from perdure.activity._context import Context, current_context
from perdure.exceptions import CancelledError
from perdure.worker._threads import Interrupter


class AsyncCall:
    """A call of a coroutine function, on the loop."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], context: Context) -> None:
        self._fn = fn
        self._args = args
        self._context = context
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def run(self) -> Any:
        """Call and return what it returns; to be awaited once, in a task of its own."""
        if self._cancelled:
            raise asyncio.CancelledError
        current_context.set(self._context)
        self._task = asyncio.current_task()
        try:
            return await self._fn(*self._args)
        finally:
            self._task = None

    def cancel(self) -> None:
        """Let the code be cancelled where it waits."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class ThreadCall:
    """A call of a plain function, in a thread of ``executor``.

    When the awaiting task itself is cancelled (a timeout around it), the thread is interrupted
    and not waited for.

    Args:
        fn: What to call.
        args: Its positional arguments.
        context: What :mod:`perdure.activity` finds inside.
        executor: Gives the thread.
        interrupter: Interrupts the thread on cancellation; None leaves that to the code.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        context: Context,
        *,
        executor: Executor,
        interrupter: Interrupter | None,
    ) -> None:
        self._fn = fn
        self._args = args
        self._context = context
        self._executor = executor
        self._interrupter = interrupter
        self._in_thread: Future[Any] | None = None
        self._awaited: AsyncCall | None = None
        self._cancelled = False

    async def run(self) -> Any:
        """Call and return what it returns; to be awaited once."""
        if self._cancelled:
            raise asyncio.CancelledError
        current_context.set(self._context)
        self._in_thread = self._executor.submit(contextvars.copy_context().run, self._call)
        try:
            result = await asyncio.wrap_future(self._in_thread)
        except asyncio.CancelledError:
            self.cancel()
            raise

        if not inspect.isawaitable(result):
            return result
        # A lambda around a coroutine function is a plain function to look at.
        self._awaited = AsyncCall(lambda: result, (), self._context)
        return await self._awaited.run()

    def cancel(self) -> None:
        """Let the code be interrupted, or not begin at all."""
        self._cancelled = True
        if self._in_thread is not None and self._in_thread.cancel():
            return
        if self._interrupter is not None:
            self._interrupter.interrupt(CancelledError)
        if self._awaited is not None:
            self._awaited.cancel()

    def _call(self) -> Any:
        if self._interrupter is None:
            return self._fn(*self._args)
        return self._interrupter.run(lambda: self._fn(*self._args))


Call = AsyncCall | ThreadCall
