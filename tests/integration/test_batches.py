"""Batches with real servers and workers: what is run how often, and what comes back when."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, WorkflowFailureError, WorkflowHandle
from perdure.exceptions import ActivityError, CancelledError
from perdure.protocol import events as ev
from perdure.protocol.verbs import DescribeRequest, PendingBatch
from support.batch_code import Beside, FanOut
from support.histories import replay_events
from support.scenes import PERDURE, Scene, events_of, history_of, lines_of
from support.waiting import eventually, wait_until

ROOT = Path(__file__).parents[2]
CODE = ROOT / "tests" / "support" / "batch_code.py"
EXAMPLE = ROOT / "worker_image" / "examples" / "newsletter.py"
QUEUE = "default"

Handle = WorkflowHandle[Any, Any]


@asynccontextmanager
async def played(scene: Scene, **fan: Any) -> AsyncIterator[tuple[Client, Handle, Path]]:
    """Start a worker and a run of one batch."""
    scene.start_worker(CODE)
    notes = scene.folder / "notes"
    async with scene.client() as client:
        handle = await client.start_workflow(
            "FanOut", {"notes": str(notes), **fan}, id="fan", task_queue=QUEUE
        )
        yield client, handle, notes


async def batch_of(client: Client, handle: Handle) -> PendingBatch | None:
    """Return how far the run's batch is; None when it is not open."""
    found = await client.service.call(
        DescribeRequest(namespace=client.namespace, workflow_id=handle.id)
    )
    assert found.pending_activities == (), "items are not listed one by one"
    return next(iter(found.pending_batches), None)


def counted(notes: Path, what: str) -> Counter[int]:
    """Return how often each item began, ended or was cancelled."""
    words = (line.split() for line in lines_of(notes))
    return Counter(int(number) for kind, number, *_ in words if kind == what)


def most_at_once(notes: Path) -> int:
    """Return how many items were at work at the same time, at most."""
    most = now = 0
    for line in lines_of(notes):
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    return most


async def items_of(handle: Handle) -> dict[int, ev.ItemResult]:
    """Return the items' results as history has them, each once."""
    told = [
        item
        for event in await events_of(handle)
        if isinstance(event, ev.BatchItemsClosed)
        for item in event.items
    ]
    assert len(told) == len({each.index for each in told}), "an item is told once"
    return {each.index: each for each in told}


# --- many -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["work", "work_in_thread"])
async def test_ten_thousand_items_are_a_few_dozen_events_and_run_once_each(
    scene: Scene, name: str
) -> None:
    scene.start_worker(CODE)
    notes, count = scene.folder / "notes", 10_000 if name == "work" else 500
    async with scene.client() as client:
        handle = await client.start_workflow(
            "FanOut", args=[{"count": count, "notes": str(notes)}, name], id="f", task_queue=QUEUE
        )
        assert await handle.result() == [2 * number for number in range(count)]
        history = await history_of(handle)
    assert counted(notes, "begin") == Counter(range(count))
    assert len(history) <= 36
    told = replay_events(FanOut, history)
    assert told.closed
    assert told.activations == []


async def test_the_bound_is_never_exceeded(scene: Scene) -> None:
    async with played(scene, count=300, parallelism=7, seconds=0.01) as (_, handle, notes):
        assert len(await handle.result()) == 300
    assert most_at_once(notes) == 7


# --- killing ----------------------------------------------------------------------------------


async def test_items_that_are_recorded_are_not_run_again_when_the_worker_is_killed(
    own_scene: Scene,
) -> None:
    own_scene.start_server("--lease", "2", "--grace", "0.3")
    victim = own_scene.start_worker(CODE)
    notes, at_once = own_scene.folder / "notes", 20
    fan = {"count": 1000, "notes": str(notes), "parallelism": at_once, "seconds": 0.02}
    async with own_scene.client() as client:
        handle = await client.start_workflow("FanOut", fan, id="fan", task_queue=QUEUE)
        await eventually(lambda: len(lines_of(notes)) > 600)
        victim.kill()
        before = await batch_of(client, handle)
        own_scene.start_worker(CODE)
        assert await handle.result() == [2 * number for number in range(1000)]
        items = await items_of(handle)

    assert before is not None
    assert 0 < before.succeeded < 1000
    begun = counted(notes, "begin")
    assert all(begun[index] <= item.attempt for index, item in items.items())
    again = [index for index, item in items.items() if item.attempt > 1]
    assert len(again) <= at_once
    assert sum(begun.values()) <= 1000 + at_once
    assert {item.attempt for item in items.values()} <= {1, 2}


async def test_items_are_run_once_each_when_the_server_is_killed(own_scene: Scene) -> None:
    patient = ("--lease", "30")  # on a loaded machine a server takes its time to come back
    server = own_scene.start_server(*patient)
    own_scene.start_worker(CODE)
    notes = own_scene.folder / "notes"
    fan = {"count": 1000, "notes": str(notes), "parallelism": 20, "seconds": 0.02}
    async with own_scene.client() as client:
        handle = await client.start_workflow("FanOut", fan, id="fan", task_queue=QUEUE)
        for moment in (400, 1000, 1600):
            await eventually(lambda moment=moment: len(lines_of(notes)) > moment)
            server.kill()
            server = own_scene.restart_server(*patient)
        assert await handle.result() == [2 * number for number in range(1000)]
        items = await items_of(handle)
        events = await events_of(handle)
    assert counted(notes, "begin") == Counter(range(1000))
    # An attempt that was handed out and did not reach the worker is one, and was never begun.
    assert {item.attempt for item in items.values()} <= {1, 2}
    assert [e for e in events if isinstance(e, ev.BatchCompleted)] == [
        ev.BatchCompleted(seq=1, succeeded=1000, failed=0)
    ]


# --- failing ----------------------------------------------------------------------------------


async def test_failures_are_tried_again_and_then_tolerated(scene: Scene) -> None:
    fails = {3: 1, 5: 2, 7: -1}
    async with played(scene, count=10, tolerated=1, fails=fails) as (_, handle, notes):
        result = await handle.result()
    assert result == [0, 2, 4, 6, 8, 10, 12, "NotYet: item 7 fails", 16, 18]
    assert counted(notes, "begin") == Counter({**dict.fromkeys(range(10), 1), 3: 2, 5: 3, 7: 3})


async def test_one_failure_too_many_fails_the_batch_and_stops_the_rest(scene: Scene) -> None:
    fan = {
        "count": 200, "tolerated": 1, "attempts": 1, "fails": {0: -1, 1: -1}, "parallelism": 4,
        "seconds": 0.2,
    }  # fmt: skip
    async with played(scene, **fan) as (_, handle, notes):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        events = await events_of(handle)
    error = caught.value.cause
    assert isinstance(error, ActivityError)
    assert "2 of 200" in error.message
    assert re.search(r"item [01] fails", str(error.cause))
    assert any(isinstance(each, ev.BatchFailed) for each in events)
    assert sum(counted(notes, "begin").values()) < 20


# --- streaming --------------------------------------------------------------------------------


async def test_results_stream_in_order_while_items_are_open(scene: Scene) -> None:
    gate = str(scene.folder / "gate")
    fan = {"count": 8, "take": "in order", "gates": {4: gate}}
    async with played(scene, **fan) as (client, handle, _):
        await eventually(lambda: _sees(handle, [0, 2, 4, 6]))
        await eventually(lambda: _has_progress(handle, [8, 7, 0]))
        Path(gate).touch()
        assert await handle.result() == [0, 2, 4, 6, 8, 10, 12, 14]
        assert await batch_of(client, handle) is None


async def test_results_stream_as_they_come_while_items_are_open(scene: Scene) -> None:
    gate = str(scene.folder / "gate")
    fan = {"count": 8, "take": "as completed", "gates": {0: gate}}
    async with played(scene, **fan) as (_, handle, _notes):
        await eventually(lambda: _has_progress(handle, [8, 7, 0]))
        Path(gate).touch()
        result = await handle.result()
        assert sorted(result) == [[number, 2 * number] for number in range(8)]
        assert result[-1] == [0, 0]
        replay_events(FanOut, await history_of(handle))


async def _sees(handle: Handle, expected: list[int]) -> bool:
    return bool(await handle.query("seen") == expected)


async def _has_progress(handle: Handle, expected: list[int]) -> bool:
    return bool(await handle.query("progress") == expected)


async def test_code_that_is_busy_is_told_of_a_batch_that_it_does_not_stream(scene: Scene) -> None:
    scene.start_worker(CODE)
    notes = scene.folder / "notes"
    async with scene.client() as client:
        fan = {"count": 2500, "notes": str(notes)}
        handle = await client.start_workflow("Beside", fan, id="beside", task_queue=QUEUE)
        total, seen, steps = await handle.result()
        history = await history_of(handle)
    assert (total, seen) == (sum(range(0, 5000, 2)), 2500)
    assert steps > 0
    portions = [len(e.event.items) for e in history if isinstance(e.event, ev.BatchItemsClosed)]
    assert len(portions) == 3
    told = replay_events(Beside, history)
    assert (told.closed, told.activations) == (True, [])


# --- stopping and holding ---------------------------------------------------------------------


async def test_a_cancelled_batch_begins_nothing_more_and_stops_what_is_open(scene: Scene) -> None:
    fan = {"count": 50, "parallelism": 3, "gates": {2: "never", 3: "never", 4: "never"}}
    async with played(scene, **fan) as (client, handle, notes):
        await eventually(lambda: len(counted(notes, "begin")) == 5)
        batch = await eventually(lambda: _with_closed(client, handle, 2))
        assert (batch.running, batch.total, batch.activity_type) == (3, 50, "work")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        await eventually(lambda: counted(notes, "cancelled") == Counter([2, 3, 4]))
    assert counted(notes, "begin") == Counter(range(5))


async def _with_closed(client: Client, handle: Handle, closed: int) -> PendingBatch | None:
    batch = await batch_of(client, handle)
    return batch if batch and batch.succeeded + batch.failed == closed else None


async def test_a_suspended_run_begins_no_item_until_it_is_resumed(scene: Scene) -> None:
    gate = str(scene.folder / "gate")
    fan = {"count": 30, "parallelism": 2, "gates": {0: gate, 1: gate}}
    async with played(scene, **fan) as (client, handle, notes):
        await eventually(lambda: len(counted(notes, "begin")) == 2)
        await handle.suspend()
        Path(gate).touch()
        await eventually(lambda: _with_closed(client, handle, 2))
        assert counted(notes, "begin") == Counter([0, 1])
        await handle.resume()
        assert len(await handle.result()) == 30
    assert counted(notes, "begin") == Counter(range(30))


async def test_a_run_that_was_terminated_is_retried_without_what_was_acknowledged(
    scene: Scene,
) -> None:
    gate = str(scene.folder / "gate")
    async with played(scene, count=40, gates={39: gate}) as (client, handle, notes):
        await eventually(lambda: _with_closed(client, handle, 39))
        await handle.terminate("a mistake")
        Path(gate).touch()
        await handle.retry()
        assert await client.get_workflow_handle("fan").result() == [
            2 * number for number in range(40)
        ]
    assert counted(notes, "begin") == Counter(range(40)) + Counter([39])


async def test_a_half_done_batch_that_goes_on_elsewhere_does_no_acknowledged_item_again(
    own_scene: Scene, new_scene: Scene
) -> None:
    gate, file = str(own_scene.folder / "gate"), own_scene.folder / "store.jsonl"
    own_scene.start_server()
    async with played(own_scene, count=40, gates={39: gate}) as (client, handle, notes):
        await eventually(lambda: _with_closed(client, handle, 39))
        exported = await own_scene.perdure_async("history", "export", "fan", "--file", file)
        assert exported.code == 0, exported.err
    own_scene.server.stop()

    new_scene.start_server()
    imported = await new_scene.perdure_async("history", "import", file)
    assert imported.code == 0, imported.err
    Path(gate).touch()
    new_scene.start_worker(CODE)
    async with new_scene.client() as client:
        result = await client.get_workflow_handle("fan").result()
    assert result == [2 * number for number in range(40)]
    assert set(counted(notes, "begin")) == set(range(40))
    assert [number for number, times in counted(notes, "begin").items() if times > 1] == [39]


# --- seen from outside ------------------------------------------------------------------------


async def test_show_has_a_line_for_a_portion_and_says_how_far_a_batch_is(scene: Scene) -> None:
    gate = str(scene.folder / "gate")
    fan = {"count": 100, "gates": {99: gate}, "fails": {98: -1}, "tolerated": 1, "attempts": 1}
    async with played(scene, **fan) as (client, handle, _):
        await eventually(lambda: _with_closed(client, handle, 99))
        told = await scene.perdure_async("show", "fan")
        assert told.out.splitlines()[-1] == (
            "work: 99 of 100 items (1 failed: 98), 1 running, last failure: NotYet: item 98 fails"
        )
        Path(gate).touch()
        await handle.result()
        told = await scene.perdure_async("show", "fan")
    lines = [line.partition("] ")[2] for line in told.out.splitlines()]
    assert lines[2] == "BatchScheduled: work, 100 items, 1 failure tolerated"
    assert (
        lines[3]
        == "BatchItemsClosed: work: 100 items, 1 failed (NotYet: item 98 fails); 100 of 100"
    )
    assert lines[4] == "BatchCompleted: work: 99 succeeded, 1 failed (items 98)"
    assert told.out.splitlines()[5] == "    item 98: NotYet: item 98 fails"
    assert len(lines) == 7


# --- the example ------------------------------------------------------------------------------


def test_the_newsletter_goes_on_where_it_was_killed(own_scene: Scene) -> None:
    outbox = own_scene.folder / "outbox.jsonl"
    own_scene.env["NEWSLETTER_OUTBOX"] = str(outbox)
    given = json.dumps({"issue": "7", "subscribers": 1500, "takes": 0.02, "at_once": 20})
    command = ("run", EXAMPLE, "--db", own_scene.db, "--id", "issue-7", "--input", given)
    first = own_scene.start_process(PERDURE, *command)
    wait_until(lambda: len(lines_of(outbox)) > 500, what="a third of the mails is sent")
    first.signal(signal.SIGKILL)
    first.wait()
    sent_before = len(lines_of(outbox))

    done = own_scene.perdure(*command)

    assert done.code == 0, done.err
    summary = json.loads(done.out.splitlines()[-1])
    assert summary == {"sent": 1499, "bounced": ["nobody-999@example.com"]}
    lines = [json.loads(line) for line in lines_of(outbox)]
    assert len({line["to"] for line in lines}) == len({line["key"] for line in lines}) == 1499
    assert sent_before < 1499
    # Only what was under way when it was killed can have been sent twice.
    assert len(lines) <= 1499 + 20
