"""Heartbeats of one attempt, thinned out.

The first is sent at once; what is said within the next interval waits for its end, and only the
last word of it is sent. The last word of all is sent when the attempt fails, so that the
next attempt finds it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from perdure.protocol.payloads import Millis

_DEFAULT, _LONGEST = 30.0, 60.0


def throttle_interval(
    heartbeat_timeout: Millis | None, *, default: float = _DEFAULT, longest: float = _LONGEST
) -> float:
    """Return the seconds between two heartbeats that are sent."""
    wanted = 0.8 * heartbeat_timeout / 1000 if heartbeat_timeout else default
    return min(wanted, longest)


class Heartbeats:
    """Takes heartbeats on any thread and sends some of them from the loop's.

    Args:
        interval: Seconds between two that are sent.
        send: Sends the details of one.
    """

    def __init__(self, *, interval: float, send: Callable[[Sequence[Any]], None]) -> None:
        self._interval = interval
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        # A queue of one: threads put into it while the loop takes out.
        self._latest: deque[Sequence[Any]] = deque(maxlen=1)
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def beat(self, *details: Any) -> None:
        """Take a heartbeat."""
        self._latest.append(details)
        if threading.get_ident() == self._loop_thread:
            self._take()
        elif not self._asked:
            # One wake-up of the loop for however many follow until it comes to it.
            self._asked = True
            self._loop.call_soon_threadsafe(self._take)

    def finish(self, *, flush: bool) -> None:
        """Send nothing more, but with ``flush`` first what waits to be sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if flush and self._latest:
            self._send(self._latest.pop())
        self._is_over = True

    def _take(self) -> None:
        self._asked = False
        if self._timer is None:
            self._send_latest()

    def _send_latest(self) -> None:
        self._timer = None
        if self._latest and not self._is_over:
            self._send(self._latest.pop())
            self._timer = self._loop.call_later(self._interval, self._send_latest)
