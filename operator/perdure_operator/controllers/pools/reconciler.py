"""Looking at one WorkerPool: what is asked of whom, for the plan to be made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pydantic import ValidationError

from perdure_operator.cluster import JOBS, PODS, WORKER_POOLS, Manifest, ObjectRef
from perdure_operator.controllers.actions import NameTaken, Outcome, Plan
from perdure_operator.controllers.invalid import set_aside
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.holding import Holds
from perdure_operator.controllers.pools.jobs import JobFacts, JobState, read_job
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.planning import plan_pool
from perdure_operator.controllers.pools.podless import find_podless
from perdure_operator.controllers.pools.pods import PodFacts, missing_pod, read_pod
from perdure_operator.controllers.pools.reading import is_owned, read_code, read_revisions
from perdure_operator.controllers.pools.silence import Silences
from perdure_operator.controllers.pools.templates import POOL_LABEL
from perdure_operator.controllers.reconciling import converge
from perdure_operator.controllers.world import World
from perdure_operator.model import WorkerPool


class PoolReconciler:
    """Looks at WorkerPools."""

    def __init__(self, world: World, defaults: WorkerDefaults) -> None:
        self._world = world
        self._defaults = defaults
        self._holds = Holds()
        self._silences = Silences()

    async def reconcile(self, key: Key) -> Plan:
        """Look at the pool and do what is to be done."""
        body = await self._world.read(key)
        if body is None:
            self._world.forget(key)
            self._silences.forget(key.ref)
            return Plan()
        try:
            WorkerPool.from_manifest(body)
        except ValidationError as error:
            return await set_aside(self._world, WORKER_POOLS, body, error)
        return await converge(
            body,
            observe=self._observe,
            plan=plan_pool,
            applier=self._world.applier,
            wrote=partial(self._world.latest.wrote, key),
        )

    async def _observe(self, body: Manifest, outcomes: Sequence[Outcome]) -> PoolView:
        pool = WorkerPool.from_manifest(body)
        namespace = pool.metadata.namespace
        ref = ObjectRef(namespace=namespace, name=pool.metadata.name)
        jobs = await self._read_jobs(pool)
        queue, now = self._world.queues.find(namespace, pool.task_queue), self._world.now()
        view = PoolView(
            pool=pool,
            now=now,
            defaults=self._defaults,
            code=await read_code(self._world.cluster, pool),
            revisions=await read_revisions(self._world.cluster, pool),
            is_shared=self._world.pools.on_queue(namespace, pool.task_queue) not in ([], [ref]),
            queue=queue,
            holds=self._holds.look(pool, queue, now),
            jobs=jobs,
            pods=await self._read_pods(pool, jobs),
            foreign=await self._find_foreign(pool, outcomes),
            silences=self._silences.look(ref, queue, jobs, now),
            outcomes=tuple(outcomes),
        )
        missing = next((job for job in view.active if missing_pod(job, now) is not None), None)
        if missing is None:
            return view
        return replace(view, podless=await find_podless(self._world.cluster, missing))

    async def _read_jobs(self, pool: WorkerPool) -> list[JobFacts]:
        found = await self._world.cluster.list(
            JOBS, pool.metadata.namespace, labels={POOL_LABEL: pool.metadata.name}
        )
        return [read_job(body) for body in found if is_owned(body, pool)]

    async def _find_foreign(self, pool: WorkerPool, outcomes: Sequence[Outcome]) -> frozenset[str]:
        """Return which names were taken by Jobs that are not the pool's.

        One that is the pool's, made by another operator, is waited for until it is listed.
        """
        taken = (each for each in outcomes if isinstance(each, NameTaken))
        names = [each.name for each in taken if each.kind == JOBS]
        found: set[str] = set()
        for name in names:
            jobs = await self._world.cluster.list(
                JOBS, pool.metadata.namespace, labels={}, fields={"metadata.name": name}
            )
            found.update(name for body in jobs if not is_owned(body, pool))
        return frozenset(found)

    async def _read_pods(self, pool: WorkerPool, jobs: Sequence[JobFacts]) -> list[PodFacts]:
        """Return the pool's pods, if one of them may have something to tell."""
        quiet = all(job.is_ready or job.state is JobState.LEAVING for job in jobs)
        if quiet:
            return []
        found = await self._world.cluster.list(
            PODS, pool.metadata.namespace, labels={POOL_LABEL: pool.metadata.name}
        )
        return [read_pod(body) for body in found]
