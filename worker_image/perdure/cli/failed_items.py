"""The failed items of batches, one a line: which, after how many attempts, and why.

A batch's lines in a history count, and name the first failure of a portion: ten thousand items
have no room there. Whoever looks at one run wants to know what to do again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perdure.protocol import events as ev
from perdure.protocol.events import ItemResult
from perdure.protocol.lines import count_text, failure_text

SHOWN = 10
"""So many of a batch are shown, unless all are asked for."""


class FailedItems:
    """Gathers failed items from events and gives them out with the end of their batch.

    Args:
        everything: show all of them.
    """

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self._failed: dict[int, list[ItemResult]] = {}

    def lines(self, event: ev.Event) -> Iterable[str]:
        """Return what is to be said behind the line of ``event``."""
        match event:
            case ev.BatchItemsClosed(seq=seq, items=items):
                failed = [each for each in items if each.failure is not None]
                if failed:
                    self._failed.setdefault(seq, []).extend(failed)
                return ()
            case ev.BatchCompleted(seq=seq) | ev.BatchFailed(seq=seq) | ev.BatchCanceled(seq=seq):
                return self._of(seq)
            case _:
                return ()

    def of_open(self) -> Iterator[str]:
        """Return what there is of batches whose end has not been told."""
        for seq in list(self._failed):
            yield from self._of(seq)

    def _of(self, seq: int) -> Iterator[str]:
        failed = self._failed.pop(seq, [])
        shown = failed if self._everything else failed[:SHOWN]
        for each in shown:
            tries = f" (after {count_text(each.attempt, 'attempt')})" if each.attempt > 1 else ""
            why = failure_text(each.failure) if each.failure is not None else ""
            yield f"    item {each.index}: {why}{tries}"
        left = len(failed) - len(shown)
        if left:
            yield f"    and {left} more failed: --all shows them, --output json has their inputs"
