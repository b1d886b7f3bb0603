"""What the operator keeps in memory, and what events do to it and to the work queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.protocol.verbs import QueueDescription
from perdure_operator.cluster import ACTIVITIES, WORKER_POOLS, WORKFLOWS, Manifest
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.lanes import Lanes
from perdure_operator.controllers.memories import QueueBook
from perdure_operator.controllers.workqueue import Schedule, WorkQueue
from support.operator_scene import NAMESPACE, Scene, a_pool, a_workflow, an_activity, ref

WORKFLOW = Key(WORKFLOWS, ref("order-42"))
POOL = Key(WORKER_POOLS, ref("orders"))
SCAN = Key(ACTIVITIES, ref("scan"))


class Desk:
    """An intake, its memory and its queue."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.world = self.scene.world
        self.queue: WorkQueue[Key] = WorkQueue(Schedule(spacing=1.0))
        self.counted: list[str] = []
        self.intake = Intake(self.world, self.queue, self.counted.append)

    async def queued(self) -> list[Key]:
        """Return the keys that are due now, and have them done."""
        keys = []
        while self.queue.ready:
            keys.append(await self.queue.take())
            self.queue.finish(keys[-1])
        return keys


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def stored(body: Manifest, version: str = "1", **metadata: object) -> Manifest:
    body["metadata"] |= {"uid": "u1", "resourceVersion": version, "generation": 1, **metadata}
    return body


async def test_an_event_has_its_object_looked_at_with_the_body_it_brought(desk: Desk) -> None:
    body = stored(a_workflow())
    desk.intake.notice_run(WORKFLOWS, "ADDED", body)

    assert await desk.queued() == [WORKFLOW]
    assert await desk.world.read(WORKFLOW) == body
    assert await desk.world.read(WORKFLOW) is None, "then the API server is asked"


async def test_events_are_counted_by_kind(desk: Desk) -> None:
    desk.intake.notice_run(WORKFLOWS, "ADDED", stored(a_workflow()))
    desk.intake.notice_pool("ADDED", stored(a_pool()))
    desk.intake.notice_owned({**a_pool(), "kind": "Job"})

    assert desk.counted == ["Workflow", "WorkerPool", "Job"]


async def test_the_event_of_our_own_write_tells_nothing_new(desk: Desk) -> None:
    desk.intake.notice_run(WORKFLOWS, "ADDED", stored(a_workflow(), "6"))
    await desk.queued()
    desk.world.latest.wrote(WORKFLOW, stored(a_workflow(), "7"))
    desk.world.latest.wrote(WORKFLOW, stored(a_workflow(), "8"))
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", stored(a_workflow(), "7"))
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", stored(a_workflow(), "8"))
    assert await desk.queued() == []

    desk.intake.notice_run(WORKFLOWS, "MODIFIED", stored(a_workflow(), "9"))
    assert await desk.queued() == [WORKFLOW]


async def test_an_object_that_is_over_no_more_is_looked_at_though_we_wrote_so(desk: Desk) -> None:
    over = stored(a_workflow(), "6")
    over["status"] = {"phase": "Failed"}
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", over)
    await desk.queued()
    desk.world.latest.wrote(WORKFLOW, stored(a_workflow(), "7"))
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", stored(a_workflow(), "7"))

    assert await desk.queued() == [WORKFLOW]


async def test_a_listing_is_looked_at_even_when_we_wrote_it(desk: Desk) -> None:
    desk.world.latest.wrote(WORKFLOW, stored(a_workflow(), "7"))
    desk.intake.notice_run(WORKFLOWS, None, stored(a_workflow(), "7"))

    assert await desk.queued() == [WORKFLOW]


async def test_a_run_is_found_by_its_id_while_its_object_is_not_over(desk: Desk) -> None:
    desk.intake.notice_run(WORKFLOWS, "ADDED", stored(a_workflow(workflowId="order/42")))
    desk.intake.notice_run(ACTIVITIES, "ADDED", stored(an_activity()))
    roster = desk.world.roster

    assert roster.find(NAMESPACE, "order/42") == WORKFLOW
    assert roster.find(NAMESPACE, "activity/resize-1") == Key(ACTIVITIES, ref("resize-1"))
    assert roster.find(NAMESPACE, "order-42") is None
    assert roster.find("elsewhere", "order/42") is None

    over = {**stored(a_workflow(workflowId="order/42")), "status": {"phase": "Succeeded"}}
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", over)
    assert roster.find(NAMESPACE, "order/42") is None


async def test_pools_do_not_wait_behind_runs() -> None:
    lanes = Lanes()
    for number in range(500):
        lanes.add(Key(WORKFLOWS, ref(f"order-{number}")))
    lanes.add(POOL)

    assert await lanes.pools.take() == POOL
    assert (len(lanes), lanes.ready, lanes.runs.ready) == (500, 500, 500)


async def test_a_deleted_object_is_forgotten_altogether(desk: Desk) -> None:
    body = stored(a_workflow())
    desk.intake.notice_run(WORKFLOWS, "ADDED", body)
    desk.world.pools.depend(WORKFLOW, POOL.ref, shows="WorkersStarting")
    desk.intake.notice_run(WORKFLOWS, "DELETED", body)

    assert len(desk.world.roster) == 0
    assert desk.world.latest.take(WORKFLOW) is None
    assert desk.world.pools.to_be_told(POOL.ref, "WorkersAvailable") == []


async def test_what_a_person_did_is_not_made_to_wait(desk: Desk) -> None:
    desk.intake.notice_run(WORKFLOWS, "ADDED", stored(a_workflow()))
    await desk.queued()
    seen = {**stored(a_workflow(), "2"), "status": {"observedGeneration": 1}}
    desk.intake.notice_run(WORKFLOWS, "MODIFIED", seen)
    assert await desk.queued() == [], "what others wrote is spaced"

    desk.intake.notice_run(WORKFLOWS, "MODIFIED", {**stored(a_workflow(), "3", generation=2)})
    assert await desk.queued() == [WORKFLOW]


async def test_jobs_and_pods_have_their_pool_looked_at(desk: Desk) -> None:
    labels = {"perdure.dev/pool": "orders"}
    desk.intake.notice_owned({"metadata": {"namespace": NAMESPACE, "name": "x", "labels": labels}})
    desk.intake.notice_owned({"metadata": {"namespace": NAMESPACE, "name": "other"}})

    assert await desk.queued() == [POOL]


async def test_jobs_and_pods_of_an_attempt_have_their_activity_looked_at(desk: Desk) -> None:
    own = {"perdure.dev/activity": "scan"}
    metadata = {"namespace": NAMESPACE, "name": "x", "annotations": own}
    desk.intake.notice_owned({"kind": "Pod", "metadata": metadata})
    assert await desk.queued() == [SCAN]

    # Spaced, unless it tells of an end.
    desk.intake.notice_owned({"kind": "Pod", "metadata": metadata})
    assert await desk.queued() == []
    desk.intake.notice_owned({"metadata": metadata, "status": {"phase": "Failed"}})
    assert await desk.queued() == [SCAN]


async def test_an_activity_that_shows_one_of_a_run_is_known_by_it(desk: Desk) -> None:
    shows = {"workflowId": "order-42", "runId": "r1", "seq": 3}
    body = stored(an_activity("scan", scheduledBy=shows))
    desk.intake.notice_run(ACTIVITIES, "ADDED", body)
    assert desk.world.shown.of_run("r1") == [SCAN]
    assert desk.world.shown.seqs("r1") == {3}
    assert desk.world.roster.find(NAMESPACE, "activity/scan") is None

    desk.intake.notice_run(ACTIVITIES, "MODIFIED", {**body, "status": {"phase": "Succeeded"}})
    assert desk.world.shown.of_run("r1") == []


async def test_what_is_shown_anew_is_not_forgotten_with_what_was_shown_before(desk: Desk) -> None:
    other = Key(ACTIVITIES, ref("other"))
    desk.world.shown.put(SCAN, "r1", 3)
    desk.world.shown.put(other, "r1", 3)
    desk.world.shown.remove(SCAN)
    assert desk.world.shown.of_run("r1") == [other]

    desk.world.forget(other)
    assert desk.world.shown.seqs("r1") == frozenset()


async def test_a_pool_tells_only_those_that_say_otherwise(desk: Desk) -> None:
    other = Key(WORKFLOWS, ref("order-43"))
    desk.world.pools.depend(WORKFLOW, POOL.ref, shows="WorkersStarting")
    desk.world.pools.depend(other, POOL.ref, shows="WorkersAvailable")
    ready = a_pool_that_says("True", "Idle")
    desk.intake.notice_pool("MODIFIED", ready)
    assert set(await desk.queued()) == {POOL, WORKFLOW}

    await asyncio.sleep(0)
    desk.intake.notice_pool("DELETED", ready)
    assert other in await desk.queued()
    assert desk.world.pools.get(POOL.ref) is None


async def test_a_pool_that_was_not_heard_of_is_asked_for(desk: Desk) -> None:
    assert await desk.world.find_pool(POOL.ref) is None
    desk.scene.apply(a_pool())
    found = await desk.world.find_pool(POOL.ref)

    assert found is not None
    assert found.task_queue == "orders"


async def test_a_pool_that_cannot_be_read_is_no_pool(desk: Desk) -> None:
    desk.scene.apply(a_pool(sltos=3))

    assert await desk.world.find_pool(POOL.ref) is None


def queue(name: str = "orders", **facts: int) -> QueueDescription:
    return QueueDescription(namespace=NAMESPACE, task_queue=name, **facts)


def test_a_queue_is_unknown_until_the_server_tells_and_empty_then() -> None:
    book = QueueBook()
    assert book.find(NAMESPACE, "orders") is None

    book.update([])
    assert book.find(NAMESPACE, "orders") == queue()

    book.forget()
    assert book.find(NAMESPACE, "orders") is None


def test_only_queues_that_changed_are_returned_and_vanished_ones_as_empty() -> None:
    book = QueueBook()
    book.update([queue("a", backlog=1), queue("b", backlog=2)])
    changes = book.update([queue("a", backlog=1), queue("c", held=1)])

    assert {(each.before, each.after) for each in changes} == {
        (queue("b", backlog=2), queue("b")),
        (queue("c"), queue("c", held=1)),
    }


async def test_a_pool_tells_why_it_has_no_workers_when_that_is_another_reason(desk: Desk) -> None:
    desk.world.pools.depend(WORKFLOW, POOL.ref, shows="WorkersStarting")
    desk.intake.notice_pool("MODIFIED", a_pool_that_says("False", "WorkersCrashing"))

    assert WORKFLOW in await desk.queued()


async def test_a_pool_that_appears_tells_those_that_missed_it(desk: Desk) -> None:
    desk.world.pools.depend(WORKFLOW, POOL.ref, shows="WorkerPoolNotFound")
    desk.intake.notice_pool("ADDED", stored(a_pool()))

    assert WORKFLOW in await desk.queued()


def a_pool_that_says(status: str, reason: str) -> dict[str, Any]:
    condition = {
        "type": "WorkersReady",
        "status": status,
        "reason": reason,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {**stored(a_pool()), "status": {"conditions": [condition]}}


@pytest.mark.looptime
async def test_the_lane_that_waits_longest_tells_how_far_behind_we_are() -> None:
    lanes = Lanes()
    lanes.add(POOL)
    await asyncio.sleep(5)
    lanes.add(WORKFLOW)
    await asyncio.sleep(2)

    assert lanes.oldest == pytest.approx(7)
    await lanes.pools.take()
    assert lanes.oldest == pytest.approx(2)
