"""Ways around the rules of workflow code, for those who know why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from perdure.workflow._forbidden import unguarded
from perdure.workflow._runtime import current


def is_replaying() -> bool:
    """Whether recorded activations are being run again, to come to where the run is."""
    return current().is_replaying()


def is_read_only() -> bool:
    """Whether nothing may be asked for right now, because a query is answered."""
    return current().is_read_only()


@contextmanager
def imports_passed_through() -> Iterator[None]:
    """Do nothing: workflow modules are imported only once here.

    Code written for Temporal's sandbox, where this matters, runs unchanged.
    """
    yield


@contextmanager
def sandbox_unrestricted() -> Iterator[None]:
    """Let the block do what workflow code may not.

    It must not await, and must come to the same on every replay.
    """
    with unguarded():
        yield


__all__ = ["imports_passed_through", "is_read_only", "is_replaying", "sandbox_unrestricted"]
