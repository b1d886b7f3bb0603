"""A Job whose pod is refused (no ServiceAccount, Pod Security, a quota) is said, and given up."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_operator.cluster import (
    ACTIVITIES,
    JOBS,
    WORKER_POOLS,
    InvalidError,
    Manifest,
    ObjectKind,
)
from support.operator_scene import Scene, a_pool, manifest, ref

POOL, ACTIVITY = "orders", "resize-1"
SAID = "gets no pod: kubectl describe job"


@pytest.fixture(params=[WORKER_POOLS, ACTIVITIES], ids=["a-worker", "a-container"])
async def job(request: pytest.FixtureRequest) -> tuple[Scene, ObjectKind, str]:
    """Return an object that has a Job, which the Job controller has seen and has no pod for."""
    scene, kind = Scene(), request.param
    name = POOL if kind is WORKER_POOLS else ACTIVITY
    if kind is WORKER_POOLS:
        scene.apply(a_pool())
        scene.tell_queue(backlog=1)
    else:
        scene.cluster.add(kind, manifest(kind, name, {"template": {"image": "busybox:1"}}))
    await scene.look(kind, name)
    set_job(scene, {"startTime": scene.clock.now().isoformat(), "terminating": 0})
    return scene, kind, name


def set_job(scene: Scene, status: Manifest) -> None:
    (body,) = scene.cluster.all(JOBS)
    scene.cluster.set_status(JOBS, ref(body["metadata"]["name"]), status)


def stalled(scene: Scene, kind: ObjectKind, name: str) -> tuple[str, str] | None:
    return scene.conditions(kind, name).get("Stalled")


async def test_it_is_said_once_a_pod_should_be_there(job: tuple[Scene, ObjectKind, str]) -> None:
    scene, kind, name = job
    plan = await scene.look(kind, name)
    assert stalled(scene, kind, name) is None
    assert plan.again is not None
    assert plan.again.total_seconds() == 15

    scene.pass_time(seconds=15)
    await scene.look(kind, name)
    assert stalled(scene, kind, name) == ("True", "Forbidden")
    assert SAID in scene.message(kind, name, "Stalled")


@pytest.mark.parametrize("count", [{"active": 1}, {"terminating": 1}, {"failed": 1}], ids=str)
async def test_it_is_not_said_of_a_job_that_has_had_a_pod(
    job: tuple[Scene, ObjectKind, str], count: dict[str, Any]
) -> None:
    scene, kind, name = job
    set_job(scene, {"startTime": scene.clock.now().isoformat(), **count})
    scene.pass_time(seconds=15)
    await scene.look(kind, name)
    assert stalled(scene, kind, name) is None


async def test_an_attempt_whose_pod_never_comes_fails_with_the_words() -> None:
    scene = Scene()
    spec = {"template": {"image": "busybox:1"}, "timeouts": {"scheduleToStart": "1m"}}
    scene.cluster.add(ACTIVITIES, manifest(ACTIVITIES, ACTIVITY, spec))
    await scene.look(ACTIVITIES, ACTIVITY)
    set_job(scene, {"startTime": scene.clock.now().isoformat()})
    scene.pass_time(seconds=59)
    await scene.look(ACTIVITIES, ACTIVITY)
    assert scene.server.run.reports == []

    scene.pass_time(seconds=1)
    await scene.look(ACTIVITIES, ACTIVITY)
    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert "could not start within 60 s" in report.failure.message
    assert SAID in report.failure.message


async def test_a_job_that_is_malformed_is_a_mistake_in_the_spec() -> None:
    scene = Scene()
    scene.apply(a_pool(template={"spec": {"nodeSelectors": {"a": "b"}}}))
    scene.tell_queue(backlog=1)
    message = 'strict decoding error: unknown field "spec.template.spec.nodeSelectors"'
    scene.cluster.fail_with["create jobs"] = InvalidError("create", message)
    await scene.look(WORKER_POOLS, POOL)
    assert stalled(scene, WORKER_POOLS, POOL) == ("True", "InvalidSpec")
    assert message in scene.message(WORKER_POOLS, POOL, "Stalled")
    assert "mend spec.template" in scene.message(WORKER_POOLS, POOL, "Stalled")
