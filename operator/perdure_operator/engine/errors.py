"""What can go wrong in the engine, split by who must act."""

from __future__ import annotations


class EngineError(Exception):
    """Base of the engine's errors."""


class BrokenHistoryError(EngineError):
    """An event cannot follow the history before it: our bug, or a damaged store.

    The run is left as it is and nothing more is recorded for it: the evidence is kept.
    """


class RefusedError(EngineError):
    """What was asked does not fit the run's state; nothing was decided.

    The message says why, in words for the one who asked.
    """


class RunClosedError(RefusedError):
    """The run is over: nothing can happen to it any more."""
