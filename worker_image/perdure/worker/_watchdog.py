"""A thread that notices when the loop does not come back.

Two things can hold a worker's loop: workflow code that never waits (a deadlock: the workflow's task
is failed), and an async activity or step that blocks (then nothing of this worker moves, and its
lease may pass). Both can only be seen from another thread. It looks a few times a second, which
costs nothing to speak of, and says which line of code the loop is in.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
import traceback
from asyncio.events import _set_running_loop
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from perdure.worker._threads import forget_raise, raise_in_thread

logger = logging.getLogger("perdure.worker")

_LOOK = 0.25
"""Seconds between two looks."""
_OURS = str(Path(__file__).parents[1])
_STDLIB = sysconfig.get_paths()["stdlib"]


class DeadlockError(BaseException):
    """Workflow code ran too long without waiting for anything.

    Raised in the workflow's code where it is at that time. No :class:`Exception`, so that a loop
    that catches everything ends too.
    """


class Watchdog:
    """Watches one loop and the activations that run on it.

    Args:
        deadlock_timeout: Seconds that one activation may run; None allows any.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        deadlock_timeout: float | None = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadlock_timeout = deadlock_timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._label: str | None = None
        self._since = self._raised = 0.0
        self._stuck_at: str | None = None
        self._beat = clock()
        self._blocked_after: float | None = None
        self._told_beat = 0.0
        self._thread_id: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Watch the running loop from a daemon thread."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._beat = self._clock()
        threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()

    def beat(self, blocked_after: float | None) -> None:
        """Note that the loop moves; it is called blocked when the next beat is this late.

        None while nothing depends on it.
        """
        self._beat = self._clock()
        self._blocked_after = blocked_after

    def run(self, label: str, fn: Callable[[], Any]) -> Any:
        """Call workflow code on the loop's thread.

        Raises:
            DeadlockError: it ran too long and was interrupted; the message says where it was.
        """
        try:
            self._begin(label)
            result = fn()
        except BaseException as error:
            stuck_at = self._end()
            if stuck_at is None:
                raise
            raise DeadlockError(stuck_at) from error
        stuck_at = self._end()
        if stuck_at is not None:
            raise DeadlockError(stuck_at)
        return result

    def look(self) -> None:
        """See whether something is stuck now; what the thread does again and again."""
        with self._lock:
            self._look_at_activation()
        self._look_at_loop()

    def _begin(self, label: str) -> None:
        with self._lock:
            self._label = label
            self._since = self._raised = self._clock()
            self._stuck_at = None
            if self._thread_id is None:
                self._thread_id = threading.get_ident()

    def _end(self) -> str | None:
        while True:
            try:
                with self._lock:
                    self._label = None
                    if self._stuck_at is not None and self._thread_id is not None:
                        forget_raise(self._thread_id)
                        if self._loop is not None:
                            # It may have struck while the loops were being exchanged.
                            _set_running_loop(self._loop)
                return self._stuck_at
            except DeadlockError:
                # It arrived just now. The next one is seconds away, so try again.
                continue

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK):
            self.look()

    def _look_at_activation(self) -> None:
        if self._label is None or self._deadlock_timeout is None or self._thread_id is None:
            return
        now = self._clock()
        if now - self._raised < self._deadlock_timeout:
            return
        # Again and again: a bare `except:` may have swallowed the one before.
        self._raised = now
        ran = now - self._since
        self._stuck_at = self._stuck_at or (
            f"{self._label} ran for {ran:.1f} s without waiting for anything, at "
            f"{where_is(self._thread_id)}. Workflow code must not compute for long or block: do "
            "that in an activity or a step"
        )
        raise_in_thread(self._thread_id, DeadlockError)

    def _look_at_loop(self) -> None:
        beat, limit = self._beat, self._blocked_after
        if limit is None or self._told_beat == beat or self._thread_id is None:
            return
        silent = self._clock() - beat
        if silent < limit:
            return
        self._told_beat = beat
        logger.error(
            "The worker's event loop has been blocked for %.1f s by %s, at %s. Nothing of this "
            "worker moves meanwhile, and its lease may pass. Make it a sync activity (`def`, not "
            "`async def`), which runs in a thread, or await what it waits for",
            silent,
            self._who(),
            where_is(self._thread_id),
        )

    def _who(self) -> str:
        if self._label is not None:
            return self._label
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        return task.get_name() if task is not None else "a callback"


def where_is(thread_id: int) -> str:
    """Return the place of user code where a thread is now: file, line, function, source."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - the documented debugging API
    if frame is None:
        return "an unknown place"
    return _describe(frame)


def _describe(frame: FrameType) -> str:
    summary = traceback.extract_stack(frame)
    users = [each for each in summary if _is_users(each.filename)]
    place = users[-1] if users else summary[-1]
    source = f": `{place.line}`" if place.line else ""
    return f"{place.filename}:{place.lineno} in {place.name}{source}"


def _is_users(filename: str) -> bool:
    if filename.startswith((_OURS, "<frozen")):
        return False
    return not filename.startswith(_STDLIB) or "site-packages" in filename
