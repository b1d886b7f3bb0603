"""The port to the Kubernetes API: the fake that unit tests use does what the real one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from perdure_operator.cluster import (
    CONFIG_MAPS,
    JOBS,
    LEASES,
    WORKER_POOLS,
    WORKFLOWS,
    Cluster,
    ConflictError,
    InvalidError,
    Manifest,
    NotFoundError,
    ObjectKind,
    ObjectRef,
    UnavailableError,
)
from perdure_operator.cluster.api import KubernetesCluster, load_configuration
from perdure_operator.cluster.leases import (
    build_free,
    build_released,
    build_renewed,
    build_taken,
    read_lease,
)
from perdure_operator.cluster.limiter import RateLimiter
from perdure_operator.model import FINALIZER
from support.cluster import Cluster as RealCluster
from support.fake_cluster import FakeCluster
from support.operator_scene import a_pool, a_workflow

# The fake is tried beside the real one, which only its parameter asks for.
pytestmark = [pytest.mark.timeout(300), pytest.mark.cluster]

NAME = "order-42"


class Ground:
    """A cluster and a namespace of its own in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def ref(self, name: str = NAME) -> ObjectRef:
        return ObjectRef(namespace=self.namespace, name=name)

    def own(self, manifest: Manifest, **metadata: object) -> Manifest:
        moved = {**manifest["metadata"], "namespace": self.namespace, **metadata}
        return {**manifest, "metadata": moved}

    def bare(self, **metadata: object) -> Manifest:
        """Return no more of a Workflow than its name."""
        bare = {key: a_workflow()[key] for key in ("apiVersion", "kind", "metadata")}
        return self.own(bare, **metadata)

    async def release(self, uid: str, *, name: str = NAME, position: int = 0) -> Manifest:
        return await self.cluster.release(
            WORKFLOWS, self.ref(name), uid=uid, finalizer=FINALIZER, position=position
        )

    async def workflow(self) -> Manifest:
        return await self.cluster.create(WORKFLOWS, self.own(a_workflow()))


@pytest.fixture(params=["fake", "real"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    if request.param == "fake":
        yield Ground(FakeCluster(), "port")
        return
    real: RealCluster = request.getfixturevalue("cluster")
    configuration = await load_configuration(real.kubeconfig)
    limiter = RateLimiter(rate=100, burst=100)
    with real.namespace("port") as namespace:
        async with KubernetesCluster(configuration, limiter=limiter) as cluster:
            yield Ground(cluster, namespace)


async def test_what_is_not_there_is_none(ground: Ground) -> None:
    assert await ground.cluster.get(WORKFLOWS, ground.ref()) is None
    assert await ground.cluster.list(JOBS, ground.namespace, labels={"a": "b"}) == []


async def test_a_name_is_taken_once(ground: Ground) -> None:
    made = await ground.workflow()
    with pytest.raises(ConflictError):
        await ground.workflow()

    found = await ground.cluster.get(WORKFLOWS, ground.ref())
    assert found is not None
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["generation"] == 1


async def test_of_two_who_take_a_lease_at_once_one_is_refused(ground: Ground) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    free = read_lease(await ground.cluster.create(LEASES, build_free(ground.ref())))
    assert (free.holder, free.term) == ("", 0)

    first = read_lease(await ground.cluster.apply(LEASES, build_taken(free, "a", 10, now)))
    with pytest.raises(ConflictError):
        await ground.cluster.apply(LEASES, build_taken(free, "b", 10, now))
    assert (first.holder, first.term, first.seconds) == ("a", 1, 10)

    renewed = read_lease(await ground.cluster.apply(LEASES, build_renewed(first, now)))
    assert (renewed.token, renewed.acquired) == (first.token, first.acquired)
    later = now + timedelta(seconds=1)
    released = read_lease(await ground.cluster.apply(LEASES, build_released(renewed, later)))
    assert (released.holder, released.term) == ("", 1)


async def test_a_lease_that_is_gone_is_made_anew_by_its_holder(ground: Ground) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    body = await ground.cluster.create(LEASES, build_free(ground.ref()))
    taken = build_taken(read_lease(body), "a", 9, now)
    lease = read_lease(await ground.cluster.apply(LEASES, taken))
    await ground.cluster.delete(LEASES, ground.ref(), uid=body["metadata"]["uid"])
    again = read_lease(await ground.cluster.apply(LEASES, build_renewed(lease, now)))
    assert (again.holder, again.term) == ("a", 1)
    assert not again.token.is_older_than(lease.token)


async def test_objects_are_found_by_all_of_their_labels(ground: Ground) -> None:
    both = ground.own(a_pool("both"), labels={"a": "1", "b": "2"})
    one = ground.own(a_pool("one"), labels={"a": "1"})
    for each in (both, one):
        await ground.cluster.create(WORKER_POOLS, each)

    async def names(**labels: str) -> set[str]:
        found = await ground.cluster.list(WORKER_POOLS, ground.namespace, labels=labels)
        return {body["metadata"]["name"] for body in found}

    assert await names(a="1") == {"both", "one"}
    assert await names(a="1", b="2") == {"both"}
    assert await names(a="2") == set()


async def test_applying_makes_an_object_and_applying_it_again_changes_nothing(
    ground: Ground,
) -> None:
    pool = ground.own(a_pool())
    made = await ground.cluster.apply(WORKER_POOLS, pool)
    # An API server stores what it shows for a status that nobody wrote, once.
    first = await ground.cluster.apply(WORKER_POOLS, pool)
    second = await ground.cluster.apply(WORKER_POOLS, pool)

    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert first["spec"] == made["spec"]
    assert first["metadata"]["generation"] == made["metadata"]["generation"]


async def test_a_finalizer_is_set_and_taken_back_and_nothing_else_changes(ground: Ground) -> None:
    made = await ground.workflow()
    uid = made["metadata"]["uid"]
    with_it = await ground.cluster.apply(WORKFLOWS, ground.bare(uid=uid, finalizers=[FINALIZER]))
    assert with_it["metadata"]["finalizers"] == [FINALIZER]
    assert with_it["spec"] == made["spec"]
    assert with_it["metadata"]["generation"] == 1

    without = await ground.release(uid)
    assert "finalizers" not in without["metadata"]
    assert without["spec"] == made["spec"]


async def test_a_finalizer_that_came_with_the_manifest_is_taken_off_as_well(ground: Ground) -> None:
    finalizers = ["example.com/theirs", FINALIZER]
    manifest = ground.own(a_workflow(), finalizers=finalizers)
    uid = (await ground.cluster.create(WORKFLOWS, manifest))["metadata"]["uid"]
    await ground.cluster.apply(WORKFLOWS, ground.bare(uid=uid, finalizers=[FINALIZER]))

    without = await ground.release(uid, position=1)
    assert without["metadata"]["finalizers"] == ["example.com/theirs"]


async def test_a_finalizer_is_not_taken_off_what_is_not_as_it_was(ground: Ground) -> None:
    manifest = ground.own(a_workflow(), finalizers=["example.com/theirs", FINALIZER])
    uid = (await ground.cluster.create(WORKFLOWS, manifest))["metadata"]["uid"]

    for other, position in [(uid, 0), (uid, 2), ("00000000-0000-0000-0000-000000000000", 1)]:
        with pytest.raises(ConflictError):
            await ground.release(other, position=position)
    with pytest.raises(NotFoundError):
        await ground.release(uid, name="another")


async def test_applying_to_another_object_of_that_name_is_refused(ground: Ground) -> None:
    with pytest.raises(ConflictError):
        await ground.cluster.apply(WORKFLOWS, ground.bare(uid="not-there"))

    await ground.workflow()
    with pytest.raises(InvalidError):
        await ground.cluster.apply(WORKFLOWS, ground.bare(uid="another"))


async def test_a_status_is_replaced_and_the_same_again_changes_nothing(ground: Ground) -> None:
    await ground.workflow()
    result = {"a": None, "b": [1, None]}
    status = {"observedGeneration": 1, "phase": "Running", "result": result}
    first = await ground.cluster.apply_status(WORKFLOWS, {**ground.bare(), "status": status})
    assert first["status"] == status

    again = await ground.cluster.apply_status(WORKFLOWS, {**ground.bare(), "status": status})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    shorter = {"observedGeneration": 1, "phase": "Succeeded"}
    last = await ground.cluster.apply_status(WORKFLOWS, {**ground.bare(), "status": shorter})
    assert last["status"] == shorter


async def test_a_status_of_an_older_version_is_refused(ground: Ground) -> None:
    made = await ground.workflow()
    version = made["metadata"]["resourceVersion"]
    await ground.cluster.apply_status(WORKFLOWS, {**ground.bare(), "status": {"phase": "Running"}})
    late = {**ground.bare(resourceVersion=version), "status": {"phase": "Pending"}}
    with pytest.raises(ConflictError):
        await ground.cluster.apply_status(WORKFLOWS, late)


async def test_a_status_makes_no_object(ground: Ground) -> None:
    with pytest.raises(NotFoundError):
        await ground.cluster.apply_status(WORKFLOWS, {**ground.bare(), "status": {}})


async def test_only_this_very_object_is_deleted(ground: Ground) -> None:
    made = await ground.workflow()
    with pytest.raises(ConflictError):
        await ground.cluster.delete(WORKFLOWS, ground.ref(), uid="another")

    for _ in range(2):
        await ground.cluster.delete(WORKFLOWS, ground.ref(), uid=made["metadata"]["uid"])
    assert await ground.cluster.get(WORKFLOWS, ground.ref()) is None


async def test_an_object_with_a_finalizer_goes_when_that_is_taken_back(ground: Ground) -> None:
    uid = (await ground.workflow())["metadata"]["uid"]
    await ground.cluster.apply(WORKFLOWS, ground.bare(uid=uid, finalizers=[FINALIZER]))
    await ground.cluster.delete(WORKFLOWS, ground.ref(), uid=uid)
    found = await ground.cluster.get(WORKFLOWS, ground.ref())
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]

    await ground.release(uid)
    assert await ground.cluster.get(WORKFLOWS, ground.ref()) is None


async def test_every_kind_is_served_where_it_is_thought_to_be(cluster: RealCluster) -> None:
    calls: list[tuple[str, str, int, float]] = []
    limiter = RateLimiter(rate=100, burst=100)
    configuration = await load_configuration(cluster.kubeconfig)
    async with KubernetesCluster(
        configuration, limiter=limiter, observe=lambda *call: calls.append(call)
    ) as port:
        kinds: list[ObjectKind] = [WORKFLOWS, WORKER_POOLS, JOBS, CONFIG_MAPS]
        for kind in kinds:
            await port.list(kind, "default", labels={"no": "such"})
        assert {"workflows", "activities"} <= await port.serves("perdure.dev", "v1alpha1")
        assert await port.serves("nobody.dev", "v1") == frozenset()

    assert calls[0][:3] == ("list", "workflows", 200)
    assert calls[-1][:3] == ("discover", "", 404)
    assert all(seconds > 0 for *_, seconds in calls)


async def test_an_api_server_that_cannot_be_reached_is_unavailable(cluster: RealCluster) -> None:
    configuration = await load_configuration(cluster.kubeconfig)
    configuration.host = "https://127.0.0.1:1"
    async with KubernetesCluster(configuration, limiter=RateLimiter(rate=100, burst=100)) as port:
        with pytest.raises(UnavailableError, match="was not reached"):
            await port.get(WORKFLOWS, ObjectRef(namespace="default", name="x"))
