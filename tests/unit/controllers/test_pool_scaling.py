"""A WorkerPool that is scaled from outside, and pods that end or hang by no fault of the code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.protocol.verbs import VersionDescription
from perdure_operator.cluster import JOBS, PODS, WORKER_POOLS, ObjectRef
from support.operator_scene import NAMESPACE, Scene, a_pool, ref

NAME = "orders"
EXTERNAL = {"mode": "External"}
NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def look(scene: Scene) -> None:
    plan = await scene.look(WORKER_POOLS, NAME)
    assert not plan.blocked


async def scale(scene: Scene, replicas: int) -> None:
    scene.cluster.edit(WORKER_POOLS, ref(NAME), replicas=replicas)
    await look(scene)


def arguments(scene: Scene, name: str) -> list[str]:
    job = scene.cluster.objects["jobs", ref(name)]
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


# --- scaled from outside ------------------------------------------------------------------------


async def test_there_are_as_many_workers_as_replicas_says_whatever_there_is_to_do(
    scene: Scene,
) -> None:
    scene.apply(a_pool(scaling=EXTERNAL, replicas=3))
    scene.tell_queue(backlog=100_000)
    await look(scene)

    assert len(scene.jobs()) == 3
    assert not any("--idle-after" in arguments(scene, name) for name in scene.jobs())
    status = scene.status(WORKER_POOLS, NAME)
    assert (status["replicas"], status["selector"]) == (3, "perdure.dev/pool=orders")


async def test_without_replicas_there_are_none(scene: Scene) -> None:
    scene.apply(a_pool(scaling=EXTERNAL))
    scene.tell_queue(backlog=5)
    await look(scene)
    assert scene.jobs() == []
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Idle"


async def test_scaling_down_takes_what_does_not_run_yet_first_and_to_zero_all(
    scene: Scene,
) -> None:
    scene.apply(a_pool(scaling=EXTERNAL, replicas=3))
    scene.tell_queue()
    await look(scene)
    running = scene.jobs()[2]
    scene.cluster.run_job(ref(running))
    await scale(scene, 1)
    assert scene.jobs() == [running]
    await scale(scene, 0)
    assert scene.jobs() == []


async def test_who_takes_the_scaling_over_can_stop_workers_that_are_busy(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=150)
    await look(scene)
    for name in scene.jobs():
        scene.cluster.run_job(ref(name))
    scene.tell_queue(held=150)
    scene.cluster.edit(WORKER_POOLS, ref(NAME), replicas=0, scaling=EXTERNAL)
    await look(scene)
    assert scene.jobs() == []


async def test_a_worker_that_is_gone_is_replaced(scene: Scene) -> None:
    scene.apply(a_pool(scaling=EXTERNAL, replicas=2))
    scene.tell_queue()
    await look(scene)
    scene.cluster.end_job(ref(scene.jobs()[0]), succeeded=True)
    await look(scene)
    assert len(scene.jobs()) == 2


async def test_old_runs_have_workers_also_when_the_pool_is_scaled_to_zero(scene: Scene) -> None:
    scene.apply(a_pool(scaling=EXTERNAL, replicas=0))
    scene.tell_queue()
    await look(scene)
    old = scene.status(WORKER_POOLS, NAME)["version"]
    scene.cluster.edit(WORKER_POOLS, ref(NAME), image="shop/orders:2")
    await look(scene)
    busy = VersionDescription(build_id=old, backlog=500, open_runs=500)
    scene.tell_queue(versions={old: busy})
    await look(scene)

    (name,) = scene.jobs()
    assert name == f"orders-{old}-0"
    assert "--idle-after" in arguments(scene, name), "they leave by themselves"


async def test_replicas_in_the_default_mode_is_said_to_be_wrong(scene: Scene) -> None:
    scene.apply(a_pool(replicas=3))
    scene.tell_queue(backlog=1)
    await look(scene)
    assert scene.jobs() == []
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "InvalidSpec")
    assert "scaling.mode External" in scene.message(WORKER_POOLS, NAME, "Stalled")


# --- pods that end or hang ----------------------------------------------------------------------


def add_pod(scene: Scene, job: ObjectRef, status: dict[str, Any], name: str = "x") -> None:
    labels = scene.cluster.objects["jobs", job]["metadata"]["labels"]
    labels = {**labels, "batch.kubernetes.io/job-name": job.name}
    metadata = {"name": f"{job.name}-{name}", "namespace": NAMESPACE, "labels": labels}
    scene.cluster.add(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})
    scene.cluster.set_status(PODS, ref(metadata["name"]), status)


def disrupted(reason: str, message: str = "") -> dict[str, Any]:
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": NOW,
    }
    return {"phase": "Failed", "conditions": [condition]}


def crashed(reason: str, code: int) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": ""}}
    return {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": state}]}


CREATING = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}],
    "containerStatuses": [
        {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    ],
}


@pytest.mark.parametrize(
    ("status", "ends", "reason", "says"),
    [
        pytest.param(
            disrupted("PreemptionByScheduler", "preempting to accommodate a higher priority pod"),
            False, "WorkersEvicted", "higher priority pod", id="preempted",
        ),
        pytest.param(
            disrupted("TerminationByKubelet", "The node was low on resource: memory"),
            False, "WorkersEvicted", "low on resource", id="evicted-by-its-node",
        ),
        pytest.param(
            disrupted("EvictionByEvictionAPI"), False, "WorkersEvicted",
            "EvictionByEvictionAPI", id="drained",
        ),
        pytest.param(
            disrupted("DeletionByTaintManager"), False, "WorkersEvicted",
            "its Job makes another one", id="node-gone",
        ),
        pytest.param(
            crashed("OOMKilled", 137), True, "WorkersCrashing", "137 (OOMKilled)", id="memory"
        ),
        pytest.param(
            {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no GPU left"},
            True, "WorkersCrashing", "UnexpectedAdmissionError: no GPU left", id="not-admitted",
        ),
        pytest.param(
            crashed("ContainerCannotRun", 128), True, "WorkersCrashing", "128", id="no-command"
        ),
        pytest.param(CREATING, False, "WorkersNotStarting", "kubectl describe pod", id="hangs"),
    ],
)  # fmt: skip
async def test_a_pod_that_does_not_work_out_is_said_with_the_reason_and_makes_no_storm(
    scene: Scene, status: dict[str, Any], ends: bool, reason: str, says: str
) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    (name,) = scene.jobs()
    scene.pass_time(seconds=61)
    add_pod(scene, ref(name), status)
    if ends:
        scene.cluster.end_job(ref(name), succeeded=False, lifetime=timedelta(seconds=3))
    for _ in range(5):
        await look(scene)

    assert scene.conditions(WORKER_POOLS, NAME)["WorkersReady"] == ("False", reason)
    assert says in scene.message(WORKER_POOLS, NAME, "WorkersReady")
    assert len(scene.jobs()) == 1


async def test_a_pod_that_starts_slowly_is_given_its_time(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.pass_time(seconds=30)
    add_pod(scene, ref(scene.jobs()[0]), CREATING)
    await look(scene)
    assert scene.conditions(WORKER_POOLS, NAME)["WorkersReady"] == ("False", "WorkersStarting")


async def test_what_was_evicted_before_is_not_said_of_a_worker_that_runs(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    (name,) = scene.jobs()
    add_pod(scene, ref(name), disrupted("PreemptionByScheduler"))
    scene.tell_queue(held=1, workers=(scene.status(WORKER_POOLS, NAME)["version"],))
    await look(scene)
    assert scene.conditions(WORKER_POOLS, NAME)["WorkersReady"] == ("True", "WorkersAvailable")


async def test_a_worker_whose_node_is_gone_is_replaced_though_its_pod_never_says_so(
    scene: Scene,
) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    (lost,) = scene.jobs()
    scene.cluster.set_status(JOBS, ref(lost), {"terminating": 1, "active": 0, "startTime": NOW})
    await look(scene)
    await look(scene)
    assert len(scene.jobs()) == 2
