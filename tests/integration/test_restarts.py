"""Servers that end, by SIGTERM or SIGKILL, lose nothing and come back."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, RPCError, WorkflowHandle
from perdure.protocol import events as ev
from perdure.protocol import verbs
from support.scenes import Scene, events_of, history_of, names_of
from support.waiting import eventually

WORKFLOWS = Path(__file__).parents[1] / "support" / "workflows.py"
QUEUE = "default"
AT_ONCE = 50
RESTARTS = 5


@asynccontextmanager
async def restarts(scene: Scene, seed: int) -> AsyncIterator[list[signal.Signals]]:
    """End the server at random moments of the block, and start it again each time."""
    chance = random.Random(seed)
    sent: list[signal.Signals] = []

    async def keep_on() -> None:
        while len(sent) < RESTARTS:
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            number = chance.choice((signal.SIGKILL, signal.SIGTERM))
            scene.server.signal(number)
            await asyncio.to_thread(scene.server.wait)
            await asyncio.to_thread(scene.restart_server)
            sent.append(number)

    task = asyncio.create_task(keep_on())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def persist(call: Any) -> Any:
    """Repeat a call while the server is away."""
    while True:
        try:
            return await call()
        except RPCError as error:
            if error.http_status not in (None, 503):
                raise


async def test_a_server_that_is_restarted_under_load_loses_nothing(own_scene: Scene) -> None:
    seed = 3
    own_scene.start_server("--log-level", "error")
    own_scene.start_worker(WORKFLOWS, options=("--log-level", "error"))
    ended: dict[int, tuple[Any, list[ev.Event]]] = {}
    numbers = count()
    async with own_scene.client() as client, restarts(own_scene, seed) as sent:

        async def one_after_the_other() -> None:
            while len(sent) < RESTARTS:
                number = next(numbers)
                handle = await persist(
                    lambda number=number: client.start_workflow(
                        "Mixed", number, id=f"m{number}", task_queue=QUEUE
                    )
                )
                result = await persist(handle.result)
                ended[number] = result, await persist(lambda handle=handle: events_of(handle))

        async with asyncio.timeout(90):
            await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    assert len(ended) == next(numbers) >= AT_ONCE, f"seed {seed}"
    for number, (result, events) in ended.items():
        first, added, rolled, doubled, remembered = result
        assert (first, added, doubled) == (number, number + 1, number * 2), f"seed {seed}"
        assert rolled == remembered, f"seed {seed}"
        for kind in (ev.ActivityCompleted, ev.TimerFired, ev.WorkflowCompleted):
            assert sum(isinstance(event, kind) for event in events) == 1, f"seed {seed}, {kind}"
        steps = [event.name for event in events if isinstance(event, ev.StepCompleted)]
        assert steps == ["add-one", "double"], f"seed {seed}"


async def test_signals_come_in_order_and_once_however_often_the_server_goes(
    own_scene: Scene,
) -> None:
    own_scene.start_server("--log-level", "error")
    own_scene.start_worker(WORKFLOWS, options=("--log-level", "error"))
    async with own_scene.client() as client:
        handle = await client.start_workflow("Collect", 10**9, id="c", task_queue=QUEUE)
        async with restarts(own_scene, seed=8) as sent, asyncio.timeout(100):
            number = 0
            while len(sent) < RESTARTS:
                # The client repeats a signal under one id while the server is away.
                await handle.signal("add", number)
                number += 1
        assert await handle.query("gathered") == list(range(number))


async def test_timers_fire_that_were_due_while_the_server_was_away(own_scene: Scene) -> None:
    own_scene.start_server()
    own_scene.start_worker(WORKFLOWS)
    async with own_scene.client() as client:
        handle = await client.start_workflow("Sleep", 1.0, id="s", task_queue=QUEUE)
        await eventually(lambda: has_timer(handle))
        (timer,) = [e for e in await events_of(handle) if isinstance(e, ev.TimerStarted)]
        own_scene.server.kill()
        await eventually(lambda: time.time() * 1000 > timer.fires + 200)
        restarted = time.time() * 1000
        own_scene.restart_server()
        assert await handle.result() >= 1.0
        (fired,) = [e for e in await history_of(handle) if isinstance(e.event, ev.TimerFired)]
    assert timer.fires + 200 < restarted < fired.time < restarted + 5_000


async def has_timer(handle: WorkflowHandle[Any, Any]) -> bool:
    return "TimerStarted" in await names_of(handle)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_asked_to_stop_does_so_at_once_whoever_waits_on_it(
    own_scene: Scene, number: signal.Signals
) -> None:
    server = own_scene.start_server()
    own_scene.start_worker(WORKFLOWS)
    async with own_scene.client() as client:
        handle = await client.start_workflow("Collect", 1, id="c", task_queue=QUEUE)
        await handle.query("gathered")
        waiting = [asyncio.create_task(each) for each in long_polls(client, handle)]
        await asyncio.sleep(0.2)  # for the requests to arrive, which nothing tells

        began = time.monotonic()
        server.signal(number)
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() - began < 4, "nobody is waited for"
        await asyncio.gather(*waiting[1:], return_exceptions=True)

        own_scene.restart_server()
        await handle.signal("add", "after")
        assert await waiting[0] == ["after"], "a result is waited for through the restart"


def long_polls(client: Client, handle: WorkflowHandle[Any, Any]) -> list[Awaitable[Any]]:
    """Return everything that a client may wait for."""
    target = {"namespace": "default", "workflow_id": "c"}
    call = client.service.call
    return [
        handle.result(),
        call(verbs.HistoryRequest(**target, after=1000, wait=20_000)),
        call(verbs.WatchRequest(wait=20_000)),
        call(verbs.QueuesRequest(version=10**6, wait=20_000)),
        call(verbs.QueryRequest(**target, name="gathered")),
    ]


def test_a_server_whose_parent_died_while_it_started_ends_without_a_word(
    own_scene: Scene,
) -> None:
    module = "perdure_operator.server.main"
    command = [sys.executable, "-m", module, "--db", str(own_scene.db), "--port", "0"]
    command.append("--exit-with-stdin")
    orphan = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert orphan.stdin is not None
    assert orphan.stdout is not None
    assert orphan.stderr is not None
    orphan.stdin.close()
    orphan.stdout.close()
    with orphan.stderr:
        said = orphan.stderr.read()
    assert orphan.wait(20) == 0, said
    assert "Error" not in said
