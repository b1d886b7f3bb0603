"""A token bucket: how fast the operator may call the API server.

Neither kopf nor the client limits itself; ten thousand objects after a restart would otherwise
become ten thousand calls at once. Callers are served in the order in which they came.
"""

from __future__ import annotations

import asyncio


class RateLimiter:
    """Lets ``rate`` calls a second through, and ``burst`` at once after a pause."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._slack = burst * self._interval
        # When the bucket would be full again if nobody called: "virtual scheduling" of the
        # generic cell rate algorithm, which needs no task that refills anything.
        self._full_at = 0.0

    async def wait(self) -> None:
        """Return when the caller may go on."""
        now = asyncio.get_running_loop().time()
        self._full_at = max(self._full_at, now) + self._interval
        delay = self._full_at - self._slack - now
        if delay > 0:
            await asyncio.sleep(delay)

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long, and no burst then: the API server has no time."""
        now = asyncio.get_running_loop().time()
        self._full_at = max(self._full_at, now + seconds + self._slack)
