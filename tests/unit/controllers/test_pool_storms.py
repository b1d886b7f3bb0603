"""Workers that fail over and over, for minutes: how many Jobs that makes, and how many stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from perdure_operator.cluster import JOBS, WORKER_POOLS, Manifest, ObjectRef
from support.operator_scene import Scene, a_pool

NAME = "orders"
Fate = Callable[[Manifest, timedelta], bool | None]
"""Of a Job of that age: whether its worker fails now (True), leaves well (False), or stays."""


@pytest.fixture
def scene() -> Scene:
    return Scene()


class Weather:
    """What becomes of workers, second by second."""

    def __init__(self, scene: Scene, fate: Fate) -> None:
        self.scene, self.fate = scene, fate

    async def pass_(self, time: timedelta) -> int:
        """Let time pass, and return how many Jobs were made in it."""
        before = self.made
        for _ in range(int(time.total_seconds())):
            self.scene.pass_time(seconds=1)
            for job in self.scene.cluster.all(JOBS):
                self._befall(job)
            await self.scene.look(WORKER_POOLS, NAME)
        return self.made - before

    @property
    def made(self) -> int:
        return sum(each.startswith("create jobs") for each in self.scene.cluster.writes)

    def _befall(self, job: Manifest) -> None:
        metadata = job["metadata"]
        if job.get("status", {}).get("conditions"):
            return
        where = ObjectRef(namespace=metadata["namespace"], name=metadata["name"])
        age = self.scene.clock.now() - datetime.fromisoformat(metadata["creationTimestamp"])
        fails = self.fate(job, age)
        if fails is None:
            self.scene.cluster.run_job(where, since=age)
        else:
            self.scene.cluster.end_job(where, succeeded=not fails, lifetime=age)


def at(age: timedelta, seconds: float) -> bool:
    return age >= timedelta(seconds=seconds)


async def test_workers_that_crash_beside_a_steady_one_are_not_made_in_a_storm(
    scene: Scene,
) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=1)
    steady = Weather(scene, lambda _job, _age: None)
    await steady.pass_(timedelta(minutes=2))
    (first,) = scene.jobs()
    scene.tell_queue(backlog=4, held=1, workers=("w",))

    def fate(job: Manifest, age: timedelta) -> bool | None:
        return None if job["metadata"]["name"] == first else at(age, 2) or None

    made = await Weather(scene, fate).pass_(timedelta(minutes=10))
    assert made <= 4 + 9, "four at once, then one at a time: after 1, 2, 4, ... 256 s"
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "WorkersCrashing")
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Active"

    made = await Weather(scene, lambda _job, _age: None).pass_(timedelta(minutes=7))
    assert made == 4, "one that came through its start, then the others"
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)


async def test_workers_that_crash_at_their_start_are_few_in_ten_minutes(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=5)
    made = await Weather(scene, lambda _job, age: at(age, 2) or None).pass_(timedelta(minutes=10))
    assert made <= 5 + 9


async def test_of_workers_that_crash_for_hours_few_are_kept(scene: Scene) -> None:
    scene.apply(a_pool(slots=1, scaling={"max": 5}))
    scene.tell_queue(backlog=50)
    await Weather(scene, lambda _job, age: at(age, 70) or None).pass_(timedelta(minutes=20))
    assert len(scene.jobs()) <= 5 + 10


async def test_a_clock_that_is_behind_the_clusters_does_not_hold_workers_up(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=1)
    await Weather(scene, lambda _job, age: at(age, 1) or None).pass_(timedelta(seconds=2))
    scene.clock.pass_(-timedelta(hours=2))
    plan = await scene.look(WORKER_POOLS, NAME)
    assert plan.again is not None
    assert plan.again <= timedelta(seconds=1)
