"""Workers that cannot reach the server any more, because it became another one to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from perdure.protocol.queues import QueueDescription, WorkerDescription
from perdure.protocol.verbs import VersionDescription
from perdure_operator.cluster import JOBS, WORKER_POOLS
from perdure_operator.controllers.pools.access import Access, WorkerDefaults, read_access
from perdure_operator.controllers.pools.jobs import read_job
from perdure_operator.controllers.pools.reconciler import PoolReconciler
from support.operator_scene import DEFAULTS, NAMESPACE, Scene, a_pool, ref

NAME = "orders"
SECURED = replace(
    DEFAULTS, server="https://perdure.test:7233", audience="perdure", authority="one\n"
)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def look(scene: Scene) -> None:
    assert not (await scene.look(WORKER_POOLS, NAME)).blocked


def restart(scene: Scene, defaults: WorkerDefaults) -> None:
    """Have the operator be one that was started with these."""
    scene.reconcilers[WORKER_POOLS] = PoolReconciler(scene.world, defaults)


async def begin(scene: Scene, defaults: WorkerDefaults = DEFAULTS, **scaling: int) -> str:
    """Have a worker that runs, and return its version."""
    restart(scene, defaults)
    scene.apply(a_pool(**({"scaling": scaling} if scaling else {})))
    scene.tell_queue()
    await look(scene)
    scene.tell_queue(backlog=1)
    await look(scene)
    (name,) = scene.jobs()
    scene.cluster.run_job(ref(name))
    return str(scene.status(WORKER_POOLS, NAME)["version"])


def accesses(scene: Scene) -> set[Access]:
    return {read_job(body).access for body in scene.cluster.all(JOBS)}


def access(defaults: WorkerDefaults) -> Access:
    return Access(server=defaults.server, audience=defaults.audience, authority=defaults.authority)


def tell_connected(scene: Scene, names: Sequence[str], version: str) -> None:
    """Have the server tell of workers with work, by the names of their pods."""
    workers = tuple(
        WorkerDescription(worker_id=each, identity=f"7@{each}-x2x5t", build_id=version)
        for each in names
    )
    told = VersionDescription(build_id=version, held=1, open_runs=1)
    description = QueueDescription(
        namespace=NAMESPACE, task_queue=NAME, backlog=0, held=1, current=version,
        versions=(told,), workers=workers,
    )  # fmt: skip
    scene.world.queues.update([description])


async def test_old_runs_get_workers_that_reach_a_server_that_was_secured(scene: Scene) -> None:
    old = await begin(scene)
    restart(scene, SECURED)
    await look(scene)
    busy = {old: VersionDescription(build_id=old, backlog=1, open_runs=1)}
    scene.tell_queue(versions=busy)
    await look(scene)

    assert scene.status(WORKER_POOLS, NAME)["version"] != old
    (name,) = scene.jobs()
    assert name.startswith(f"orders-{old}-"), "of the version that the run is pinned to"
    assert accesses(scene) == {access(SECURED)}


async def test_a_worker_that_never_leaves_is_replaced_when_the_authority_is_another(
    scene: Scene,
) -> None:
    version = await begin(scene, SECURED, min=1)
    restart(scene, replace(SECURED, authority="another\n"))
    scene.tell_queue()
    await look(scene)
    await look(scene)

    assert scene.status(WORKER_POOLS, NAME)["version"] == version
    assert accesses(scene) == {access(replace(SECURED, authority="another\n"))}
    assert len(scene.jobs()) == 1


async def test_a_worker_that_is_connected_with_the_authority_of_before_goes_on(
    scene: Scene,
) -> None:
    version = await begin(scene, SECURED)
    names = scene.jobs()
    restart(scene, replace(SECURED, authority="one\nanother\n"))
    tell_connected(scene, names, version)
    await look(scene)
    assert scene.jobs() == names
    assert accesses(scene) == {access(SECURED)}

    tell_connected(scene, [], version)
    await look(scene)
    assert accesses(scene) == {access(replace(SECURED, authority="one\nanother\n"))}


async def test_a_worker_of_another_job_is_not_taken_for_this_ones(scene: Scene) -> None:
    version = await begin(scene, SECURED)
    (name,) = scene.jobs()
    restart(scene, replace(SECURED, authority="another\n"))
    tell_connected(scene, [f"{name}1"], version)
    await look(scene)
    assert access(SECURED) not in accesses(scene)


@pytest.mark.parametrize("defaults", [DEFAULTS, SECURED], ids=["open", "secured"])
async def test_as_long_as_nothing_changes_no_worker_is_replaced(
    scene: Scene, defaults: WorkerDefaults
) -> None:
    template = {"spec": {"containers": [{"name": "worker", "args": ["--address", "proxy:1"]}]}}
    restart(scene, defaults)
    scene.apply(a_pool(template=template))
    scene.tell_queue()
    await look(scene)
    scene.tell_queue(backlog=1)
    await look(scene)
    before = scene.cluster.all(JOBS)
    for _ in range(3):
        restart(scene, defaults)
        await look(scene)
    assert [each["metadata"]["uid"] for each in scene.cluster.all(JOBS)] == [
        each["metadata"]["uid"] for each in before
    ]
    assert len(before) == 1


def test_a_pod_of_somebody_elses_gives_nothing() -> None:
    assert read_access({}) == Access()
    assert read_access({"spec": {"containers": [{"name": "main"}]}}) == Access()
