"""Raising an exception in another thread, and only while that thread runs what it is meant for.

CPython can be told to raise an exception in a thread at its next bytecode
(``PyThreadState_SetAsyncExc``). It does not look at what the thread is doing by then, so every
use here is framed by :meth:`Interrupter.run`: after it nothing can arrive any more, and the
thread, which belongs to a pool, goes on unharmed. Code that waits inside C (a socket, a lock, a
sleep) notices only when it comes back.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def raise_in_thread(thread_id: int, error: type[BaseException]) -> None:
    """Raise ``error`` in a thread at its next bytecode."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


def forget_raise(thread_id: int) -> None:
    """Take back what :func:`raise_in_thread` asked for, if it has not happened yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), None)


class Interrupter:
    """Can interrupt one call in another thread, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread_id: int | None = None
        self._error: type[BaseException] | None = None
        self._raised = False
        self._shields = 0

    def run(self, fn: Callable[[], Any]) -> Any:
        """Call ``fn`` on this thread; until it returns it can be interrupted."""
        try:
            self._enter()
            return fn()
        finally:
            self._leave()

    def interrupt(self, error: type[BaseException]) -> None:
        """Raise ``error`` in the call: now, at the end of its shield, or when it begins."""
        with self._lock:
            if self._error is None:
                self._error = error
                self._raise()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold an interruption back until the end of the block; used by the call itself."""
        with self._lock:
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1
                due = not self._shields and self._error is not None and not self._raised
                self._raised = self._raised or due
            if due:
                assert self._error is not None
                raise self._error

    def _enter(self) -> None:
        with self._lock:
            self._thread_id = threading.get_ident()
            self._raise()

    def _raise(self) -> None:
        if self._error and not self._raised and self._thread_id and not self._shields:
            self._raised = True
            raise_in_thread(self._thread_id, self._error)

    def _leave(self) -> None:
        with self._lock:
            thread_id, self._thread_id = self._thread_id, None
            if self._raised and thread_id is not None:
                forget_raise(thread_id)
