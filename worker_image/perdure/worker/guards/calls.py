"""Functions that raise in workflow code and that no audit event tells of (ADR 0003).

``time.sleep`` and the start of a thread are audited only from Python 3.12 and 3.13 on; looking
at a file without opening it never is.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from perdure.worker.guards.patches import Patches
from perdure.worker.guards.scope import guarded_run
from perdure.workflow._forbidden import Forbidden, forbidden_call
from perdure.workflow._runtime import Runtime

_LOOKING_AT_FILES = ("stat", "lstat", "access", "readlink", "statvfs")


def guard(patches: Patches) -> None:
    """Guard sleeping, threads and looking at files."""
    patches.guard(time, "sleep", _refusing(Forbidden.SLEEP, "time.sleep"))
    for name in _LOOKING_AT_FILES:
        real = getattr(os, name)
        patches.guard(os, name, _refusing(Forbidden.FILES, f"os.{name}"))
        _keep_capabilities(patches, real, getattr(os, name))
    patches.replace(threading.Thread, "start", _build_start(threading.Thread.start))


def _refusing(kind: Forbidden, name: str) -> Callable[..., Any]:
    def refuse(_runtime: Runtime, *args: Any, **_kwargs: Any) -> Any:
        shown = repr(args[0])[:100] if args else ""
        raise forbidden_call(kind, f"{name}({shown})")

    return refuse


def _keep_capabilities(patches: Patches, real: object, guard: object) -> None:
    """List the guard beside the function in the sets that say what this system can do."""
    for known in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd,
                  os.supports_follow_symlinks):  # fmt: skip
        members: set[Any] = known
        if real in members:
            members.add(guard)
            patches.on_undo(functools.partial(members.discard, guard))


def _build_start(real: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(real)
    def start(self: threading.Thread) -> None:
        if guarded_run() is not None:
            raise forbidden_call(Forbidden.THREADS, f"Thread({self.name!r}).start()")
        real(self)

    return start
