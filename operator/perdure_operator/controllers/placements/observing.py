"""Looking at the Jobs and pods of an activity's attempts."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.protocol.verbs import PendingActivity, RunDescription
from perdure_operator.cluster import JOBS, PODS, Manifest, ObjectKind, ObjectRef
from perdure_operator.controllers.placements.attempts import (
    AttemptJob,
    PodsSeen,
    read_attempt_job,
    read_attempt_pod,
)
from perdure_operator.controllers.placements.names import ACTIVITY_LABEL, RUN_LABEL, label_value
from perdure_operator.controllers.placements.templates import PoolCode
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.reading import read_code, read_revisions
from perdure_operator.controllers.pools.revisions import RevisionFacts
from perdure_operator.controllers.world import World
from perdure_operator.model import Activity, WorkerPool
from perdure_operator.model.activity_template import MAIN_CONTAINER
from perdure_operator.model.workerpool import WORKER_CONTAINER


class PodObserver:
    """Looks at what there is of an activity's attempts."""

    def __init__(self, world: World, defaults: WorkerDefaults) -> None:
        self._world = world
        self._defaults = defaults

    async def observe(
        self, activity: Activity, run: RunDescription, open_: PendingActivity | None
    ) -> PodsSeen:
        """Return the Jobs and pods, and the code that a worker of its own runs."""
        template = activity.spec.template
        assert template is not None
        container = MAIN_CONTAINER if activity.spec.type is None else WORKER_CONTAINER
        codes = template.non_retryable_exit_codes
        run_id = run.run_id
        jobs = [
            read_attempt_job(body)
            for body in await self._list(JOBS, activity, run_id)
            if _is_owned(body, activity)
        ]
        has_pods = bool(jobs) or activity.status.job is not None
        pods = await self._list(PODS, activity, run_id) if has_pods else []
        return PodsSeen(
            jobs=tuple(jobs),
            pods=tuple(read_attempt_pod(body, container, non_retryable=codes) for body in pods),
            defaults=self._defaults,
            code=None if open_ is None else await self._find_code(activity, run, open_, jobs),
        )

    async def _list(self, kind: ObjectKind, activity: Activity, run_id: str) -> list[Manifest]:
        # An Activity of the same name, deleted a moment ago, may have pods that are not gone yet.
        labels = {
            ACTIVITY_LABEL: label_value(activity.metadata.name),
            RUN_LABEL: label_value(run_id),
        }
        return await self._world.cluster.list(kind, activity.metadata.namespace, labels=labels)

    async def _find_code(
        self,
        activity: Activity,
        run: RunDescription,
        open_: PendingActivity,
        jobs: Sequence[AttemptJob],
    ) -> PoolCode | None:
        pool = await self._find_pool(activity, open_)
        if pool is None:
            return None
        if open_.started is not None or any(job.attempt == open_.attempt for job in jobs):
            return PoolCode(pool=pool)  # Nothing is made of it now.
        pinned = await self._find_version(pool, run.build_id, open_.attempt)
        files = None if pinned is not None else await read_code(self._world.cluster, pool)
        return PoolCode(pool=pool, files=files, pinned=pinned)

    async def _find_version(
        self, pool: WorkerPool, build_id: str, attempt: int
    ) -> RevisionFacts | None:
        """Return the version that the run is pinned to, if the attempt is to have it.

        As with the pool's own workers, the current version has every second attempt: code that
        was mended is found.
        """
        if not build_id or attempt % 2 == 0:
            return None
        found = await read_revisions(self._world.cluster, pool, build_id)
        return next((each for each in found if each.is_usable), None)

    async def _find_pool(self, activity: Activity, open_: PendingActivity) -> WorkerPool | None:
        if activity.spec.type is None:
            return None
        namespace, pools = activity.metadata.namespace, self._world.pools
        name = activity.spec.worker_pool
        if name is not None:
            return await self._world.find_pool(ObjectRef(namespace=namespace, name=name))
        serving = sorted(pools.on_queue(namespace, open_.task_queue))
        return pools.get(serving[0]) if serving else None


def _is_owned(body: Manifest, activity: Activity) -> bool:
    owners = body["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == activity.metadata.uid for owner in owners)
