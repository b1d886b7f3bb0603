"""Noticing that code does not fit its history, and saying where.

What a replayed activation asks for is held against the command events that it made when it was
first run. Only what identifies a command counts: a delay, a timeout or an argument may be changed
for runs that are under way, the kind of work, its order and its name may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from perdure.exceptions import NondeterminismError
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.commands import Command
from perdure.protocol.events import Event, HistoryEvent, event_name
from perdure.protocol.placements import Placement
from perdure.replay._history import RecordedActivation

_EVENT_OF: dict[type, type] = {
    cmd.ScheduleActivity: ev.ActivityScheduled,
    cmd.ScheduleBatch: ev.BatchScheduled,
    cmd.RequestCancelActivity: ev.ActivityCancelRequested,
    cmd.StartTimer: ev.TimerStarted,
    cmd.CancelTimer: ev.TimerCanceled,
    cmd.CompleteWorkflow: ev.WorkflowCompleted,
    cmd.FailWorkflow: ev.WorkflowFailed,
    cmd.CancelWorkflow: ev.WorkflowCanceled,
}


def check_commands(
    activation: RecordedActivation, asked: Sequence[Command], waiting: Callable[[], Sequence[str]]
) -> None:
    """Hold what the code asks for now against what it asked for then.

    Args:
        activation: As it is recorded.
        asked: What the code asks for now, in order.
        waiting: Tells what the run waits for now, for the message.

    Raises:
        NondeterminismError: they differ.
    """
    for recorded, command in zip_longest(activation.commands, asked):
        if recorded is None:
            raise NondeterminismError(
                _describe_end(activation), describe_command(command), activation.recorded.id
            )
        if command is None:
            labels = ", ".join(waiting())
            now = f" (it now waits for {labels})" if labels else ""
            raise NondeterminismError(
                describe_event(recorded.event), f"nothing more at that point{now}", recorded.id
            )
        if not _fits(recorded.event, command):
            raise NondeterminismError(
                describe_event(recorded.event), describe_command(command), recorded.id
            )


def unexpected(recorded: HistoryEvent, waiting: str | None) -> NondeterminismError:
    """Return the error for a resolution of something that the code has not asked for.

    Args:
        recorded: The resolution.
        waiting: What the code has asked for under the same number, if anything.
    """
    return NondeterminismError(
        describe_event(recorded.event),
        waiting or "nothing with that number",
        recorded.id,
    )


def describe_event(event: Event) -> str:
    """Return an event in a few words."""
    return _describe(event_name(event), event)


def describe_command(command: Command) -> str:
    """Return a command in a few words."""
    return _describe(type(command).__name__, command)


def _describe(kind: str, subject: Any) -> str:
    name = getattr(subject, "activity_type", "") or getattr(subject, "name", "")
    parts = [kind]
    if name:
        parts.append(repr(name))
    if isinstance(subject, (ev.BatchScheduled, cmd.ScheduleBatch)):
        parts.append(f"for {len(subject.items)} items")
    if activity_id := getattr(subject, "activity_id", ""):
        parts.append(f"with id {activity_id!r}")
    if _is_container(subject):
        parts.append("as a container")
    if delay := getattr(subject, "delay", 0):
        parts.append(f"of {delay / 1000:g} s")
    if seq := getattr(subject, "seq", 0):
        parts.append(f"(number {seq})")
    return " ".join(parts)


def _describe_end(activation: RecordedActivation) -> str:
    """Return what is recorded where the code asks for more than it did."""
    event = activation.recorded.event
    if not isinstance(event, ev.WorkflowTaskCompleted):
        return describe_event(event)
    count = len(activation.commands)
    commands = "1 command" if count == 1 else f"{count or 'no'} commands"
    return f"WorkflowTaskCompleted followed by {commands}"


def _identity(activity: ev.ActivityScheduled | cmd.ScheduleActivity) -> tuple[str, str, bool]:
    return activity.activity_type, activity.activity_id, _is_container(activity)


def _is_container(subject: Any) -> bool:
    # Where registered code runs may change under way; a container is other work altogether.
    placement: Placement | None = getattr(subject, "placement", None)
    return placement is not None and placement.container


def _fits(event: Event, command: Command) -> bool:
    if type(event) is not _EVENT_OF[type(command)]:
        return False
    if getattr(event, "seq", 0) != getattr(command, "seq", 0):
        return False
    if isinstance(event, ev.ActivityScheduled) and isinstance(command, cmd.ScheduleActivity):
        return _identity(event) == _identity(command)
    if isinstance(event, ev.BatchScheduled) and isinstance(command, cmd.ScheduleBatch):
        return (event.activity_type, event.activity_id, len(event.items)) == (
            command.activity_type,
            command.activity_id,
            len(command.items),
        )
    return True
