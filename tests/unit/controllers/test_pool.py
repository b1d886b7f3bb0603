"""A WorkerPool's life: which Jobs there are at each look, and what the status says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure_operator.cluster import JOBS, PODS, WORKER_POOLS, ForbiddenError, UnavailableError
from perdure_operator.cluster.kinds import ObjectRef
from support.operator_scene import NAMESPACE, Scene, a_pool, ref

NAME = "orders"


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def look(scene: Scene) -> timedelta | None:
    plan = await scene.look(WORKER_POOLS, NAME)
    assert not plan.blocked
    return plan.again


def version(scene: Scene) -> str:
    text: str = scene.status(WORKER_POOLS, NAME)["version"]
    return text


def numbers(scene: Scene) -> list[int]:
    return sorted(int(name.rpartition("-")[2]) for name in scene.jobs())


def only_job(scene: Scene) -> ObjectRef:
    (name,) = scene.jobs()
    return ref(name)


def add_pod(scene: Scene, job: ObjectRef, status: dict[str, Any]) -> None:
    """Put a Job's pod there, in a state that a kubelet would report."""
    labels = scene.cluster.objects["jobs", job]["metadata"]["labels"]
    labels = {**labels, "batch.kubernetes.io/job-name": job.name}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{job.name}-x", "namespace": NAMESPACE, "labels": labels},
        "spec": {},
    }
    scene.cluster.add(PODS, body)
    scene.cluster.set_status(PODS, ref(f"{job.name}-x"), status)


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "worker", "image": "shop/orders:1", "state": state}]}


def crashed(code: int, message: str, reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message, "reason": reason}}
    return {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": state}]}


# --- how many ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backlog", "held", "scaling", "jobs"),
    [
        pytest.param(0, 0, {}, 0, id="nothing-runnable-no-worker"),
        pytest.param(1, 0, {}, 1, id="one-task-one-worker"),
        pytest.param(10, 0, {}, 1, id="slots-are-filled"),
        pytest.param(11, 0, {}, 2, id="one-more-than-the-slots"),
        pytest.param(5, 6, {}, 2, id="what-is-worked-on-counts"),
        pytest.param(1000, 0, {"max": 3}, 3, id="never-above-max"),
        pytest.param(0, 0, {"min": 2}, 2, id="never-below-min"),
        pytest.param(15, 0, {"min": 4, "max": 9}, 4, id="min-is-enough"),
    ],
)
async def test_there_are_as_many_workers_as_the_tasks_fill(
    scene: Scene, backlog: int, held: int, scaling: dict[str, int], jobs: int
) -> None:
    scene.apply(a_pool(slots=10, scaling=scaling))
    scene.tell_queue(backlog=backlog, held=held)
    await look(scene)

    assert numbers(scene) == list(range(jobs))
    assert scene.status(WORKER_POOLS, NAME)["activeJobs"] == jobs


async def test_looking_again_makes_no_further_jobs(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=3)
    await look(scene)
    writes = len(scene.cluster.writes)
    for _ in range(3):
        await look(scene)

    assert len(scene.cluster.writes) == writes


async def test_more_work_makes_more_jobs_and_less_work_deletes_none(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.tell_queue(backlog=3)
    await look(scene)
    assert numbers(scene) == [0, 1, 2]

    scene.tell_queue(backlog=0)
    await look(scene)
    assert numbers(scene) == [0, 1, 2]


async def test_a_number_is_taken_until_its_job_is_gone_and_free_again_then(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=2)
    await look(scene)
    scene.cluster.end_job(ref(scene.jobs()[0]), succeeded=True)
    await look(scene)
    assert numbers(scene) == [1, 2]

    scene.tell_queue(backlog=3)
    await look(scene)
    assert numbers(scene) == [0, 1, 2]


async def test_two_operators_with_the_same_view_make_one_job(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    other = Scene()
    other.apply(a_pool())
    other.tell_queue(backlog=1)
    await look(other)
    # The other operator was faster, and this one has not seen its Job yet.
    scene.cluster.add(JOBS, {**other.cluster.all(JOBS)[0], "metadata": _unseen(other)})
    plan = await scene.look(WORKER_POOLS, NAME)

    assert scene.jobs() == other.jobs()
    assert plan.blocked, "it looks again when the Job can be seen"


def _unseen(scene: Scene) -> dict[str, Any]:
    metadata = dict(scene.cluster.all(JOBS)[0]["metadata"])
    return {**metadata, "labels": {}}


async def test_jobs_that_are_done_are_cleared_away(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.tell_queue()
    scene.cluster.end_job(only_job(scene), succeeded=True)
    await look(scene)

    assert scene.jobs() == []
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Idle"


async def test_without_the_server_nothing_is_made_and_nothing_deleted(scene: Scene) -> None:
    scene.apply(a_pool(scaling={"min": 1}))
    await look(scene)
    assert scene.jobs() == []
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Pending"

    scene.tell_queue(backlog=1)
    await look(scene)
    scene.world.queues.forget()
    scene.cluster.edit(WORKER_POOLS, ref(NAME), image="shop/orders:2")
    before = scene.status(WORKER_POOLS, NAME)
    await look(scene)
    assert numbers(scene) == [0]
    assert scene.status(WORKER_POOLS, NAME) == before


async def test_without_the_api_server_nothing_is_deleted(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.fail_with["list jobs"] = UnavailableError("list jobs", "503")
    with pytest.raises(UnavailableError):
        await scene.look(WORKER_POOLS, NAME)

    assert numbers(scene) == [0]


async def test_a_pool_being_deleted_is_left_alone(scene: Scene) -> None:
    body = a_pool(scaling={"min": 1})
    body["metadata"]["finalizers"] = ["foregroundDeletion"]
    scene.apply(body)
    scene.tell_queue(backlog=5)
    scene.cluster.ask_to_delete(WORKER_POOLS, ref(NAME))
    await look(scene)

    assert scene.jobs() == []


# --- workers that stay -------------------------------------------------------------------------


async def test_the_workers_of_min_stay_and_the_others_leave_when_idle(scene: Scene) -> None:
    scene.apply(a_pool(slots=1, scaling={"min": 1, "idleAfter": "90s"}))
    scene.tell_queue(backlog=2)
    await look(scene)

    arguments = [
        job["spec"]["template"]["spec"]["containers"][0]["args"] for job in scene.cluster.all(JOBS)
    ]
    assert ["--idle-after" in each for each in arguments] == [False, True]
    assert "90s" in arguments[1]


async def test_workers_that_stay_are_told_to_go_when_min_is_lowered(scene: Scene) -> None:
    scene.apply(a_pool(scaling={"min": 2}))
    scene.tell_queue()
    await look(scene)
    scene.cluster.edit(WORKER_POOLS, ref(NAME), scaling={"min": 1})
    await look(scene)

    assert numbers(scene) == [0]


# --- versions ----------------------------------------------------------------------------------


async def test_changed_bounds_are_no_other_version(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    before = version(scene)
    scene.cluster.edit(WORKER_POOLS, ref(NAME), scaling={"max": 7})
    await look(scene)

    assert version(scene) == before


# --- code from a ConfigMap ---------------------------------------------------------------------


async def test_code_from_a_configmap_is_part_of_the_version(scene: Scene) -> None:
    scene.add_code("orders-code", orders="version = 1")
    scene.apply(a_pool(code={"configMap": "orders-code"}))
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.run_job(only_job(scene))
    again = await look(scene)
    before = version(scene)
    assert again == timedelta(seconds=60), "the code is looked at again while it runs"

    scene.cluster.objects["configmaps", ref("orders-code")]["data"]["orders.py"] = "version = 2"
    await look(scene)
    assert version(scene) != before


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(None, "there is no ConfigMap 'orders-code'", id="no-configmap"),
        pytest.param({}, "holds no Python file", id="empty"),
        pytest.param({"not-a-module": "x"}, "holds no Python file", id="no-module"),
    ],
)
async def test_code_that_is_not_there_is_said_and_comes_later(
    scene: Scene, files: dict[str, str] | None, says: str
) -> None:
    if files is not None:
        scene.add_code("orders-code", **files)
    scene.apply(a_pool(code={"configMap": "orders-code"}))
    scene.tell_queue(backlog=1)
    again = await look(scene)

    assert again == timedelta(seconds=5)
    assert scene.jobs() == []
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Stalled"
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "CodeNotFound")
    assert says in scene.message(WORKER_POOLS, NAME, "Stalled")

    scene.cluster.objects.pop(("configmaps", ref("orders-code")), None)
    scene.add_code("orders-code", orders="pass")
    await look(scene)
    assert len(scene.jobs()) == 1
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)


# --- what the status says ----------------------------------------------------------------------


async def test_an_idle_pool_is_ready(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue()
    await look(scene)

    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Idle"
    assert scene.conditions(WORKER_POOLS, NAME) == {
        "Ready": ("True", "Idle"),
        "WorkersReady": ("True", "Idle"),
    }


async def test_a_pool_is_starting_until_a_worker_is_connected(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Starting"
    assert scene.conditions(WORKER_POOLS, NAME) == {
        "Ready": ("False", "WorkersStarting"),
        "WorkersReady": ("False", "WorkersStarting"),
        "Reconciling": ("True", "WorkersStarting"),
    }

    scene.tell_queue(held=1, workers=(version(scene),))
    await look(scene)
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Active"
    assert scene.status(WORKER_POOLS, NAME)["readyWorkers"] == 1
    assert scene.conditions(WORKER_POOLS, NAME) == {
        "Ready": ("True", "WorkersAvailable"),
        "WorkersReady": ("True", "WorkersAvailable"),
    }


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        pytest.param(
            waiting("ImagePullBackOff", "not found"), "ImagePullFailed", "not found", id="image"
        ),
        pytest.param(
            waiting("InvalidImageName"), "ImagePullFailed", "InvalidImageName", id="image-name"
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "card" not found'),
            "WorkersCrashing",
            'secret "card" not found',
            id="secret",
        ),
        pytest.param(
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available",
                    }
                ]
            },
            "Unschedulable",
            "0/3 nodes",
            id="no-node",
        ),
    ],
)
async def test_why_a_worker_does_not_start_is_said(
    scene: Scene, status: dict[str, Any], reason: str, says: str
) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    add_pod(scene, only_job(scene), status)
    await look(scene)

    assert scene.conditions(WORKER_POOLS, NAME)["WorkersReady"] == ("False", reason)
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", reason)
    assert says in scene.message(WORKER_POOLS, NAME, "WorkersReady")
    assert len(scene.jobs()) == 1, "another Job would have the same trouble"


async def test_a_job_that_may_not_be_made_is_said(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    error = ForbiddenError("create jobs", "exceeded quota: compute")
    scene.cluster.fail_with["create jobs"] = error
    again = await look(scene)

    assert again == timedelta(seconds=30)
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "Forbidden")
    assert "exceeded quota" in scene.message(WORKER_POOLS, NAME, "Stalled")

    scene.cluster.fail_with.clear()
    await look(scene)
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)


# --- workers that fail -------------------------------------------------------------------------


async def fail_once(scene: Scene, message: str = "ImportError: no module orders") -> None:
    """Have the active Job's worker crash at its start, and the operator look."""
    (job,) = (
        ref(body["metadata"]["name"])
        for body in scene.cluster.all(JOBS)
        if not body.get("status", {}).get("conditions")
    )
    add_pod(scene, job, crashed(1, message))
    scene.cluster.end_job(job, succeeded=False, lifetime=timedelta(seconds=2))
    await look(scene)


async def test_a_crashing_worker_is_tried_again_later_each_time(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    waits = []
    for _ in range(11):
        await fail_once(scene)
        again = await look(scene)
        assert again is not None
        waits.append(again.total_seconds())
        jobs = len(scene.jobs())
        scene.clock.pass_(again - timedelta(seconds=0.5))
        await look(scene)
        assert len(scene.jobs()) == jobs, "not before its time"
        scene.pass_time(seconds=0.5)
        await look(scene)
        assert len(scene.jobs()) == jobs + 1

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_a_crash_says_its_exit_code_and_the_end_of_the_log(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    await fail_once(scene)

    message = scene.message(WORKER_POOLS, NAME, "WorkersReady")
    assert "exited with code 1" in message
    assert "ImportError: no module orders" in message
    assert scene.conditions(WORKER_POOLS, NAME)["WorkersReady"] == ("False", "WorkersCrashing")
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME), "once may be bad luck"


async def test_three_crashes_in_a_row_stall_the_pool_until_it_is_changed(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    for wait in (1, 2, 4):
        await fail_once(scene)
        scene.pass_time(seconds=wait)
        await look(scene)
    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Stalled"
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "WorkersCrashing")

    scene.cluster.edit(WORKER_POOLS, ref(NAME), image="shop/orders:mended")
    await look(scene)
    scene.tell_queue(backlog=1)
    await look(scene)
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)
    assert len(scene.jobs()) == 1, "what the broken version left is cleared away"


async def test_many_workers_that_crash_are_followed_by_one_at_a_time(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=5)
    await look(scene)
    for name in scene.jobs():
        scene.cluster.end_job(ref(name), succeeded=False, lifetime=timedelta(seconds=2))
    await look(scene)
    assert len(scene.jobs()) == 5

    scene.pass_time(seconds=1)
    await look(scene)
    assert len(scene.jobs()) == 6


async def test_a_worker_that_came_through_its_start_ends_the_row(scene: Scene) -> None:
    scene.apply(a_pool(slots=1))
    scene.tell_queue(backlog=3)
    await look(scene)
    names = scene.jobs()
    scene.cluster.end_job(ref(names[0]), succeeded=False, lifetime=timedelta(seconds=2))
    scene.pass_time(minutes=2)
    scene.cluster.run_job(ref(names[1]), since=timedelta(minutes=2))
    await look(scene)

    assert len(scene.jobs()) == 4


async def test_a_worker_that_lasted_is_replaced_at_once(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.end_job(only_job(scene), succeeded=False, lifetime=timedelta(minutes=5))
    await look(scene)

    assert numbers(scene) == [0, 1]


async def test_a_worker_that_leaves_at_once_though_there_is_work_has_failed(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    scene.cluster.end_job(only_job(scene), succeeded=True, lifetime=timedelta(seconds=1))
    again = await look(scene)

    assert again == timedelta(seconds=1)
    assert numbers(scene) == [0]
    assert "left at once" in scene.message(WORKER_POOLS, NAME, "WorkersReady")

    scene.tell_queue()
    await look(scene)
    assert scene.jobs() == [], "there was no work for it after all"


async def test_success_after_failures_clears_them_away(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    await fail_once(scene)
    scene.pass_time(seconds=1)
    await look(scene)
    scene.pass_time(minutes=5)
    last = max(scene.jobs())
    scene.cluster.end_job(ref(last), succeeded=True)
    await look(scene)

    assert numbers(scene) == [2], "the next worker, and nothing of the past"
    job = scene.cluster.objects["jobs", only_job(scene)]
    assert job["metadata"]["annotations"]["perdure.dev/failures-before"] == "0"


async def test_a_stalled_pool_without_work_is_idle(scene: Scene) -> None:
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    await look(scene)
    await fail_once(scene)
    scene.tell_queue()
    await look(scene)

    assert scene.status(WORKER_POOLS, NAME)["phase"] == "Idle"
