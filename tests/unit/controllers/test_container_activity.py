"""An Activity that is a container: an attempt taken, one Job, its end reported, nothing left."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.failures import ApplicationInfo, CanceledInfo
from perdure.protocol.verbs import RunStatus, StartRequest, TakeActivityRequest
from perdure_operator.cluster import (
    ACTIVITIES,
    JOBS,
    PODS,
    ForbiddenError,
    InvalidError,
    Manifest,
    UnavailableError,
)
from perdure_operator.controllers.actions import Plan
from support.operator_scene import NAMESPACE, Scene, manifest, ref

NAME = "resize-1"


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def look(scene: Scene) -> Plan:
    return await scene.look(ACTIVITIES, NAME)


async def begun(scene: Scene, **spec: Any) -> Manifest:
    """Apply a container Activity, look, and return the Job that there is then."""
    template = {"image": "busybox:1", **spec.pop("template", {})}
    scene.cluster.add(ACTIVITIES, manifest(ACTIVITIES, NAME, {"template": template, **spec}))
    await look(scene)
    return the_job(scene)


def the_job(scene: Scene) -> Manifest:
    (job,) = scene.cluster.all(JOBS)
    return job


def the_pod(scene: Scene, **status: Any) -> None:
    """Have the Job's pod be like this, as the kubelet writes it."""
    job = the_job(scene)
    template = job["spec"]["template"]["metadata"]
    name = f"{job['metadata']['name']}-x"
    if ("pods", ref(name)) not in scene.cluster.objects:
        owner = {"uid": job["metadata"]["uid"], "name": job["metadata"]["name"]}
        metadata = {**template, "name": name, "namespace": NAMESPACE, "ownerReferences": [owner]}
        scene.cluster.add(PODS, {"metadata": metadata})
    scene.cluster.set_status(PODS, ref(name), status)


def end_pod(scene: Scene, code: int, message: str = "", **status: Any) -> None:
    ended = {"exitCode": code, "message": message, "reason": "Error" if code else "Completed"}
    the_pod(
        scene,
        phase="Failed" if code else "Succeeded",
        containerStatuses=[{"name": "main", "state": {"terminated": ended}}],
        **status,
    )


def run_pod(scene: Scene) -> None:
    the_pod(scene, phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}])


def wait_pod(scene: Scene, reason: str, message: str = "") -> None:
    waiting = {"waiting": {"reason": reason, "message": message}}
    status = {"name": "main", "image": "busybox:1", "state": waiting}
    the_pod(scene, phase="Pending", containerStatuses=[status])


async def test_a_container_needs_no_pool_and_is_started_with_its_template(scene: Scene) -> None:
    await begun(scene, template={"args": ["x"], "nonRetryableExitCodes": [3]}, input=[1])

    (request,) = scene.server.asked(StartRequest)
    assert request.activity is not None
    placement = request.activity.placement
    assert placement is not None
    assert placement.container
    assert placement.template == {
        "image": "busybox:1", "args": ["x"], "nonRetryableExitCodes": [3],
    }  # fmt: skip


async def test_an_attempt_is_taken_before_its_job_is_made(scene: Scene) -> None:
    job = await begun(scene, input=["photo"])

    assert len(scene.server.asked(TakeActivityRequest)) == 1
    env = {e["name"]: e.get("value") for e in main_of(job)["env"]}
    assert env["PERDURE_INPUT"] == '["photo"]'
    assert env["PERDURE_TASK_TOKEN"] == "run-1.1.1.secret"
    assert job["metadata"]["ownerReferences"][0]["name"] == NAME
    assert job["spec"]["backoffLimit"] == 0


def main_of(job: Manifest) -> Manifest:
    container: Manifest = job["spec"]["template"]["spec"]["containers"][0]
    return container


async def test_it_runs_once_its_pod_runs(scene: Scene) -> None:
    job = await begun(scene)
    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["job"]) == ("Pending", job["metadata"]["name"])
    assert scene.conditions(ACTIVITIES, NAME)["Ready"] == ("False", "PodStarting")

    run_pod(scene)
    await look(scene)

    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["worker"]) == ("Running", f"{job['metadata']['name']}-x")


async def test_what_it_wrote_is_its_result_and_no_job_is_left(scene: Scene) -> None:
    await begun(scene)
    end_pod(scene, 0, '{"small": "s3://b"}')
    await look(scene)

    (report,) = scene.server.run.reports
    assert report.result == {"small": "s3://b"}
    assert report.failure is None
    assert scene.cluster.all(JOBS) == []
    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["result"]) == ("Succeeded", {"small": "s3://b"})
    assert "job" not in status


async def test_a_job_is_deleted_only_when_its_end_is_recorded(scene: Scene) -> None:
    await begun(scene)
    end_pod(scene, 0, "1")
    scene.server.is_away = True
    await look(scene)
    assert len(scene.cluster.all(JOBS)) == 1

    scene.server.is_away = False
    await look(scene)
    assert scene.cluster.all(JOBS) == []
    assert len(scene.server.run.reports) == 1


async def test_a_failed_attempt_is_reported_and_the_next_has_a_job_of_its_own(
    scene: Scene,
) -> None:
    first = await begun(scene, template={"nonRetryableExitCodes": [9]})
    end_pod(scene, 3, "no such photo")
    await look(scene)

    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert report.failure.message == "container main exited with code 3: no such photo"
    assert report.failure.info == ApplicationInfo(type="ContainerFailed")
    second = the_job(scene)
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert second["metadata"]["labels"]["perdure.dev/attempt"] == "2"


async def test_an_evicted_pod_is_reported_as_lost(scene: Scene) -> None:
    await begun(scene)
    evicted = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    end_pod(scene, 143, conditions=evicted)
    await look(scene)

    (report,) = scene.server.run.reports
    assert report.lost == "EvictionByEvictionAPI"
    assert report.failure is None


async def test_a_job_that_somebody_deleted_is_lost_and_its_attempt_gets_no_second_pod(
    scene: Scene,
) -> None:
    job = await begun(scene)
    scene.cluster.ask_to_delete(JOBS, ref(job["metadata"]["name"]))
    await look(scene)

    (report,) = scene.server.run.reports
    assert report.lost == f"Job {job['metadata']['name']} was deleted"
    assert the_job(scene)["metadata"]["labels"]["perdure.dev/attempt"] == "2"


async def test_the_next_attempt_waits_until_a_deleted_jobs_pod_has_stopped(scene: Scene) -> None:
    job = await begun(scene)
    run_pod(scene)
    await look(scene)
    pod = scene.cluster.all(PODS)[0]
    pod["metadata"]["ownerReferences"] = []
    scene.cluster.ask_to_delete(JOBS, ref(job["metadata"]["name"]))
    await look(scene)
    assert scene.server.run.reports == []

    scene.cluster.ask_to_delete(PODS, ref(pod["metadata"]["name"]))
    await look(scene)
    assert len(scene.server.run.reports) == 1


async def test_an_operator_that_died_after_taking_makes_the_job_of_that_attempt(
    scene: Scene,
) -> None:
    scene.cluster.fail_with["create jobs"] = UnavailableError("create jobs", "as if it died")
    with pytest.raises(UnavailableError):
        await begun(scene)
    scene.cluster.fail_with.clear()
    await look(scene)

    assert the_job(scene)["metadata"]["labels"]["perdure.dev/attempt"] == "1"
    assert scene.server.run.reports == []


async def test_a_job_that_is_there_already_is_not_made_again(scene: Scene) -> None:
    await begun(scene)
    # As after a crash before the status was written.
    body = scene.cluster.objects["activities", ref(NAME)]
    body["status"].pop("job")
    await look(scene)

    assert len(scene.cluster.all(JOBS)) == 1
    assert len(scene.server.asked(TakeActivityRequest)) == 1
    assert scene.status(ACTIVITIES, NAME)["job"] == the_job(scene)["metadata"]["name"]


async def test_looking_again_asks_and_writes_nothing(scene: Scene) -> None:
    await begun(scene)
    run_pod(scene)
    await look(scene)
    writes, taken = len(scene.cluster.writes), len(scene.server.asked(TakeActivityRequest))
    for _ in range(3):
        await look(scene)

    assert len(scene.cluster.writes) == writes
    assert len(scene.server.asked(TakeActivityRequest)) == taken


async def test_cancellation_stops_the_pod_before_it_is_recorded(scene: Scene) -> None:
    await begun(scene)
    run_pod(scene)
    pod = scene.cluster.all(PODS)[0]
    pod["metadata"]["ownerReferences"] = []
    scene.server.run.change_activity(state="CancelRequested")
    scene.server.run.cancel_requested = True
    await look(scene)
    assert scene.cluster.all(JOBS) == []
    assert scene.server.run.reports == [], "the container may be cleaning up"

    scene.cluster.ask_to_delete(PODS, ref(pod["metadata"]["name"]))
    await look(scene)
    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert isinstance(report.failure.info, CanceledInfo)


async def canceled_with_pod(scene: Scene, code: int, *, told: bool) -> None:
    """Have cancellation asked for, and the container end before or after it was told."""
    await begun(scene)
    run_pod(scene)
    scene.cluster.all(PODS)[0]["metadata"]["ownerReferences"] = []
    scene.server.run.cancel_requested = True
    if told:
        job = the_job(scene)["metadata"]
        scene.server.run.change_activity(state="CancelRequested")
        await look(scene)
        assert scene.cluster.all(JOBS) == []
        pod = scene.cluster.objects["pods", ref(f"{job['name']}-x")]
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        ended = {"exitCode": code, "message": "1" if code == 0 else ""}
        container = {"name": "main", "state": {"terminated": ended}}
        status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}
        scene.cluster.set_status(PODS, ref(f"{job['name']}-x"), status)
    else:
        end_pod(scene, code, "1")
        scene.server.run.change_activity(state="CancelRequested")
    await look(scene)


@pytest.mark.parametrize("code", [143, 3])
async def test_a_container_that_ends_as_it_was_told_is_canceled(scene: Scene, code: int) -> None:
    await canceled_with_pod(scene, code, told=True)

    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert isinstance(report.failure.info, CanceledInfo)
    assert scene.status(ACTIVITIES, NAME)["phase"] == "Canceled"


@pytest.mark.parametrize("told", [True, False])
async def test_a_container_that_is_done_all_the_same_has_returned(
    scene: Scene, *, told: bool
) -> None:
    await canceled_with_pod(scene, 0, told=told)

    (report,) = scene.server.run.reports
    assert report.result == 1


async def test_a_container_that_had_failed_before_it_was_told_has_failed(scene: Scene) -> None:
    await canceled_with_pod(scene, 3, told=False)

    assert scene.server.run.reports[0].failure is not None
    assert scene.server.run.reports[0].failure.info == ApplicationInfo(type="ContainerFailed")


async def test_an_attempt_that_timed_out_loses_its_job(scene: Scene) -> None:
    first = await begun(scene)
    run_pod(scene)
    scene.server.run.change_activity(state="Scheduled", started=None, attempt=2, identity="")
    await look(scene)

    assert the_job(scene)["metadata"]["name"] != first["metadata"]["name"]
    assert scene.server.run.reports == []


async def test_a_backoff_is_waited_for(scene: Scene) -> None:
    await begun(scene)
    later = scene.server.run.pending[0].scheduled + 60_000
    scene.server.run.change_activity(
        state="BackingOff", started=None, attempt=2, next_attempt=later, identity=""
    )
    plan = await look(scene)

    assert scene.cluster.all(JOBS) == []
    assert plan.again is not None
    assert 60 <= plan.again.total_seconds() <= 61


async def test_a_suspended_run_begins_no_attempt(scene: Scene) -> None:
    await begun(scene)
    scene.server.run.change_activity(state="Scheduled", started=None, attempt=2, identity="")
    scene.server.run.status = RunStatus.SUSPENDED
    await look(scene)

    assert scene.cluster.all(JOBS) == []


@pytest.mark.parametrize(
    ("reason", "said", "condition"),
    [
        pytest.param("ImagePullBackOff", "no such image", "ImagePullFailed", id="image"),
        pytest.param(
            "CreateContainerConfigError", "container has runAsNonRoot and image will run as root",
            "PodNotStarting", id="root",
        ),
    ],
)  # fmt: skip
async def test_what_keeps_a_pod_from_starting_is_said_and_bounded(
    scene: Scene, reason: str, said: str, condition: str
) -> None:
    await begun(scene, timeouts={"scheduleToStart": "2m"})
    wait_pod(scene, reason, said)
    plan = await look(scene)
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", condition)
    assert said in scene.message(ACTIVITIES, NAME, "Stalled")
    assert plan.again is not None
    assert plan.again.total_seconds() == 120

    scene.pass_time(seconds=120)
    await look(scene)
    (report,) = scene.server.run.reports
    assert report.failure is not None
    assert report.failure.message.startswith("the pod could not start within 120 s: ")


async def test_a_pod_that_no_node_takes_is_said(scene: Scene) -> None:
    await begun(scene)
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    the_pod(scene, phase="Pending", conditions=[unscheduled])
    await look(scene)

    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "Unschedulable")


async def test_a_template_that_the_api_server_refuses_fails_for_good(scene: Scene) -> None:
    scene.cluster.fail_with["create jobs"] = InvalidError("create jobs", "no such field")
    scene.cluster.add(ACTIVITIES, manifest(ACTIVITIES, NAME, {"template": {"image": "busybox:1"}}))
    await look(scene)

    report = scene.server.run.reports[0]
    assert report.failure is not None
    assert "no such field" in report.failure.message
    assert report.failure.info == ApplicationInfo(type="ContainerFailed", non_retryable=True)
    assert scene.status(ACTIVITIES, NAME)["phase"] == "Failed"


async def test_a_quota_in_the_way_is_said_and_waited_for(scene: Scene) -> None:
    scene.cluster.fail_with["create jobs"] = ForbiddenError("create jobs", "exceeded quota")
    scene.cluster.add(ACTIVITIES, manifest(ACTIVITIES, NAME, {"template": {"image": "busybox:1"}}))
    plan = await look(scene)
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "Forbidden")
    assert "exceeded quota" in scene.message(ACTIVITIES, NAME, "Stalled")
    assert plan.again is not None
    assert scene.server.run.reports == []

    scene.cluster.fail_with.clear()
    await look(scene)
    assert the_job(scene)["metadata"]["labels"]["perdure.dev/attempt"] == "1"


async def test_a_deleted_activity_cancels_and_leaves_nothing(scene: Scene) -> None:
    await begun(scene)
    scene.cluster.ask_to_delete(ACTIVITIES, ref(NAME))
    await look(scene)
    assert scene.server.run.cancel_requested

    scene.server.run.change_activity(state="CancelRequested")
    await look(scene)
    assert scene.cluster.all(JOBS) == []
    assert len(scene.server.run.reports) == 1
