"""Where a retry goes back to: the first event of a closed run that is taken back.

Everything that the code did before it was told of that event stays. Which event it is depends on
how the run ended:

* It was asked to end, and perhaps cleaned up: the request to cancel.
* It failed on an activity or a step: that one's failure.
* The code raised of itself: what it was told last, so that it is told it again, all at once.
* It was terminated or timed out: nothing but the end itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent

FAILURES = (ev.ActivityFailed, ev.ActivityTimedOut, ev.StepFailed, ev.BatchFailed)
"""How an activity, a step or a batch fails for good."""


def find_point(history: Sequence[HistoryEvent]) -> int:
    """Return the id of the first event to take back, of a history that has ended.

    One behind the boundaries of all activations is told to nobody, so nothing but it is lost.
    """
    canceled = next(_ids(history, ev.CancelRequested), None)
    if canceled is not None:
        return canceled
    closing = history[-1]
    if not isinstance(closing.event, ev.WorkflowFailed):
        return closing.id
    failures = list(_ids(history, *FAILURES))
    if closing.event.failed_seq:
        for number in reversed(failures):
            if getattr(history[number - 1].event, "seq", 0) == closing.event.failed_seq:
                return number
    told = _told_last(history)
    return next((number for number in reversed(failures) if number >= told), told)


def _ids(history: Sequence[HistoryEvent], *kinds: type) -> Iterator[int]:
    return (each.id for each in history if isinstance(each.event, kinds))


def _told_last(history: Sequence[HistoryEvent]) -> int:
    """Return the first event that was told to the last activation."""
    boundaries = [each for each in map(boundary_of, history) if each is not None]
    last = max(boundaries, default=0)
    before = max((each for each in boundaries if each < last), default=0)
    told = _ids(history, ev.WorkflowStarted, *ev.RESOLUTIONS)
    return next(number for number in told if number > before)


def boundary_of(recorded: HistoryEvent) -> int | None:
    """Return through which event the code was told, if ``recorded`` is the record of that."""
    event = recorded.event
    if isinstance(event, ev.WorkflowTaskCompleted):
        return event.through
    return getattr(event, "through", 0) or None
