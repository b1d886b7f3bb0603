"""When the guards act: in workflow code, but not in the framework below it.

Some things happen while workflow code runs and are not its doing: an import that it triggers, a
traceback that is rendered for a failure, a log handler that opens its file, a finalizer that the
garbage collector happens to run just now, a debugger. Their results do not reach the workflow's
decisions, so for them everything is as outside. They are told by who is on the stack, which
costs nothing outside workflow code.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType

from perdure.workflow._forbidden import is_loop_frame, is_unguarded
from perdure.workflow._runtime import Runtime, current_or_none

_FRAMEWORK = frozenset(
    {
        # imports: a module is run once in a process, whoever asks for it first
        "importlib",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "zipimport",
        # rendering errors, warnings and log records
        "inspect",
        "linecache",
        "logging",
        "tokenize",
        "traceback",
        "warnings",
        # time zones are read from files, once
        "zoneinfo",
        # finalizers, run wherever an object happens to die
        "weakref",
        # debuggers and coverage
        "_pydevd_bundle",
        "bdb",
        "coverage",
        "debugpy",
        "pdb",
        "pydevd",
    }
)


def guarded_run() -> Runtime | None:
    """Return the run whose own code is making a call, or ``None``: then let it pass."""
    runtime = current_or_none()
    if runtime is None or is_unguarded():
        return None
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller, and the cheap one
    return None if _is_framework_call(frame) else runtime


def _is_framework_call(frame: FrameType | None) -> bool:
    while frame is not None and not is_loop_frame(frame):
        if _is_framework(frame.f_globals.get("__name__")) or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=4096)
def _is_framework(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in _FRAMEWORK
