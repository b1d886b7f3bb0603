"""The environment is not part of history: workflow code may not read it.

``os.environ`` stays the object that it is, as everybody has it by name; the methods of its class
are guarded, through which ``os.getenv`` and the mapping's other methods go.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from perdure.worker.guards.patches import Patches
from perdure.worker.guards.scope import guarded_run
from perdure.workflow._forbidden import Forbidden, forbidden_call

_METHODS = ("__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__", "__repr__")


def guard(patches: Patches) -> None:
    """Guard ``os.environ`` and what reads it."""
    environment_type = type(os.environ)
    for name in _METHODS:
        patches.replace(
            environment_type, name, _build_method(getattr(environment_type, name), name)
        )


def _build_method(real: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def method(self: Any, *args: Any) -> Any:
        if guarded_run() is not None:
            key = f"[{args[0]!r}]" if name.endswith("item__") else ""
            raise forbidden_call(Forbidden.ENVIRONMENT, f"os.environ{key}")
        return real(self, *args)

    return method
