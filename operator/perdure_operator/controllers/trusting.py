"""The file with the authority of the server's certificate: waited for, and watched.

The server beside the operator may be about to make it. When it changes, the operator ends and is
started again by whoever runs it, which takes a second and loses nothing: all that it built from
the file, its own connection and the pods of workers, is built anew then.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two looks, while the file is not there."""
WATCH_INTERVAL = 10.0
"""Seconds between two looks whether it has changed."""


async def wait_for_authority(file: Path | None) -> None:
    """Return when there is something in the file, at once without one."""
    is_said = False
    while file is not None and not _read(file):
        if not is_said:
            logger.info("waiting for the authority of the server's certificate in %s", file)
            is_said = True
        await asyncio.sleep(LOOK_INTERVAL)


async def until_authority_changes(file: Path) -> None:
    """Return when the file has another content than now; its absence is none."""
    before = _read(file)
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        if _read(file) not in (before, b""):
            break
    logger.warning("the authority in %s has changed: ending, to be started with it", file)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
