"""Runs in memory: read once, never ahead of the disk for good, dropped only when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from perdure.protocol import events as ev
from perdure.protocol.messages import RunRef
from perdure.protocol.verbs import SignalRequest
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.recording import record
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import Transition
from perdure_operator.server import committing, keeping
from perdure_operator.server.errors import VerbError
from perdure_operator.server.keeping import HotRun
from perdure_operator.store.port import Outcome
from support.hosts import World

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}


async def test_what_was_decided_on_a_loser_is_not_written_onto_the_winner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "MAX_BATCH", 1)
    async with World() as world:
        run_id = await world.start()
        run = fold(Run(ref=RunRef(**TARGET, run_id=run_id), version=1), await world.history(run_id))
        theirs = record(run, [ev.SignalReceived(name="theirs")], world.now())
        commit, came_first = world.store.commit, [theirs]

        async def commit_behind_another(transitions: Sequence[Transition]) -> list[Outcome]:
            if came_first:
                await commit([came_first.pop()])
            return await commit(transitions)

        monkeypatch.setattr(world.store, "commit", commit_behind_another)
        # The second is decided on the first, and its version is the one behind the winner's.
        answers = await asyncio.gather(
            *(world.verbs.signal(SignalRequest(**TARGET, name=name)) for name in ("one", "two")),
            return_exceptions=True,
        )
        assert [type(each) for each in answers] == [VerbError, VerbError]
        kept = [each.event for each in await world.history(run_id)][1:]
        assert [each.name for each in kept if isinstance(each, ev.SignalReceived)] == ["theirs"]


async def test_a_run_asked_for_twice_at_once_is_read_once() -> None:
    async with World() as world:
        run_id = await world.start()
        await world.restart()
        keeper = world.host.keeper
        one, other = await asyncio.gather(keeper.get(run_id), keeper.get(run_id))
        assert one is not None
        assert one is other is keeper.peek(run_id)


@pytest.mark.parametrize("after", range(12))
async def test_the_events_behind_any_event_are_all_there_whatever_memory_has(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(keeping, "TAIL", 3)
    async with World() as world:
        run_id = await world.start()
        for number in range(10):
            await world.verbs.signal(SignalRequest(**TARGET, name=f"s{number}"))
        hot = world.host.keeper.peek(run_id)
        assert hot is not None
        assert hot.tail[0].id > 1, "memory has the end only"
        found = await world.host.keeper.events_after(hot, after)
        assert [each.id for each in found] == list(range(after + 1, 12))


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param({"commits": 1}, id="on-its-way-to-the-disk"),
        pytest.param({"failures": 1}, id="its-code-fails"),
        pytest.param({"task": object()}, id="a-worker-has-its-task"),
        pytest.param({"queries": [object()]}, id="somebody-asks"),
    ],
)
def test_a_run_that_something_happens_to_is_not_idle(busy: dict[str, Any]) -> None:
    run = Run(ref=RunRef(**TARGET, run_id="run-1"))
    assert HotRun(run).is_idle
    assert not HotRun(run, **busy).is_idle
