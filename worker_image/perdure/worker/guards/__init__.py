"""Keep workflow code repeatable: a replay must see what the first run saw.

Inside workflow code the clock, random numbers and UUIDs are *made* deterministic (the time of
the activation, the run's seeded random numbers). Network, files, threads, processes, the
environment and ``time.sleep`` cannot be, so they raise
:class:`~perdure.workflow._forbidden.ForbiddenCallError`, which names the line and the remedy.
Outside workflow code everything is as it was.

How: :mod:`.clock`, :mod:`.randomness`, :mod:`.environment` and :mod:`.calls` put guards in the
place of functions; :mod:`.audit` listens to the interpreter's audit events, which sees what was
bound by name before. :mod:`.scope` says when a guard acts. ADR 0003 has the reasons and the
limits.
"""

from __future__ import annotations

from types import ModuleType

from perdure.worker.guards import audit, calls, clock, environment, randomness
from perdure.worker.guards.patches import Patches
from perdure.workflow._forbidden import Forbidden, ForbiddenCallError, forbidden_call, unguarded

__all__ = [
    "Forbidden",
    "ForbiddenCallError",
    "forbidden_call",
    "install",
    "install_into",
    "unguarded",
    "uninstall",
]

_patches = Patches()


def install() -> None:
    """Guard this process; doing it again changes nothing."""
    if _patches.are_applied:
        return
    clock.guard(_patches)
    randomness.guard(_patches)
    environment.guard(_patches)
    calls.guard(_patches)
    audit.listen(_patches)


def install_into(module: ModuleType) -> None:
    """Guard what workflow modules hold by name, as after ``from time import time``.

    Covers the module and the loaded modules of the same top-level package. Does nothing unless
    :func:`install` has been called.
    """
    _patches.apply_to_package(module)


def uninstall() -> None:
    """Take every guard away again, for tests."""
    _patches.undo()
