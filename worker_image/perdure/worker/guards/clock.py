"""The clock of workflow code: it stands at the time of the activation.

Local time is UTC there, because workers may differ in their time zone. ``datetime`` itself is
kept (a stand-in class would break ``isinstance``, pydantic and msgspec): its ``now`` is replaced
within the type.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import gc
import logging
import time
from collections.abc import Callable
from typing import Any

from perdure.worker.guards.patches import Patches
from perdure.worker.guards.scope import guarded_run
from perdure.workflow._runtime import Runtime

_logger = logging.getLogger(__name__)

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
_REAL_GMTIME, _REAL_STRFTIME, _REAL_ASCTIME = time.gmtime, time.strftime, time.asctime
_REAL_LOCALTIME, _REAL_CTIME = time.localtime, time.ctime


def guard(patches: Patches) -> None:
    """Guard :mod:`time` and :mod:`datetime`."""
    for name in _CLOCKS:
        patches.guard(time, name, _seconds)
        patches.guard(time, f"{name}_ns", _nanoseconds)
    patches.guard(time, "clock_gettime", _clock_seconds)
    patches.guard(time, "clock_gettime_ns", _clock_nanoseconds)
    patches.guard(time, "gmtime", _gmtime)
    patches.guard(time, "localtime", _localtime)
    patches.guard(time, "ctime", _ctime)
    patches.guard(time, "strftime", _strftime)
    patches.guard(time, "asctime", _asctime)
    _guard_type(patches, datetime.datetime, {"now": _now, "utcnow": _utcnow})
    _guard_type(patches, datetime.date, {"today": _today})


def _seconds(runtime: Runtime) -> float:
    return runtime.now_ms() / 1000


def _nanoseconds(runtime: Runtime) -> int:
    return runtime.now_ms() * 1_000_000


def _clock_seconds(runtime: Runtime, _clock: int) -> float:
    return _seconds(runtime)


def _clock_nanoseconds(runtime: Runtime, _clock: int) -> int:
    return _nanoseconds(runtime)


def _gmtime(runtime: Runtime, seconds: float | None = None) -> time.struct_time:
    return _REAL_GMTIME(_seconds(runtime) if seconds is None else seconds)


def _localtime(runtime: Runtime, seconds: float | None = None) -> time.struct_time:
    return _gmtime(runtime) if seconds is None else _REAL_LOCALTIME(seconds)


def _ctime(runtime: Runtime, seconds: float | None = None) -> str:
    return _REAL_ASCTIME(_gmtime(runtime)) if seconds is None else _REAL_CTIME(seconds)


def _strftime(runtime: Runtime, layout: str, *when: Any) -> str:
    return _REAL_STRFTIME(layout, *(when or (_gmtime(runtime),)))


def _asctime(runtime: Runtime, *when: Any) -> str:
    return _REAL_ASCTIME(*(when or (_gmtime(runtime),)))


def _now(
    runtime: Runtime, cls: type[datetime.datetime], tz: datetime.tzinfo | None = None
) -> datetime.datetime:
    # Computed from whole milliseconds: a float would be off by microseconds.
    at = datetime.timedelta(milliseconds=runtime.now_ms())
    epoch = cls(1970, 1, 1, tzinfo=datetime.UTC)
    utc = epoch + at
    return utc.replace(tzinfo=None) if tz is None else utc.astimezone(tz)


def _utcnow(runtime: Runtime, cls: type[datetime.datetime]) -> datetime.datetime:
    return _now(runtime, cls)


def _today(runtime: Runtime, cls: type[datetime.date]) -> datetime.date:
    if issubclass(cls, datetime.datetime):
        return _now(runtime, cls)
    now = _now(runtime, datetime.datetime)
    return cls(now.year, now.month, now.day)


def _guard_type(patches: Patches, cls: type, inside: dict[str, Callable[..., Any]]) -> None:
    """Replace class methods of a builtin type, in the dictionary behind it.

    Such a type cannot be assigned to. What makes this safe: the methods that were there stay
    referenced (they are put back on undo), and the interpreter is told at once that the type has
    changed, so that no cache keeps them. Where the dictionary is not what is expected the type
    is left alone, and said so.
    """
    methods = _dictionary_of(cls)
    real = {name: methods.get(name) for name in inside}
    if not all(isinstance(method, _ClassMethod) for method in real.values()):
        _logger.warning("%s is not guarded: this Python keeps its methods elsewhere", cls.__name__)
        return

    def put(values: dict[str, Any]) -> None:
        methods.update(values)
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))

    patches.on_undo(lambda: put(real))
    put({name: _build_class_guard(real[name], inside[name]) for name in inside})


_ClassMethod = type(vars(datetime.datetime)["now"])


def _dictionary_of(cls: type) -> dict[str, Any]:
    found = gc.get_referents(vars(cls))
    return found[0] if len(found) == 1 and type(found[0]) is dict else {}


def _build_class_guard(real: Any, inside: Callable[..., Any]) -> Any:
    @functools.wraps(real)
    def guard(cls: type, *args: Any, **kwargs: Any) -> Any:
        runtime = guarded_run()
        if runtime is None:
            return real.__get__(None, cls)(*args, **kwargs)
        return inside(runtime, cls, *args, **kwargs)

    return classmethod(guard)
