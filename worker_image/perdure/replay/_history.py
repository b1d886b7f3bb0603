"""Taking a history apart into the activations that made it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perdure.protocol.events import (
    CLOSING_EVENTS,
    COMMAND_EVENTS,
    RESOLUTIONS,
    HistoryEvent,
    StepCompleted,
    StepFailed,
    WorkflowStarted,
    WorkflowTaskCompleted,
)
from perdure.protocol.payloads import Millis

TOLD = frozenset((WorkflowStarted, *RESOLUTIONS))
"""The kinds of events that workflow code is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedActivation:
    """One activation as history has it."""

    through: int
    started: Millis
    recorded: HistoryEvent
    """What says so."""
    commands: Sequence[HistoryEvent]
    """What the code asked for."""


def recorded_activations(events: Sequence[HistoryEvent]) -> Iterator[RecordedActivation]:
    """Yield the activations of a history that begins at event 1, oldest first."""
    for index, recorded in enumerate(events):
        event = recorded.event
        if isinstance(event, WorkflowTaskCompleted):
            yield RecordedActivation(
                through=event.through,
                started=event.started,
                recorded=recorded,
                commands=_commands_behind(events, index),
            )
        elif isinstance(event, (StepCompleted, StepFailed)) and event.through:
            yield RecordedActivation(
                through=event.through, started=event.started, recorded=recorded, commands=()
            )


def is_over(events: Sequence[HistoryEvent]) -> bool:
    """Whether the history has an end: what the code was not told by then, it never will be."""
    return isinstance(events[-1].event, CLOSING_EVENTS)


def has_news(events: Sequence[HistoryEvent]) -> bool:
    """Whether there is something to tell among ``events``."""
    return any(type(each.event) in TOLD for each in events)


def _commands_behind(events: Sequence[HistoryEvent], index: int) -> Sequence[HistoryEvent]:
    end = index + 1
    while end < len(events) and isinstance(events[end].event, COMMAND_EVENTS):
        end += 1
    return events[index + 1 : end]
