"""Workers that run and are not heard of: when their Jobs are replaced, and when they are not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure_operator.cluster import WORKER_POOLS
from perdure_operator.controllers.pools.silence import NEVER_CONNECTED, PATIENCE
from support.operator_scene import Scene, a_pool, ref

NAME = "orders"
SECOND = timedelta(seconds=1)


@pytest.fixture
async def scene() -> Scene:
    """A pool with one worker that runs and is connected."""
    scene = Scene()
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.run_job(ref(the_job(scene)))
    connect(scene)
    await look(scene)
    return scene


async def look(scene: Scene) -> timedelta | None:
    plan = await scene.look(WORKER_POOLS, NAME)
    assert not plan.blocked
    return plan.again


def the_job(scene: Scene) -> str:
    (name,) = scene.jobs()
    return name


def version(scene: Scene) -> str:
    return str(scene.status(WORKER_POOLS, NAME)["version"])


def connect(scene: Scene, *pods: str) -> None:
    """Have these pods connected, by default that of the only Job."""
    connected = pods or (f"{the_job(scene)}-x7f2k",)
    scene.tell_queue(held=1, workers=(version(scene),) * len(connected), pods=connected)


async def test_a_worker_that_is_not_heard_of_any_more_is_replaced(scene: Scene) -> None:
    silent = scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"]
    scene.pass_time(hours=1)
    scene.tell_queue(backlog=1)
    assert await look(scene) == PATIENCE, "counted from when it was missed first"
    scene.pass_time(seconds=(PATIENCE - SECOND).total_seconds())
    assert await look(scene) == SECOND
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] == silent

    scene.pass_time(seconds=1)
    await look(scene)
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] != silent
    assert "WorkerSilent" in scene.notices


async def test_one_that_comes_back_in_time_stays(scene: Scene) -> None:
    job = scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"]
    for _ in range(3):
        scene.tell_queue(backlog=1)
        await look(scene)
        scene.pass_time(seconds=(PATIENCE - SECOND).total_seconds())
        connect(scene)
        await look(scene)
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] == job
    assert "WorkerSilent" not in scene.notices


async def test_nobody_is_missed_while_the_server_is_away(scene: Scene) -> None:
    job = scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"]
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.world.queues.forget()
    scene.pass_time(hours=1)
    await look(scene)
    scene.tell_queue(backlog=1)
    assert await look(scene) == PATIENCE, "whoever comes back to it has the whole time"
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] == job


async def test_a_worker_that_takes_minutes_to_begin_is_waited_for() -> None:
    scene = Scene()
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.run_job(ref(the_job(scene)))
    job = scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"]
    assert await look(scene) == NEVER_CONNECTED
    scene.pass_time(seconds=(NEVER_CONNECTED - SECOND).total_seconds())
    await look(scene)
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] == job
    scene.pass_time(seconds=1)
    await look(scene)
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] != job


async def test_where_a_worker_is_connected_that_no_job_explains_nothing_is_concluded(
    scene: Scene,
) -> None:
    job = scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"]
    connect(scene, "a-name-of-its-own")
    await look(scene)
    scene.pass_time(hours=1)
    await look(scene)
    assert scene.cluster.objects["jobs", ref(the_job(scene))]["metadata"]["uid"] == job


async def test_only_the_silent_one_of_two_is_replaced(scene: Scene) -> None:
    scene.tell_queue(backlog=500, workers=(version(scene),), pods=(f"{the_job(scene)}-a",))
    await look(scene)
    first, second = sorted(scene.jobs())[:2]
    for name in scene.jobs():
        scene.cluster.run_job(ref(name))
    uids = {
        name: scene.cluster.objects["jobs", ref(name)]["metadata"]["uid"]
        for name in (first, second)
    }
    connect(scene, *(f"{name}-a" for name in scene.jobs()))
    await look(scene)
    connect(scene, *(f"{name}-a" for name in scene.jobs() if name != first))
    await look(scene)
    scene.pass_time(seconds=PATIENCE.total_seconds())
    await look(scene)
    assert (
        scene.cluster.objects.get(("jobs", ref(first)), {}).get("metadata", {}).get("uid")
        != uids[first]
    )
    assert scene.cluster.objects["jobs", ref(second)]["metadata"]["uid"] == uids[second]
