"""A WorkerPool's versions: what is written down, declared, kept for old runs, and forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.protocol.verbs import SetCurrentVersionRequest, VersionDescription
from perdure_operator.cluster import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    WORKER_POOLS,
    ForbiddenError,
    ObjectKind,
)
from perdure_operator.controllers.pools.reconciler import PoolReconciler
from perdure_operator.model import WorkerPool
from support.operator_scene import DEFAULTS, NAMESPACE, Scene, a_pool, ref

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


def jobs(scene: Scene, version: str) -> list[str]:
    return [name for name in scene.jobs() if name.startswith(f"{NAME}-{version}-")]


def revisions(scene: Scene) -> set[str]:
    return {
        body["metadata"]["labels"]["perdure.dev/version"]
        for body in scene.cluster.all(CONTROLLER_REVISIONS)
    }


def copies(scene: Scene) -> dict[str, dict[str, str]]:
    return {
        body["metadata"]["name"]: body["data"]
        for body in scene.cluster.all(CONFIG_MAPS)
        if body.get("immutable")
    }


def declared(scene: Scene) -> SetCurrentVersionRequest:
    return scene.server.declared[NAMESPACE, NAME]


def pinned(version: str, **numbers: int) -> dict[str, VersionDescription]:
    return {version: VersionDescription(build_id=version, **numbers)}


async def edit(scene: Scene, **spec: Any) -> str:
    """Change the pool, and return its new version."""
    scene.cluster.edit(WORKER_POOLS, ref(NAME), **spec)
    await look(scene)
    return version(scene)


async def begin(scene: Scene, **spec: Any) -> str:
    """Have a pool that works, and return its version."""
    scene.apply(a_pool(**spec))
    scene.tell_queue(backlog=1)
    await look(scene)
    return version(scene)


# --- written down and declared ------------------------------------------------------------------


async def test_a_version_is_written_down_and_declared_before_a_worker_is_made(
    scene: Scene,
) -> None:
    first = await begin(scene)

    made = [each for each in scene.cluster.writes if not each.startswith("add")]
    assert made[0].startswith("create controllerrevisions")
    assert made[1].startswith("create jobs")
    assert (declared(scene).build_id, declared(scene).kept) == (first, ())
    assert revisions(scene) == {first}
    (revision,) = scene.cluster.all(CONTROLLER_REVISIONS)
    assert revision["metadata"]["ownerReferences"][0]["kind"] == "WorkerPool"
    assert revision["data"]["spec"]["image"] == "shop/orders:1"


async def test_no_worker_is_made_of_a_version_that_cannot_be_written_down(scene: Scene) -> None:
    error = ForbiddenError("create controllerrevisions", "exceeded quota")
    scene.cluster.fail_with["create controllerrevisions"] = error
    await begin(scene)

    assert scene.jobs() == []
    assert "ControllerRevision" in scene.message(WORKER_POOLS, NAME, "Stalled")


async def test_no_worker_is_made_of_a_version_that_the_server_was_not_told(scene: Scene) -> None:
    scene.server.is_away = True
    scene.apply(a_pool())
    scene.tell_queue(backlog=1)
    assert (await scene.look(WORKER_POOLS, NAME)).blocked
    assert scene.jobs() == []

    scene.server.is_away = False
    scene.tell_queue(backlog=1)
    await look(scene)
    assert len(scene.jobs()) == 1


async def test_what_is_declared_is_not_declared_again(scene: Scene) -> None:
    await begin(scene)
    scene.tell_queue(backlog=1)
    before = len(scene.server.asked(SetCurrentVersionRequest))
    for _ in range(3):
        await look(scene)
    assert len(scene.server.asked(SetCurrentVersionRequest)) == before


async def test_a_server_that_has_forgotten_is_told_again(scene: Scene) -> None:
    old = await begin(scene)
    new = await edit(scene, image="shop/orders:2")
    scene.server.declared.clear()
    scene.tell_queue()
    await look(scene)
    assert (declared(scene).build_id, declared(scene).kept) == (new, (old,))


# --- old runs and new ---------------------------------------------------------------------------


async def test_old_runs_get_workers_of_their_version_and_new_ones_of_the_new(scene: Scene) -> None:
    old = await begin(scene)
    scene.cluster.run_job(ref(jobs(scene, old)[0]))
    new = await edit(scene, image="shop/orders:2", slots=7)
    assert (declared(scene).build_id, declared(scene).kept) == (new, (old,))

    scene.cluster.end_job(ref(jobs(scene, old)[0]), succeeded=True)
    scene.tell_queue(backlog=1, versions=pinned(old, open_runs=3))
    await look(scene)
    assert (len(jobs(scene, new)), len(jobs(scene, old))) == (1, 0), "old runs only wait"

    scene.tell_queue(backlog=1, versions=pinned(old, open_runs=3, backlog=101))
    await look(scene)
    assert (len(jobs(scene, new)), len(jobs(scene, old))) == (1, 2)
    body = scene.cluster.objects["jobs", ref(jobs(scene, old)[0])]
    worker = body["spec"]["template"]["spec"]["containers"][0]
    assert worker["image"] == "shop/orders:1"
    assert worker["args"][-2:] == ["--build-id", old]
    assert worker["args"][worker["args"].index("--slots") + 1] == "100"
    assert scene.status(WORKER_POOLS, NAME)["versions"] == [
        {"hash": new, "current": True, "workers": 0, "backlog": 1, "openRuns": 0},
        {"hash": old, "current": False, "workers": 0, "backlog": 101, "openRuns": 3},
    ]


async def test_old_versions_keep_within_the_bounds_each(scene: Scene) -> None:
    old = await begin(scene, slots=1, scaling={"max": 2})
    await edit(scene, image="shop/orders:2")
    scene.tell_queue(backlog=9, versions=pinned(old, open_runs=9, backlog=9))
    await look(scene)
    assert len(jobs(scene, old)) == 2
    assert len(jobs(scene, version(scene))) == 2


@pytest.mark.parametrize("needs", ["open_runs", "backlog", "held"])
async def test_a_version_that_is_needed_is_kept(scene: Scene, needs: str) -> None:
    old = await begin(scene)
    new = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, **{needs: 1}))
    await look(scene)
    assert declared(scene).kept == (old,)
    assert revisions(scene) == {old, new}


async def test_a_drained_version_is_forgotten_before_its_objects_go(scene: Scene) -> None:
    scene.add_code("orders-code", orders="version = 1")
    old = await begin(scene, code={"configMap": "orders-code"})
    scene.cluster.run_job(ref(jobs(scene, old)[0]))
    scene.cluster.objects["configmaps", ref("orders-code")]["data"]["orders.py"] = "version = 2"
    await look(scene)
    new = version(scene)
    scene.tell_queue(held=1)

    scene.server.is_away = True
    plan = await scene.look(WORKER_POOLS, NAME)
    assert "could not be told of versions" in plan.blocked
    assert revisions(scene) == {old, new}
    assert jobs(scene, old)

    scene.server.is_away = False
    await look(scene)
    assert declared(scene).kept == ()
    assert revisions(scene) == {new}
    assert set(copies(scene)) == {f"{NAME}-{new}"}
    assert not jobs(scene, old)
    assert [each["hash"] for each in scene.status(WORKER_POOLS, NAME)["versions"]] == [new]


async def test_roll_back_is_the_old_spec_again(scene: Scene) -> None:
    old = await begin(scene)
    new = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, open_runs=2))
    await look(scene)
    back = await edit(scene, image="shop/orders:1")

    assert back == old
    assert (declared(scene).build_id, declared(scene).kept) == (old, (new,))
    scene.tell_queue(versions=pinned(new, open_runs=1, backlog=1))
    await look(scene)
    assert jobs(scene, new), "what has begun on the new version meanwhile goes on there"


async def test_three_versions_at_once_are_kept_newest_first(scene: Scene) -> None:
    first = await begin(scene)
    second = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(first, open_runs=1))
    third = await edit(scene, image="shop/orders:3")
    assert (declared(scene).build_id, declared(scene).kept) == (third, (second, first))


async def test_with_auto_upgrade_no_older_version_is_kept(scene: Scene) -> None:
    old = await begin(scene, versioning="AutoUpgrade")
    scene.cluster.run_job(ref(jobs(scene, old)[0]))
    new = await edit(scene, image="shop/orders:2")
    assert (declared(scene).build_id, declared(scene).kept) == (new, ())
    assert revisions(scene) == {new}
    assert not jobs(scene, old), "the server sends nothing to it any more"


async def test_two_pools_on_one_task_queue_have_no_versions(scene: Scene) -> None:
    first = await begin(scene)
    scene.cluster.run_job(ref(jobs(scene, first)[0]))
    for name in (NAME, "second"):
        pool = WorkerPool.from_manifest(a_pool(name, taskQueue=NAME))
        scene.world.pools.put(ref(name), pool)
    scene.tell_queue(backlog=1, workers=(first,))
    await look(scene)
    assert declared(scene).build_id == ""

    scene.tell_queue(backlog=1, workers=(first,))
    second = await edit(scene, image="shop/orders:2")
    assert (len(jobs(scene, first)), len(jobs(scene, second))) == (1, 1)
    scene.tell_queue(backlog=1, workers=(first, second))
    await look(scene)
    assert not jobs(scene, first), "it served until there was a successor"


async def test_a_version_that_was_never_written_down_is_left_to_the_current_one(
    scene: Scene,
) -> None:
    """Runs that began under an older operator, or whose revision somebody deleted."""
    old = await begin(scene)
    for body in scene.cluster.all(CONTROLLER_REVISIONS):
        scene.cluster.ask_to_delete(CONTROLLER_REVISIONS, ref(body["metadata"]["name"]))
    new = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, open_runs=3))
    await look(scene)
    assert (declared(scene).build_id, declared(scene).kept) == (new, ())


async def test_after_the_store_was_lost_old_versions_are_kept_until_runs_can_be_rebuilt(
    scene: Scene,
) -> None:
    old = await begin(scene)
    new = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, open_runs=3))
    await look(scene)
    scene.server.declared.clear()
    scene.tell_queue()
    await look(scene)
    scene.tell_queue()
    for name in scene.jobs():
        scene.cluster.run_job(ref(name))
    again = await look(scene)
    assert again == timedelta(minutes=10)
    assert (declared(scene).build_id, declared(scene).kept) == (new, (old,))
    assert revisions(scene) == {old, new}

    scene.pass_time(minutes=10)
    await look(scene)
    assert revisions(scene) == {new}, "nobody came back for it"


async def test_a_new_operator_that_finds_the_store_lost_keeps_old_versions_as_well(
    scene: Scene,
) -> None:
    old = await begin(scene)
    new = await edit(scene, image="shop/orders:2")
    scene.server.declared.clear()
    scene.tell_queue()
    scene.reconcilers[WORKER_POOLS] = PoolReconciler(scene.world, DEFAULTS)
    await look(scene)
    scene.tell_queue()
    await look(scene)
    assert revisions(scene) == {old, new}


async def test_a_version_that_cannot_be_read_any_more_is_left_to_the_current_one(
    scene: Scene,
) -> None:
    old = await begin(scene)
    (revision,) = scene.cluster.all(CONTROLLER_REVISIONS)
    revision["data"] = {"spec": {"slots": "many"}}
    new = await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, open_runs=3, backlog=1))
    await look(scene)
    assert (declared(scene).build_id, declared(scene).kept) == (new, ())


# --- workers that fail, by version --------------------------------------------------------------


async def test_an_old_version_that_cannot_start_is_said_and_waits_longer_each_time(
    scene: Scene,
) -> None:
    old = await begin(scene)
    await edit(scene, image="shop/orders:2")
    scene.tell_queue(versions=pinned(old, open_runs=1, backlog=1))
    await look(scene)
    before = jobs(scene, old)
    scene.cluster.end_job(ref(before[-1]), succeeded=False, lifetime=timedelta(seconds=2))
    again = await look(scene)

    assert again == timedelta(seconds=1)
    assert jobs(scene, old) == before
    message = scene.message(WORKER_POOLS, NAME, "WorkersReady")
    assert f"version {old}, which open runs are pinned to" in message


# --- code from a ConfigMap ----------------------------------------------------------------------


async def test_each_version_reads_its_own_copy_of_the_code(scene: Scene) -> None:
    scene.add_code("orders-code", orders="version = 1")
    old = await begin(scene, code={"configMap": "orders-code"})
    scene.cluster.objects["configmaps", ref("orders-code")]["data"]["orders.py"] = "version = 2"
    await look(scene)
    new = version(scene)
    scene.tell_queue(backlog=1, versions=pinned(old, open_runs=1, backlog=1))
    await look(scene)

    assert copies(scene) == {
        f"{NAME}-{old}": {"orders.py": "version = 1"},
        f"{NAME}-{new}": {"orders.py": "version = 2"},
    }
    for each in (old, new):
        body = scene.cluster.objects["jobs", ref(jobs(scene, each)[0])]
        volumes = body["spec"]["template"]["spec"]["volumes"]
        assert {"name": "code", "configMap": {"name": f"{NAME}-{each}"}} in volumes
        args = body["spec"]["template"]["spec"]["containers"][0]["args"]
        assert args[0] == "orders"


async def test_runs_go_on_with_the_copies_when_the_configmap_is_gone(scene: Scene) -> None:
    scene.add_code("orders-code", orders="version = 1")
    only = await begin(scene, code={"configMap": "orders-code"})
    scene.cluster.end_job(ref(jobs(scene, only)[0]), succeeded=True)
    scene.tell_queue()
    await look(scene)
    scene.cluster.ask_to_delete(CONFIG_MAPS, ref("orders-code"))
    scene.tell_queue(backlog=1)
    await look(scene)
    assert len(jobs(scene, only)) == 1
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "CodeNotFound")
    assert revisions(scene) == {only}


async def test_a_lost_copy_of_the_current_code_is_made_again(scene: Scene) -> None:
    scene.add_code("orders-code", orders="version = 1")
    only = await begin(scene, code={"configMap": "orders-code"})
    scene.cluster.ask_to_delete(CONFIG_MAPS, ref(f"{NAME}-{only}"))
    await look(scene)
    assert set(copies(scene)) == {f"{NAME}-{only}"}


async def test_what_an_earlier_pool_of_the_name_left_is_waited_for(scene: Scene) -> None:
    only = await begin(scene)
    (revision,) = scene.cluster.all(CONTROLLER_REVISIONS)
    revision["metadata"]["ownerReferences"][0]["uid"] = "another"
    for name in scene.jobs():
        scene.cluster.ask_to_delete(JOBS, ref(name))
    again = await look(scene)
    assert again == timedelta(seconds=5)
    assert jobs(scene, only) == []


# --- names that are taken ----------------------------------------------------------------------


def leave_behind(scene: Scene, *kinds: ObjectKind) -> None:
    """Have the pool be a new one, and what it owned of these kinds be left without an owner."""
    for (plural, _), body in list(scene.cluster.objects.items()):
        if plural in {each.plural for each in kinds}:
            body["metadata"]["ownerReferences"] = []
    scene.cluster.ask_to_delete(WORKER_POOLS, ref(NAME))
    scene.apply(a_pool(scaling={"min": 1}))
    scene.tell_queue()


async def test_a_job_of_somebody_elses_is_passed_over(scene: Scene) -> None:
    scene.apply(a_pool(scaling={"min": 1}))
    scene.tell_queue()
    await look(scene)
    (foreign,) = scene.jobs()
    leave_behind(scene, JOBS)
    await look(scene)
    assert len(scene.jobs()) == 2
    status = scene.status(WORKER_POOLS, NAME)
    assert (status["phase"], status["activeJobs"]) == ("Starting", 1)
    assert scene.exists(JOBS, foreign)


async def test_a_record_of_somebody_elses_is_said_when_it_does_not_go(scene: Scene) -> None:
    scene.apply(a_pool(scaling={"min": 1}))
    scene.tell_queue()
    await look(scene)
    leave_behind(scene, CONTROLLER_REVISIONS)
    await look(scene)
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME), "it may be gone in a moment"

    scene.pass_time(seconds=30)
    await look(scene)
    assert scene.conditions(WORKER_POOLS, NAME)["Stalled"] == ("True", "NameTaken")
    message = scene.message(WORKER_POOLS, NAME, "Stalled")
    (revision,) = scene.cluster.all(CONTROLLER_REVISIONS)
    name = revision["metadata"]["name"]
    assert message.endswith(f"kubectl delete controllerrevision {name} -n shop")

    scene.cluster.ask_to_delete(CONTROLLER_REVISIONS, ref(name))
    await look(scene)
    assert "Stalled" not in scene.conditions(WORKER_POOLS, NAME)
    assert len(scene.jobs()) == 1
