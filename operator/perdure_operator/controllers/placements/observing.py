"""Looking at the Jobs and pods of an activity's attempts."""

from __future__ import annotations

from perdure.protocol.verbs import PendingActivity
from perdure_operator.cluster import CONFIG_MAPS, JOBS, PODS, Manifest, ObjectKind, ObjectRef
from perdure_operator.controllers.placements.attempts import (
    PodsSeen,
    read_attempt_job,
    read_attempt_pod,
)
from perdure_operator.controllers.placements.names import ACTIVITY_LABEL, RUN_LABEL, label_value
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.templates import Code
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
        self, activity: Activity, run_id: str, open_: PendingActivity | None
    ) -> PodsSeen:
        """Return the Jobs and pods, and the pool whose code a worker of its own runs."""
        template = activity.spec.template
        assert template is not None
        container = MAIN_CONTAINER if activity.spec.type is None else WORKER_CONTAINER
        codes = template.non_retryable_exit_codes
        pool = await self._find_pool(activity, open_)
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
            pool=pool,
            code=await self._read_code(pool),
        )

    async def _list(self, kind: ObjectKind, activity: Activity, run_id: str) -> list[Manifest]:
        # An Activity of the same name, deleted a moment ago, may have pods that are not gone yet.
        labels = {
            ACTIVITY_LABEL: label_value(activity.metadata.name),
            RUN_LABEL: label_value(run_id),
        }
        return await self._world.cluster.list(kind, activity.metadata.namespace, labels=labels)

    async def _find_pool(
        self, activity: Activity, open_: PendingActivity | None
    ) -> WorkerPool | None:
        if activity.spec.type is None or open_ is None:
            return None
        namespace, pools = activity.metadata.namespace, self._world.pools
        name = activity.spec.worker_pool
        if name is not None:
            return await self._world.find_pool(ObjectRef(namespace=namespace, name=name))
        serving = sorted(pools.on_queue(namespace, open_.task_queue))
        return pools.get(serving[0]) if serving else None

    async def _read_code(self, pool: WorkerPool | None) -> Code | None:
        if pool is None or pool.spec.code is None:
            return None
        ref = ObjectRef(namespace=pool.metadata.namespace, name=pool.spec.code.config_map)
        body = await self._world.cluster.get(CONFIG_MAPS, ref)
        return None if body is None else Code(files=body.get("data") or {})


def _is_owned(body: Manifest, activity: Activity) -> bool:
    owners = body["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == activity.metadata.uid for owner in owners)
