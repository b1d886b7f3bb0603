"""Histories that earlier versions wrote must be replayed by this one, command by command."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.replay import WorkflowTaskError
from support.histories import RunDriver, replay_events

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from workflows import STORIES  # noqa: E402 - beside this file

HISTORIES = sorted((HERE / "histories").glob("**/*.json"))
decode = msgspec.json.Decoder(list[HistoryEvent]).decode


def name_of(path: Path) -> str:
    return str(path.relative_to(HERE / "histories").with_suffix(""))


@pytest.mark.parametrize("path", HISTORIES, ids=name_of)
def test_a_recorded_history_is_replayed(path: Path) -> None:
    workflow, _, _ = STORIES[name_of(path)]
    events = decode(path.read_bytes())

    told = replay_events(workflow, events)

    assert told.closed
    assert told.activations == []
    assert told.start_steps == []


@pytest.mark.parametrize("path", HISTORIES, ids=name_of)
def test_a_recorded_history_is_replayed_from_every_transaction_on(path: Path) -> None:
    workflow, _, _ = STORIES[name_of(path)]
    events = decode(path.read_bytes())

    for count in range(1, len(events)):
        if not isinstance(events[count].event, (*ev.COMMAND_EVENTS, ev.WorkflowTaskCompleted)):
            replay_events(workflow, events[:count])


@pytest.mark.parametrize("path", HISTORIES, ids=name_of)
def test_the_same_story_still_makes_the_same_commands(path: Path) -> None:
    workflow, args, story = STORIES[name_of(path)]
    run = RunDriver(workflow, args)
    story(run)

    recorded = [ev.event_name(each.event) for each in decode(path.read_bytes())]
    assert run.kinds() == recorded
    run.evict()


@pytest.mark.parametrize("path", HISTORIES, ids=name_of)
def test_a_missing_command_is_noticed(path: Path) -> None:
    workflow, _, _ = STORIES[name_of(path)]
    events = decode(path.read_bytes())
    commands = [
        index for index, each in enumerate(events) if isinstance(each.event, ev.COMMAND_EVENTS)
    ]

    for index in commands:
        forged = [*events[:index], *events[index + 1 :]]
        with pytest.raises(WorkflowTaskError):
            replay_events(workflow, [_moved(each, n) for n, each in enumerate(forged, start=1)])


def _moved(recorded: HistoryEvent, id_: int) -> HistoryEvent:
    return HistoryEvent(id_, recorded.time, recorded.event)


def test_every_story_has_its_history() -> None:
    assert sorted(STORIES) == [name_of(path) for path in HISTORIES]
