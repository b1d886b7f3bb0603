"""What a run did after the point that its retry goes back to: its new code does not know of it.

A saga that gave the money back is an example: the retry goes on as if the money were still there.
Nothing can be done about it here; whoever asks for the retry is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.retries import Effect


def effects_after(history: Sequence[HistoryEvent], last_seq: int) -> list[Effect]:
    """Return what was done, or begun, of the activities and steps behind number ``last_seq``."""
    names: dict[int, str] = {}
    effects: dict[int, Effect] = {}
    began: set[int] = set()
    for each in history:
        event = each.event
        seq = getattr(event, "seq", 0)
        if seq <= last_seq:
            continue
        match event:
            case ev.ActivityScheduled(activity_type=name) | ev.BatchScheduled(activity_type=name):
                names[seq] = name
                effects[seq] = Effect(event=each.id, name=name, is_completed=False)
            case ev.ActivityStarted() | ev.BatchItemsClosed():
                began.add(seq)
            case ev.ActivityCompleted() | ev.BatchCompleted():
                effects[seq] = Effect(event=each.id, name=names[seq])
            case ev.ActivityCanceled() | ev.BatchCanceled() if seq not in began:
                del effects[seq]
            case ev.StepCompleted(name=name):
                effects[seq] = Effect(event=each.id, name=name)
            case ev.StepFailed(name=name):
                effects[seq] = Effect(event=each.id, name=name, is_completed=False)
    for seq in _asked_with_the_end(history):
        effects.pop(seq, None)
    return sorted(effects.values(), key=lambda effect: effect.event)


def _asked_with_the_end(history: Sequence[HistoryEvent]) -> list[int]:
    """Return activities that the code asked for as it ended: nobody has begun them."""
    seqs = []
    for each in reversed(history[:-1]):
        if not isinstance(each.event, ev.COMMAND_EVENTS):
            break
        if isinstance(each.event, (ev.ActivityScheduled, ev.BatchScheduled)):
            seqs.append(each.event.seq)
    is_command = isinstance(history[-1].event, ev.COMMAND_EVENTS)
    return seqs if is_command else []
