"""Putting guards in the place of functions, and taking them away again.

A guard stands where the function stood: as an attribute of its module and, after
``from time import time``, as a global of the modules that took it by name.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from perdure.worker.guards.scope import guarded_run
from perdure.workflow._runtime import Runtime


class Guard(staticmethod):  # type: ignore[type-arg] # generic only for type checkers
    """A guard for a module-level function.

    Like the builtin that it stands for it does not bind when it is kept on a class
    (``timer = time.perf_counter``), and it pickles by its name.
    """

    def __reduce__(self) -> str:
        return self.__qualname__


def build_guard(real: Callable[..., Any], inside: Callable[..., Any], path: str) -> Guard:
    """Return a function that is ``real``, but ``inside(runtime, ...)`` in workflow code.

    Args:
        real: what is called otherwise.
        inside: what is called in workflow code.
        path: module and name under which the guard is found.
    """

    @functools.wraps(real)
    def guard(*args: Any, **kwargs: Any) -> Any:
        runtime: Runtime | None = guarded_run()
        if runtime is None:
            return real(*args, **kwargs)
        return inside(runtime, *args, **kwargs)

    guard.__module__, _, guard.__qualname__ = path.rpartition(".")
    return Guard(guard)


class Patches:
    """What has been replaced, and how to undo it."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._guards: dict[int, tuple[object, object]] = {}

    @property
    def are_applied(self) -> bool:
        """Whether there is anything to undo."""
        return bool(self._undo)

    def guard(self, module: ModuleType, name: str, inside: Callable[..., Any]) -> None:
        """Guard a module's function; a name that this Python does not have is left out."""
        real = getattr(module, name, None)
        if real is None:
            return
        guard = build_guard(real, inside, f"{module.__name__}.{name}")
        self._guards[id(real)] = (real, guard)
        self.replace(module, name, guard)

    def replace(self, owner: object, name: str, value: object) -> None:
        """Set an attribute, to be restored."""
        before = getattr(owner, name)
        setattr(owner, name, value)
        self.on_undo(lambda: setattr(owner, name, before))

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Remember how to take something back."""
        self._undo.append(undo)

    def apply_to_package(self, module: ModuleType) -> None:
        """Replace guarded functions in the globals of a module and of its package's modules."""
        top = module.__name__.partition(".")[0]
        siblings = [found for name, found in sys.modules.items() if name.startswith(f"{top}.")]
        for each in {id(found): found for found in (module, *siblings)}.values():
            if isinstance(each, ModuleType):
                self.apply_to(each)

    def apply_to(self, module: ModuleType) -> None:
        """Replace guarded functions in the globals of a module."""
        for name, value in list(vars(module).items()):
            known = self._guards.get(id(value))
            if known is not None and not name.startswith("__"):
                self.replace(module, name, known[1])

    def undo(self) -> None:
        """Take everything back, newest first."""
        while self._undo:
            self._undo.pop()()
        self._guards.clear()
