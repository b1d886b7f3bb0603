"""Being told to stop, by SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Says when the process was told to stop."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def listen(self) -> None:
        """Take the signals; once more when something else has taken them since, as kopf does."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._told.set)

    async def told(self) -> None:
        """Return once it was told."""
        await self._told.wait()
