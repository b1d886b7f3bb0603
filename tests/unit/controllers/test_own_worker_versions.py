"""Which version of a pool's code runs in the pod of a single activity."""

from __future__ import annotations

import pytest

from perdure.protocol.placements import Placement
from perdure_operator.cluster import (
    ACTIVITIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    JOBS,
    WORKER_POOLS,
    WORKFLOWS,
    ForbiddenError,
    Manifest,
)
from perdure_operator.model import WorkerPool
from support.operator_scene import NAMESPACE, Scene, a_pool, a_workflow, ref

ORDER = "order-42"
POOL = "orders"
OWN_POD = Placement(template={"nodeSelector": {"gpu": "yes"}})


@pytest.fixture
async def scene() -> Scene:
    """Return a scene whose pool has code in a ConfigMap, and a run of the pool."""
    scene = Scene()
    scene.add_code("code", orders="VERSION = 1")
    scene.apply(a_pool(code={"configMap": "code"}))
    await look_at_pool(scene)
    scene.apply(a_workflow(ORDER))
    await scene.look(WORKFLOWS, ORDER)
    return scene


async def look_at_pool(scene: Scene) -> str:
    """Have the operator look at the pool, and return its version."""
    scene.tell_queue(backlog=1)
    pool = WorkerPool.from_manifest(scene.body(WORKER_POOLS, POOL))
    scene.world.pools.put(ref(POOL), pool)
    await scene.look(WORKER_POOLS, POOL)
    version: str = scene.status(WORKER_POOLS, POOL)["version"]
    return version


async def change_code(scene: Scene, text: str) -> str:
    scene.cluster.objects["configmaps", ref("code")]["data"] = {"orders.py": text}
    return await look_at_pool(scene)


async def place(scene: Scene, attempt: int = 1) -> Manifest:
    """Have the run schedule an activity in its own pod, and return that pod's template."""
    run = scene.server.run
    run.place(OWN_POD)
    run.change_activity(attempt=attempt)
    await scene.look(WORKFLOWS, ORDER)
    (shown,) = scene.cluster.all(ACTIVITIES)
    await scene.look(ACTIVITIES, shown["metadata"]["name"])
    (job,) = (each for each in scene.cluster.all(JOBS) if is_owned_by(each, shown))
    pod: Manifest = job["spec"]["template"]
    return pod


def is_owned_by(job: Manifest, owner: Manifest) -> bool:
    owners = job["metadata"].get("ownerReferences", ())
    return any(each["uid"] == owner["metadata"]["uid"] for each in owners)


def code_of(pod: Manifest) -> str:
    """Return the ConfigMap that the pod has its code from."""
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "code")
    name: str = volume["configMap"]["name"]
    return name


def build_id(pod: Manifest) -> str:
    args = pod["spec"]["containers"][0]["args"]
    text: str = args[args.index("--build-id") + 1]
    return text


async def test_it_is_the_version_that_the_run_is_pinned_to(scene: Scene) -> None:
    first: str = scene.status(WORKER_POOLS, POOL)["version"]
    scene.server.run.build_id = first
    second = await change_code(scene, "VERSION = 2")
    pod = await place(scene)

    assert second != first
    assert (code_of(pod), build_id(pod)) == (f"{POOL}-{first}", first)
    assert scene.cluster.objects["configmaps", ref(f"{POOL}-{first}")]["data"] == {
        "orders.py": "VERSION = 1"
    }
    assert pod["spec"]["nodeSelector"] == {"gpu": "yes"}, "the activity's own wishes count"
    assert "--once" in pod["spec"]["containers"][0]["args"]


async def test_its_code_is_read_once_and_not_at_every_look(scene: Scene) -> None:
    scene.server.run.build_id = scene.status(WORKER_POOLS, POOL)["version"]
    await place(scene)
    scene.cluster.fail_with["list controllerrevisions"] = ForbiddenError("list", "no")
    scene.cluster.fail_with["get configmaps"] = ForbiddenError("get", "no")
    (shown,) = scene.cluster.all(ACTIVITIES)

    await scene.look(ACTIVITIES, shown["metadata"]["name"])
    assert scene.status(ACTIVITIES, shown["metadata"]["name"])["phase"] == "Pending"


async def test_every_second_attempt_is_the_current_versions(scene: Scene) -> None:
    scene.server.run.build_id = scene.status(WORKER_POOLS, POOL)["version"]
    second = await change_code(scene, "VERSION = 2")
    pod = await place(scene, attempt=2)

    assert (code_of(pod), build_id(pod)) == (f"{POOL}-{second}", second)


async def test_a_version_that_is_gone_gives_way_to_the_current_one(scene: Scene) -> None:
    scene.server.run.build_id = scene.status(WORKER_POOLS, POOL)["version"]
    second = await change_code(scene, "VERSION = 2")
    for kind in (CONTROLLER_REVISIONS, CONFIG_MAPS):
        scene.cluster.objects.pop((kind.plural, ref(f"{POOL}-{scene.server.run.build_id}")), None)
    pod = await place(scene)

    assert build_id(pod) == second


async def test_a_run_that_is_pinned_to_nothing_has_the_current_version(scene: Scene) -> None:
    second = await change_code(scene, "VERSION = 2")

    assert build_id(await place(scene)) == second


async def test_binary_files_of_the_code_are_part_of_its_version() -> None:
    scene = Scene()
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code", "namespace": NAMESPACE},
        "data": {"orders.py": "VERSION = 1"},
        "binaryData": {"model.bin": "AAEC"},
    }
    scene.cluster.add(CONFIG_MAPS, body)
    scene.apply(a_pool(code={"configMap": "code"}), a_workflow(ORDER))
    version = await look_at_pool(scene)
    await scene.look(WORKFLOWS, ORDER)
    pod = await place(scene)

    assert build_id(pod) == version
    assert ("configmaps", ref(code_of(pod))) in scene.cluster.objects, "else it waits for ever"
