"""What an event of the Kubernetes API means for the operator: some object is to be looked at.

Nothing here waits or fails: events are noted in memory and the keys go to the work queue.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure_operator.cluster import (
    ACTIVITIES,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    Manifest,
    ObjectKind,
    ObjectRef,
)
from perdure_operator.controllers.activities.observing import activity_id
from perdure_operator.controllers.keys import Key, key_of
from perdure_operator.controllers.lanes import Sink
from perdure_operator.controllers.placements.names import ACTIVITY_LABEL
from perdure_operator.controllers.pools.templates import POOL_LABEL
from perdure_operator.controllers.schedules.children import SCHEDULE_LABEL
from perdure_operator.controllers.verdicts import in_a_word
from perdure_operator.controllers.world import World, read_pool
from perdure_operator.model import ActivityPhase, WorkerPool, WorkflowPhase

_FINAL_PHASES = {
    *(phase.value for phase in WorkflowPhase if phase.is_final),
    *(phase.value for phase in ActivityPhase if phase.is_final),
}


class Intake:
    """Takes events and fills the work queue."""

    def __init__(
        self,
        world: World,
        queue: Sink,
        count: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._world = world
        self._count = count
        self._queue = queue

    def notice_run(self, kind: ObjectKind, event: str | None, body: Manifest) -> None:
        """Take an event of a Workflow or an Activity; without a type it is from a listing."""
        self._count(kind.kind)
        key = key_of(kind, body)
        is_gone = event == "DELETED"
        if is_gone or body.get("status", {}).get("phase") in _FINAL_PHASES:
            self._tell_schedule(body)
        if is_gone or (kind == WORKFLOWS and _is_settled(body)):
            self._world.forget(key)
            return
        is_new = self._enrol(key, body)
        # One that was over and is not any more may have missed what its run came to meanwhile.
        self._notice(key, None if is_new else event, body)

    def notice_pool(self, event: str | None, body: Manifest) -> None:
        """Take an event of a WorkerPool."""
        self._count(WORKER_POOLS.kind)
        key = key_of(WORKER_POOLS, body)
        if event == "DELETED":
            self._world.forget(key)
            gone = self._world.pools.get(key.ref)
            self._world.pools.remove(key.ref)
            self._tell_dependents(key.ref, None)
            if gone is not None:
                # Of two pools on one task queue, the one that is left has it to itself now.
                for ref in self._world.pools.on_queue(key.ref.namespace, gone.task_queue):
                    self._queue.add(Key(WORKER_POOLS, ref))
            return
        pool = read_pool(body)
        if pool is not None:
            self._world.pools.put(key.ref, pool)
            self._tell_dependents(key.ref, pool)
        self._notice(key, event, body)

    def notice_schedule(self, event: str | None, body: Manifest) -> None:
        """Take an event of a Schedule."""
        key = key_of(SCHEDULES, body)
        if event == "DELETED":
            self._world.forget(key)
            return
        self._notice(key, event, body)

    def notice_owned(self, body: Manifest) -> None:
        """Take an event of a Job or pod: its pool, or its Activity, is to be looked at."""
        self._count(body.get("kind", "Owned"))
        metadata = body["metadata"]
        activity = metadata.get("annotations", {}).get(ACTIVITY_LABEL)
        if activity:
            ref = ObjectRef(namespace=metadata["namespace"], name=activity)
            is_over = body.get("status", {}).get("phase") in {"Succeeded", "Failed"}
            self._queue.add(Key(ACTIVITIES, ref), urgent=is_over)
        pool = metadata.get("labels", {}).get(POOL_LABEL)
        if pool:
            self._queue.add(
                Key(WORKER_POOLS, ObjectRef(namespace=metadata["namespace"], name=pool))
            )

    def _notice(self, key: Key, event: str | None, body: Manifest) -> None:
        if event is not None and self._world.latest.is_echo(key, body):
            return
        self._world.latest.put(key, body)
        self._queue.add(key, urgent=_is_urgent(body))

    def _tell_schedule(self, body: Manifest) -> None:
        """A Workflow is over: its Schedule, if it has one, may have something waiting."""
        metadata = body["metadata"]
        name = metadata.get("labels", {}).get(SCHEDULE_LABEL)
        if name:
            ref = ObjectRef(namespace=metadata["namespace"], name=name)
            self._queue.add(Key(SCHEDULES, ref))

    def _enrol(self, key: Key, body: Manifest) -> bool:
        """Have the object told of its run, if it is not over; return whether it was not before."""
        if body.get("status", {}).get("phase") in _FINAL_PHASES:
            self._world.roster.remove(key)
            self._world.shown.remove(key)
        elif key.kind == WORKFLOWS:
            name = body.get("spec", {}).get("workflowId") or key.ref.name
            return self._world.roster.put(key, name)
        elif key.kind == ACTIVITIES:
            shows = body.get("spec", {}).get("scheduledBy")
            if shows:
                self._world.shown.put(key, shows["runId"], shows["seq"])
            else:
                return self._world.roster.put(key, activity_id(key.ref.name))
        return False

    def _tell_dependents(self, ref: ObjectRef, pool: WorkerPool | None) -> None:
        for key in self._world.pools.to_be_told(ref, in_a_word(pool)):
            self._queue.add(key)


def _is_settled(body: Manifest) -> bool:
    """Tell whether nothing is to be done about a Workflow, now or later: most of a relist."""
    metadata, status = body["metadata"], body.get("status", {})
    return (
        status.get("phase") in _FINAL_PHASES
        and status.get("observedGeneration") == metadata.get("generation")
        and not metadata.get("finalizers")
        and "deletionTimestamp" not in metadata
        and body.get("spec", {}).get("ttlSecondsAfterFinished") is None
        and not body.get("spec", {}).get("retries")
    )


def _is_urgent(body: Manifest) -> bool:
    """Tell whether a person did something: what they wait for is not made to wait."""
    metadata, status = body["metadata"], body.get("status", {})
    is_seen = status.get("observedGeneration") == metadata.get("generation")
    return not is_seen or "deletionTimestamp" in metadata
