"""Workers that fail over and over, for minutes, and Jobs that get no pod.

How many Jobs that makes, how many stay, and what is said of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from perdure_operator.cluster import (
    CORE_EVENTS,
    JOBS,
    WORKER_POOLS,
    ForbiddenError,
    Manifest,
    ObjectRef,
)
from support.operator_scene import NAMESPACE, Scene, a_pool, ref

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

    async def pass_(self, time: timedelta, *, step: int = 1) -> int:
        """Let time pass, seconds at a time, and return how many Jobs were made in it."""
        before = self.made
        for _ in range(int(time.total_seconds() / step)):
            self.scene.pass_time(seconds=step)
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
    await steady.pass_(timedelta(minutes=2), step=10)
    (first,) = scene.jobs()
    scene.tell_queue(backlog=4, held=1, workers=("w",))

    def fate(job: Manifest, age: timedelta) -> bool | None:
        return None if job["metadata"]["name"] == first else at(age, 2) or None

    made = await Weather(scene, fate).pass_(timedelta(minutes=3))
    assert made <= 4 + 8, "four at once, then one at a time: after 1, 2, 4, ... 64 s"
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "WorkersCrashing")
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Active"

    made = await Weather(scene, lambda _job, _age: None).pass_(timedelta(minutes=4), step=5)
    assert made == 4, "one that came through its start, then the others"
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)


async def test_of_workers_that_crash_for_hours_few_are_kept(scene: Scene) -> None:
    scene.apply(a_pool(slots=1, scaling={"max": 5}))
    scene.tell_queue(backlog=50)
    await Weather(scene, lambda _job, age: at(age, 70) or None).pass_(
        timedelta(minutes=20), step=10
    )
    assert len(scene.jobs()) <= 5 + 10


async def test_a_clock_that_is_behind_the_clusters_does_not_hold_workers_up(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=1)
    await Weather(scene, lambda _job, age: at(age, 1) or None).pass_(timedelta(seconds=2))
    scene.clock.pass_(-timedelta(hours=2))
    plan = await scene.look(WORKER_POOLS, NAME)
    assert plan.again is not None
    assert plan.again <= timedelta(seconds=1)


# --- Jobs without a pod ------------------------------------------------------------------------


async def make_podless(scene: Scene) -> None:
    """Have one Job, which the Job controller has looked at and made no pod for."""
    scene.apply(a_pool(scaling={"min": 1}))
    scene.tell_queue()
    await scene.look(WORKER_POOLS, NAME)
    (job,) = scene.jobs()
    scene.cluster.set_status(JOBS, ref(job), {"startTime": scene.clock.now().isoformat()})


def tell_of_refusals(scene: Scene, job: str, *messages: str) -> None:
    """Have the Job controller say that it could not make the Job's pod."""
    uid = scene.cluster.objects["jobs", ref(job)]["metadata"]["uid"]
    for number, message in enumerate(messages):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{job}.{number}", "namespace": NAMESPACE},
            "involvedObject": {"uid": uid},
            "reason": "FailedCreate",
            "lastTimestamp": f"2026-01-01T00:00:0{number}Z",
            "message": message,
        }
        scene.cluster.add(CORE_EVENTS, event)


async def test_why_a_job_gets_no_pod_is_said_in_the_same_words_each_time(scene: Scene) -> None:
    await make_podless(scene)
    plan = await scene.look(WORKER_POOLS, NAME)
    assert plan.again == timedelta(seconds=15), "its pod may come any moment"
    (job,) = scene.jobs()
    tell_of_refusals(
        scene, job, "older words", f'Error creating: pods "{job}-x7k2p" is forbidden: no quota'
    )
    scene.pass_time(seconds=15)
    plan = await scene.look(WORKER_POOLS, NAME)

    assert plan.again == timedelta(seconds=30)
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "Forbidden")
    said = scene.message(WORKER_POOLS, NAME, "Stalled")
    assert said == f'Job {job} gets no pod: pod "{job}" is forbidden: no quota'
    writes = list(scene.cluster.writes)
    await scene.look(WORKER_POOLS, NAME)
    assert scene.cluster.writes == writes


async def test_without_the_words_it_is_said_where_they_are(scene: Scene) -> None:
    await make_podless(scene)
    scene.pass_time(seconds=15)
    scene.cluster.fail_with["list events"] = ForbiddenError("list events", "no right")
    await scene.look(WORKER_POOLS, NAME)
    (job,) = scene.jobs()
    said = scene.message(WORKER_POOLS, NAME, "Stalled")
    assert said.startswith(f"Job {job} gets no pod: kubectl describe job {job} says why")


async def test_a_job_whose_pod_has_come_is_well_again(scene: Scene) -> None:
    await make_podless(scene)
    (job,) = scene.jobs()
    tell_of_refusals(scene, job, "exceeded quota")
    scene.pass_time(seconds=15)
    await scene.look(WORKER_POOLS, NAME)
    scene.cluster.run_job(ref(job))
    await scene.look(WORKER_POOLS, NAME)
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)
