"""The overlap policy, applied to one start after the other."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from perdure_operator.controllers.schedules.children import Child, Start
from perdure_operator.model import BufferedStart, OverlapPolicy
from perdure_operator.model.schedule import MAX_BUFFERED

REPLACING = frozenset({OverlapPolicy.CANCEL_OTHER, OverlapPolicy.TERMINATE_OTHER})


class Decision(Enum):
    """What becomes of a start."""

    STARTED = auto()
    """The Workflow is there, or is to be made now."""
    BUFFERED = auto()
    """It waits for the end of what runs."""
    SKIPPED = auto()
    """It is left out."""
    NO_ROOM = auto()
    """It has to be decided later."""


class Decider:
    """Decides about starts in order, each knowing of those before."""

    def __init__(self, children: Iterable[Child], buffered: Iterable[BufferedStart]) -> None:
        children = list(children)
        self._there = {child.name for child in children}
        self._busy = any(not child.is_over for child in children)
        self.buffered = list(buffered)
        self.starts: list[Start] = []
        """The Workflows to be made now."""
        self.ending: OverlapPolicy | None = None
        """How what runs is to be ended, if it is."""
        self.displaced = 0
        """How many buffered starts made way for later ones."""

    def is_there(self, start: Start) -> bool:
        """Tell whether the Workflow was made already."""
        return start.name in self._there

    def offer(self, start: Start, policy: OverlapPolicy) -> Decision:
        """Decide about one start."""
        if self.is_there(start):
            return Decision.STARTED
        if any(each.name == start.name for each in self.buffered):
            return Decision.BUFFERED
        if not self._busy or policy is OverlapPolicy.ALLOW_ALL:
            self.start(start)
            return Decision.STARTED
        match policy:
            case OverlapPolicy.BUFFER_ONE:
                return Decision.SKIPPED if self.buffered else self._buffer(start)
            case OverlapPolicy.BUFFER_ALL:
                is_full = len(self.buffered) >= MAX_BUFFERED
                return Decision.NO_ROOM if is_full else self._buffer(start)
            case OverlapPolicy.CANCEL_OTHER | OverlapPolicy.TERMINATE_OTHER:
                self.ending = policy
                self._displace()
                return self._buffer(start)
            case _:
                return Decision.SKIPPED

    def take_buffered(self, *, held: bool) -> list[BufferedStart]:
        """Start what waited, if nothing runs, and return what was found to have been started.

        ``held`` keeps back what was not asked for by name.
        """
        found = [each for each in self.buffered if each.name in self._there]
        self.buffered = [each for each in self.buffered if each.name not in self._there]
        if not self._busy:
            free = (each for each in self.buffered if each.request is not None or not held)
            first = next(free, None)
            if first is not None:
                # It stays buffered until the Workflow is seen.
                self.start(Start(name=first.name, time=first.time, request=first.request))
        return found

    def start(self, start: Start) -> None:
        """Have the Workflow made now."""
        self.starts.append(start)
        self._busy = True

    def _buffer(self, start: Start) -> Decision:
        self.buffered.append(BufferedStart(name=start.name, time=start.time, request=start.request))
        return Decision.BUFFERED

    def _displace(self) -> None:
        kept = [each for each in self.buffered if each.request is not None]
        self.displaced += len(self.buffered) - len(kept)
        self.buffered = kept
