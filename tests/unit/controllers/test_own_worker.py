"""A registered activity in a pod of its own: a worker for one attempt, and nothing unbounded."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.verbs import TakeActivityRequest
from perdure_operator.cluster import ACTIVITIES, JOBS, PODS, Manifest
from support.fake_server import START
from support.operator_scene import NAMESPACE, Scene, a_pool, an_activity, ref

NAME = "resize-1"


@pytest.fixture
async def scene() -> Scene:
    """Return a scene with an Activity whose worker's Job is there."""
    scene = Scene()
    scene.apply(a_pool(env=[{"name": "A", "value": "pool"}, {"name": "B", "value": "pool"}]))
    template: Manifest = {
        "env": [{"name": "A", "value": "own"}],
        "nodeSelector": {"gpu": "yes"},
        "pod": {"spec": {"priorityClassName": "low"}},
    }
    scene.apply(an_activity(NAME, template=template))
    await scene.look(ACTIVITIES, NAME)
    return scene


def the_job(scene: Scene) -> Manifest:
    (job,) = scene.cluster.all(JOBS)
    return job


def set_pod(scene: Scene, **status: Any) -> None:
    template, name = the_job(scene)["spec"]["template"]["metadata"], "worker-pod"
    if ("pods", ref(name)) not in scene.cluster.objects:
        scene.cluster.add(PODS, {"metadata": {**template, "name": name, "namespace": NAMESPACE}})
    scene.cluster.set_status(PODS, ref(name), status)


def end_worker(scene: Scene, code: int) -> None:
    ended = {"terminated": {"exitCode": code, "message": "Traceback", "reason": "Error"}}
    phase = "Failed" if code else "Succeeded"
    set_pod(scene, phase=phase, containerStatuses=[{"name": "worker", "state": ended}])
    scene.cluster.end_job(ref(the_job(scene)["metadata"]["name"]), succeeded=not code)


async def test_its_worker_is_the_pools_but_for_what_the_template_says(scene: Scene) -> None:
    spec = the_job(scene)["spec"]["template"]["spec"]
    (worker,) = spec["containers"]
    env = {each["name"]: each["value"] for each in worker["env"]}

    assert (env["A"], env["B"]) == ("own", "pool")
    assert spec["nodeSelector"] == {"gpu": "yes"}
    assert spec["priorityClassName"] == "low"
    assert spec["restartPolicy"] == "Never"
    assert worker["securityContext"]["readOnlyRootFilesystem"]


async def test_while_its_worker_has_the_attempt_nothing_is_done(scene: Scene) -> None:
    scene.server.run.change_activity(state="Started", started=START, identity="1@worker-pod")
    writes = len(scene.cluster.writes)
    await scene.look(ACTIVITIES, NAME)
    await scene.look(ACTIVITIES, NAME)

    assert not scene.server.asked(TakeActivityRequest)
    assert len(scene.cluster.writes) == writes + 1, "its status, once"
    assert scene.status(ACTIVITIES, NAME)["worker"] == "1@worker-pod"


async def test_a_worker_that_ended_a_moment_ago_may_have_reported(scene: Scene) -> None:
    end_worker(scene, 0)
    plan = await scene.look(ACTIVITIES, NAME)

    assert not scene.server.asked(TakeActivityRequest)
    assert plan.again is not None
    assert plan.again.total_seconds() == 5


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(1, "container worker exited with code 1: Traceback", id="crashed"),
        pytest.param(0, "its worker left without taking the activity", id="left"),
    ],
)
async def test_a_worker_that_took_nothing_fails_the_attempt(
    scene: Scene, code: int, said: str
) -> None:
    end_worker(scene, code)
    scene.pass_time(seconds=5)
    await scene.look(ACTIVITIES, NAME)

    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert report.failure.message.startswith(said)
    assert the_job(scene)["metadata"]["labels"]["perdure.dev/attempt"] == "2"


async def test_a_pod_that_cannot_start_fails_the_attempt_in_the_end(scene: Scene) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    set_pod(scene, phase="Pending", containerStatuses=[{"name": "worker", "state": waiting}])
    await scene.look(ACTIVITIES, NAME)
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "ImagePullFailed")

    scene.pass_time(minutes=10)
    await scene.look(ACTIVITIES, NAME)
    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert "no such image" in report.failure.message


async def test_without_a_pool_it_is_said_what_is_missing() -> None:
    scene = Scene()
    scene.apply(an_activity(NAME, template={"image": "shop/gpu:1"}))
    await scene.look(ACTIVITIES, NAME)

    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "WorkerPoolNotFound")


async def test_an_attempt_that_was_retried_gets_another_pod_and_the_first_is_gone(
    scene: Scene,
) -> None:
    first = the_job(scene)["metadata"]["name"]
    scene.server.run.change_activity(attempt=2)
    await scene.look(ACTIVITIES, NAME)

    assert the_job(scene)["metadata"]["name"] != first
