"""One server to a database: a lock next to the file.

SQLite's own lock would do to keep a second server out, but cannot say who has it. The lock file
is never removed: whoever waits for it would else hold a lock on a file that is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import time
from pathlib import Path

from perdure_operator.store.port import StoreUnavailableError

_POLL_SECONDS = 0.05


class ServerLock:
    """The right to use the database at ``path``, held from ``acquire`` to ``release``.

    It ends with the process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._file: int | None = None

    async def acquire(self, *, patience: float) -> None:
        """Take the lock, waiting up to ``patience`` seconds for a server that is ending.

        Raises:
            StoreUnavailableError: another server has it, or the folder cannot be written.
        """
        deadline = time.monotonic() + patience
        file = self._open()
        while not _is_locked_now(file):
            if time.monotonic() >= deadline:
                holder = os.pread(file, 200, 0).decode(errors="replace").strip()
                os.close(file)
                raise StoreUnavailableError(
                    f"the database {self._path} is in use by another server"
                    f" ({holder or 'unknown'}): stop that one or use another file"
                )
            await asyncio.sleep(_POLL_SECONDS)

        os.ftruncate(file, 0)
        os.pwrite(file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let go of the lock. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailableError(
                f"the database {self._path} cannot be used: {error.strerror}: {self._lock_path};"
                " the folder must exist and be writable"
            ) from error


def _is_locked_now(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
