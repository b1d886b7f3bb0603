"""The operator on a cluster and a server in memory: apply, look, see what became of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from perdure.protocol.verbs import QueueDescription, VersionDescription, WorkerDescription
from perdure_operator.cluster import (
    ACTIVITIES,
    CONFIG_MAPS,
    JOBS,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    Manifest,
    ObjectKind,
    ObjectRef,
)
from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.keys import RUNS, Key
from perdure_operator.controllers.memories import LatestBodies, PoolBook, QueueBook, Roster
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.reconciler import PoolReconciler
from perdure_operator.controllers.reconciling import Reconciler
from perdure_operator.controllers.run_reconciling import (
    ActivityReconciler,
    WorkflowReconciler,
)
from perdure_operator.controllers.run_showing import RunShower
from perdure_operator.controllers.schedules.reconciler import ScheduleReconciler
from perdure_operator.controllers.world import World
from support.fake_cluster import FakeClock, FakeCluster
from support.fake_server import FakeServer

NAMESPACE = "shop"
DEFAULTS = WorkerDefaults(image="perdure-worker:test", server="http://perdure.test:7233")


def ref(name: str) -> ObjectRef:
    return ObjectRef(namespace=NAMESPACE, name=name)


def manifest(kind: ObjectKind, name: str, spec: dict[str, Any], **metadata: Any) -> Manifest:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": spec,
    }


def a_workflow(name: str = "order-42", **spec: Any) -> Manifest:
    """Return a Workflow on pool ``orders``, or with its own worker."""
    where = {} if "worker" in spec else {"workerPool": "orders"}
    return manifest(WORKFLOWS, name, {"type": "Order", **where, **spec})


def an_activity(name: str = "resize-1", **spec: Any) -> Manifest:
    """Return an Activity on pool ``orders``."""
    return manifest(ACTIVITIES, name, {"type": "resize", "workerPool": "orders", **spec})


def a_pool(name: str = "orders", **spec: Any) -> Manifest:
    """Return a WorkerPool with an image."""
    code = {} if "code" in spec else {"image": "shop/orders:1", "modules": ["orders"]}
    return manifest(WORKER_POOLS, name, {**code, **spec})


class Scene:
    """Everything there is, and the operator that looks at it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.server = FakeServer()
        self.notices: list[str] = []
        """The reasons of what was told as Kubernetes Events."""
        self.world = World(
            cluster=self.cluster,
            server=self.server,
            applier=Applier(
                self.cluster,
                self.server,
                notify=lambda _regarding, notice: self.notices.append(notice.reason),
            ),
            now=self.clock.now,
            latest=LatestBodies(),
            roster=Roster(),
            pools=PoolBook(),
            queues=QueueBook(),
        )
        self.reconcilers: dict[ObjectKind, Reconciler] = {
            WORKFLOWS: WorkflowReconciler(self.world),
            ACTIVITIES: ActivityReconciler(self.world, DEFAULTS),
            RUNS: RunShower(self.world),
            WORKER_POOLS: PoolReconciler(self.world, DEFAULTS),
            SCHEDULES: ScheduleReconciler(self.world),
        }

    # --- what users and others do ----------------------------------------------------------

    def apply(self, *manifests: Manifest) -> None:
        kinds = {kind.kind: kind for kind in (WORKFLOWS, ACTIVITIES, WORKER_POOLS, SCHEDULES)}
        for each in manifests:
            self.cluster.add(kinds[each["kind"]], each)

    def add_code(self, name: str, **files: str) -> None:
        """Put a ConfigMap there: ``orders="…"`` is the file ``orders.py``."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {f"{stem}.py": text for stem, text in files.items()},
        }
        self.cluster.add(CONFIG_MAPS, body)

    def tell_queue(
        self,
        backlog: int = 0,
        held: int = 0,
        workers: tuple[str, ...] = (),
        queue: str = "orders",
        versions: Mapping[str, VersionDescription] | None = None,
        pods: tuple[str, ...] = (),
    ) -> None:
        """Have the server tell of a task queue, with the versions that were declared for it.

        A worker is given by its version, and may be by its pod. All work is the current version's,
        unless ``versions`` says of one what there is of it.
        """
        declared = self.server.declared.get((NAMESPACE, queue))
        current, kept = (declared.build_id, declared.kept) if declared else ("", ())
        told = {current: VersionDescription(build_id=current, backlog=backlog, held=held)}
        told |= versions or {}
        description = QueueDescription(
            namespace=NAMESPACE,
            task_queue=queue,
            backlog=backlog,
            held=held,
            current=current,
            kept=kept,
            versions=tuple(
                told.get(each, VersionDescription(build_id=each))
                for each in ((current, *kept) if current else ())
            ),
            workers=tuple(
                WorkerDescription(worker_id=f"w{number}", identity=f"1@{pod}", build_id=version)
                for number, (version, pod) in enumerate(zip_longest(workers, pods, fillvalue=""))
            ),
        )
        self.world.queues.update([description])

    def pass_time(self, **time: float) -> None:
        self.clock.pass_(timedelta(**time))

    # --- looking ---------------------------------------------------------------------------

    async def look(self, kind: ObjectKind, name: str) -> Plan:
        """Have the operator look at an object, and again if it wants to soon."""
        key = Key(kind, ref(name))
        self._hear_of(key)
        plan = await self.reconcilers[kind].reconcile(key)
        if plan.look_soon is not None:
            plan = await self.reconcilers[kind].reconcile(key)
        assert plan.look_soon is None, f"{key} is never at rest: {plan}"
        return plan

    def _hear_of(self, key: Key) -> None:
        """Tell the operator how an object is by now, as its watch does, unless a test did."""
        body = self.cluster.objects.get((key.kind.plural, key.ref))
        if body is None:
            self.world.latest.forget(key)
        elif not self.world.latest.has_heard(key):
            self.world.latest.put(key, copy.deepcopy(body))

    def body(self, kind: ObjectKind, name: str) -> Manifest:
        return self.cluster.objects[kind.plural, ref(name)]

    def exists(self, kind: ObjectKind, name: str) -> bool:
        return (kind.plural, ref(name)) in self.cluster.objects

    def status(self, kind: ObjectKind, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.body(kind, name).get("status", {})
        return status

    def conditions(self, kind: ObjectKind, name: str) -> dict[str, tuple[str, str]]:
        """Return status and reason by type of condition."""
        return {
            each["type"]: (each["status"], each["reason"])
            for each in self.status(kind, name).get("conditions", ())
        }

    def message(self, kind: ObjectKind, name: str, type_: str) -> str:
        """Return what a condition says."""
        (condition,) = (c for c in self.status(kind, name)["conditions"] if c["type"] == type_)
        text: str = condition["message"]
        return text

    def jobs(self) -> list[str]:
        """Return the names of the Jobs, without the pool's name, sorted."""
        return sorted(body["metadata"]["name"] for body in self.cluster.all(JOBS))
