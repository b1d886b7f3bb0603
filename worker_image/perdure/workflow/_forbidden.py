"""The error that forbidden calls in workflow code raise, and where its words come from.

Workflow code is run again on every replay and must come to the same each time, so it may not
look at the world or change it. Whoever notices such a call (the guards of
:mod:`perdure.worker.guards`, the workflow's event loop) raises :func:`forbidden_call`, which finds
the line of the user's code that made it and says what to write instead.

:func:`unguarded` lets our own code, such as the logger, do what workflow code may not.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType

from perdure.exceptions import UsageError
from perdure.workflow._runtime import current_or_none


class Forbidden(Enum):
    """What a forbidden call does, and what to write instead of it."""

    NETWORK = ("uses the network", "step")
    FILES = ("uses files", "step")
    PROCESSES = ("starts or signals a process", "step")
    THREADS = ("uses threads", "tasks")
    ENVIRONMENT = ("reads or changes the environment", "input")
    TERMINAL = ("reads the terminal", "signal")
    SLEEP = ("blocks the worker", "sleep")
    IDENTITY = ("depends on the machine", "uuid")

    @property
    def does(self) -> str:
        """What is wrong with the call."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What to write instead."""
        return _REMEDIES[self.value[1]]


_REMEDIES = {
    "step": (
        "Do it in a step, `await workflow.step(fn, ...)`, or in an activity, "
        "`await workflow.execute_activity(fn, ...)`: their results are recorded"
    ),
    "tasks": (
        "For work at the same time write `asyncio.create_task(...)` or `asyncio.gather(...)`; "
        "blocking work belongs in `await workflow.step(fn, ...)`"
    ),
    "input": (
        "Pass configuration as the workflow's input, or read it in a step, "
        "`await workflow.step(fn, ...)`, so that it is recorded"
    ),
    "signal": (
        "Let people answer with a signal: `@workflow.signal` and "
        "`await workflow.wait_condition(...)`"
    ),
    "sleep": "Write `await workflow.sleep(...)` (or `await asyncio.sleep(...)`): a durable timer",
    "uuid": "Write `workflow.uuid4()`",
}


_NETWORK_LIBRARIES = (
    "aiohttp.",
    "boto3.",
    "botocore.",
    "grpc.",
    "httpx.",
    "requests.",
    "urllib.request.",
    "urllib3.",
)
"""Whose calls are about the network, even if they look at files and the environment first."""


class ForbiddenCallError(UsageError):
    """Workflow code did something that a replay could not repeat.

    It fails the workflow's task, not the workflow: mend the code and the run goes on.
    """

    def __init__(
        self, message: str, *, called: str, kind: Forbidden, filename: str, line: int
    ) -> None:
        super().__init__(message)
        self.called = called
        """What was called, as the user's code sees it."""
        self.kind = kind
        """What is wrong with it."""
        self.filename = filename
        """The file of the user's code that called it; empty when there is none."""
        self.line = line
        """The line in that file, or 0."""


_local = threading.local()


@contextmanager
def unguarded() -> Iterator[None]:
    """Let the code in the block, on this thread, do what workflow code may not.

    The block must not await: other workflow code would run unguarded meanwhile.
    """
    before = is_unguarded()
    _local.unguarded = True
    try:
        yield
    finally:
        _local.unguarded = before


def is_unguarded() -> bool:
    """Whether this thread is within :func:`unguarded`."""
    return getattr(_local, "unguarded", False)


def forbidden_call(kind: Forbidden, called: str) -> ForbiddenCallError:
    """Return the error for a forbidden call that is being made right now.

    The task fails with it even if the code catches it: what it would do then, a compensation
    perhaps, must not be done because of a mistake in the code.

    Args:
        kind: what the call does.
        called: the forbidden function, e.g. ``open('/etc/hosts')``.
    """
    frame, entry = _blamed(sys._getframe(1))  # noqa: SLF001 - the documented way to the caller
    error = _error_at(frame, entry, kind, called)
    runtime = current_or_none()
    if runtime is not None:
        runtime.fail_task(error)
    return error


def _error_at(
    frame: FrameType | None, entry: str | None, kind: Forbidden, called: str
) -> ForbiddenCallError:
    if entry is not None:
        called = f"{entry} ({called})"
        kind = Forbidden.NETWORK if entry.startswith(_NETWORK_LIBRARIES) else kind
    if frame is None:
        return ForbiddenCallError(
            _message("workflow code", called, kind), called=called, kind=kind, filename="", line=0
        )
    code, line = frame.f_code, frame.f_lineno
    text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    message = _message(f"{code.co_filename}:{line}, in {code.co_qualname}", called, kind)
    if text:
        message = f"{message}\n    {text}"
    return ForbiddenCallError(
        message, called=called, kind=kind, filename=code.co_filename, line=line
    )


def _message(where: str, called: str, kind: Forbidden) -> str:
    return (
        f"{where}: {called} {kind.does}, which workflow code must not do, because it is run again "
        f"on every replay. {kind.remedy}."
    )


def is_loop_frame(frame: FrameType) -> bool:
    """Whether workflow code ends here: what is further out runs it."""
    name = frame.f_globals.get("__name__", "")
    return name.startswith("perdure.replay") or (
        name == "asyncio.events" and frame.f_code.co_name == "_run"
    )


def _blamed(frame: FrameType | None) -> tuple[FrameType | None, str | None]:
    """Return the frame of the user's code to blame, and the library function it called.

    That is the innermost frame of no library. Code of an application that is itself installed
    under site-packages looks like a library: then the outermost frame stands for it, because the
    loop calls nothing but the user's coroutines.
    """
    while frame is not None and _origin(frame.f_code) == "perdure":
        frame = frame.f_back
    entry: FrameType | None = None
    fallback: tuple[FrameType | None, str | None] = (None, None)
    while frame is not None and not is_loop_frame(frame):
        origin = _origin(frame.f_code)
        if origin == "user":
            return frame, _entry_name(entry)
        if origin == "library":
            fallback = (frame, _entry_name(entry))
        entry = frame
        frame = frame.f_back
    return fallback


def _entry_name(frame: FrameType | None) -> str | None:
    if frame is None:
        return None
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"


_PERDURE = f"{Path(__file__).parent.parent}{os.sep}"
_STDLIB = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})


def _origin(code: CodeType) -> str:
    """Tell whose code it is: ``perdure``, ``stdlib``, ``library`` or ``user``."""
    name = code.co_filename
    if name.startswith(_PERDURE):
        return "perdure"
    if "site-packages" in name or "dist-packages" in name:
        return "library"
    if name.startswith((*_STDLIB, "<frozen ")):
        return "stdlib"
    return "user"
