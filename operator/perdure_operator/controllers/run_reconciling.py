"""Looking at an object that is a run: what is asked of whom, for its plan to be made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from pydantic import ValidationError

from perdure_operator.cluster import ACTIVITIES, WORKFLOWS, Manifest, ObjectKind, ObjectRef
from perdure_operator.controllers.actions import (
    Outcome,
    Plan,
    RunRetried,
    RunStarted,
    ServerAway,
    ref_of,
)
from perdure_operator.controllers.activities.ends import ONLY_SEQ, count_items, find_end
from perdure_operator.controllers.activities.observing import (
    ActivityView,
    find_open,
    workflow_id_of,
)
from perdure_operator.controllers.activities.planning import plan_activity
from perdure_operator.controllers.invalid import set_aside
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.memories import Started
from perdure_operator.controllers.placements.observing import PodObserver
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.reconciling import converge
from perdure_operator.controllers.runs import NoRun, RunFacts, find_own_run, observe_run
from perdure_operator.controllers.verdicts import in_a_word
from perdure_operator.controllers.views import R, RunView, is_over, is_shown, known_run_id
from perdure_operator.controllers.workflows.observing import WorkflowView
from perdure_operator.controllers.workflows.planning import plan_workflow
from perdure_operator.controllers.workflows.retrying import wants_retry
from perdure_operator.controllers.workflows.starting import pool_name
from perdure_operator.controllers.world import World
from perdure_operator.model import FINALIZER, Activity, Workflow

V = TypeVar("V", bound="RunView[Workflow] | RunView[Activity]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKind(Generic[R, V]):
    """What tells the kinds apart."""

    kind: ObjectKind
    read: Callable[[Manifest], R]
    workflow_id: Callable[[R], str]
    """The id of its run at the server."""
    pool_name: Callable[[R], str]
    is_held: Callable[[R], bool]
    """Whether nothing is started now; then it is asked whether something was."""
    is_wanted_again: Callable[[R], bool]
    """Whether a run that is over is to be retried."""
    view: Callable[..., V]
    plan: Callable[[V], Plan]


class RunReconciler(Generic[R, V]):
    """Looks at objects of one kind."""

    def __init__(self, world: World, kind: RunKind[R, V]) -> None:
        self._world = world
        self._kind = kind

    async def reconcile(self, key: Key) -> Plan:
        """Look at the object and do what is to be done."""
        body = await self._world.read(key)
        if body is None:
            self._world.forget(key)
            self._world.roster.clear(key)
            return Plan()
        try:
            self._kind.read(body)
        except ValidationError as error:
            return await set_aside(self._world, self._kind.kind, body, error)
        uid, roster = body["metadata"]["uid"], self._world.roster
        known = roster.run_of(key)
        is_own = known is not None and known.uid == uid
        outcomes: list[Outcome] = [RunStarted(run_id=known.run_id)] if known and is_own else []
        plan = await converge(
            body,
            observe=self._observe,
            plan=self._kind.plan,
            applier=self._world.applier,
            wrote=partial(self._world.latest.wrote, key),
            outcomes=outcomes,
        )
        for outcome in outcomes:
            if isinstance(outcome, RunStarted) and plan.look_soon is not None:
                roster.started(key, Started(uid, outcome.run_id))
        self._world.roster.clear(key)
        return plan

    async def _observe(self, body: Manifest, outcomes: Sequence[Outcome]) -> V:
        resource = self._kind.read(body)
        ref = ref_of(resource.metadata)
        pool_ref = ObjectRef(namespace=ref.namespace, name=self._kind.pool_name(resource))
        view = self._kind.view(
            resource=resource,
            now=self._world.now(),
            run=await self._ask(resource, outcomes),
            pool=await self._world.find_pool(pool_ref) if pool_ref.name else None,
            outcomes=tuple(outcomes),
        )
        view = await self._look_further(view)
        self._note(Key(self._kind.kind, ref), view, pool_ref)
        return view

    async def _look_further(self, view: V) -> V:
        """Return the view with what only objects of this kind need."""
        return view

    def _note(self, key: Key, view: V, pool: ObjectRef) -> None:
        """Be told when the pool changes in a way that the object shows otherwise."""
        if view.is_over:
            self._world.pools.release(key)
            self._world.roster.remove(key)
            self._world.shown.remove(key)
            return
        if view.resource.status.run_id:
            self._world.roster.reported(key)
        if isinstance(view.run, RunFacts):
            self._world.roster.saw(key, view.run.description.events)
        if pool.name:
            self._world.pools.depend(key, pool, shows=in_a_word(view.pool))

    async def _ask(self, resource: R, outcomes: Sequence[Outcome]) -> RunFacts | NoRun:
        """Ask the server no more than the plan needs to know."""
        metadata, server = resource.metadata, self._world.server
        is_deleted = metadata.is_being_deleted
        is_free = is_deleted and FINALIZER not in metadata.finalizers
        is_away = any(isinstance(outcome, ServerAway) for outcome in outcomes)
        key = Key(self._kind.kind, ref_of(metadata))
        is_asked_again = self._kind.is_wanted_again(resource) or self._world.roster.is_suspect(key)
        is_done = is_over(resource) and not is_asked_again
        if is_done or is_free or is_away:
            return NoRun.NOT_ASKED

        namespace, workflow_id = metadata.namespace, self._kind.workflow_id(resource)
        if not is_shown(resource):
            # From here on whatever happens to the run is to be told.
            self._world.roster.put(key, workflow_id)
        if is_over(resource) and not any(isinstance(each, RunRetried) for each in outcomes):
            # Somebody else may have retried it.
            return await find_own_run(server, namespace, workflow_id, metadata.uid)
        run_id = known_run_id(resource, outcomes)
        if run_id:
            return await observe_run(server, namespace, workflow_id, run_id)
        if is_deleted or self._kind.is_held(resource):
            # It may have been started without anybody having written so.
            return await find_own_run(server, namespace, workflow_id, metadata.uid)
        return NoRun.MISSING


WORKFLOW_RUNS: RunKind[Workflow, WorkflowView] = RunKind(
    kind=WORKFLOWS,
    read=Workflow.from_manifest,
    workflow_id=lambda workflow: workflow.workflow_id,
    pool_name=pool_name,
    is_held=lambda workflow: workflow.spec.cancel or workflow.spec.suspend,
    is_wanted_again=wants_retry,
    view=WorkflowView,
    plan=plan_workflow,
)

ACTIVITY_RUNS: RunKind[Activity, ActivityView] = RunKind(
    kind=ACTIVITIES,
    read=Activity.from_manifest,
    workflow_id=workflow_id_of,
    pool_name=lambda activity: activity.spec.worker_pool or "",
    is_held=lambda activity: activity.spec.cancel,
    is_wanted_again=lambda _activity: False,
    view=ActivityView,
    plan=plan_activity,
)


class WorkflowReconciler(RunReconciler[Workflow, WorkflowView]):
    """Looks at Workflows."""

    def __init__(self, world: World) -> None:
        super().__init__(world, WORKFLOW_RUNS)

    async def _look_further(self, view: WorkflowView) -> WorkflowView:
        if not isinstance(view.run, RunFacts):
            return view
        shown = self._world.shown.seqs(view.run.description.run_id)
        return replace(view, shown=shown, show_after=self._world.show_after)


class ActivityReconciler(RunReconciler[Activity, ActivityView]):
    """Looks at Activities, and at the pods of those that have pods of their own."""

    def __init__(self, world: World, defaults: WorkerDefaults) -> None:
        super().__init__(world, ACTIVITY_RUNS)
        self._pods = PodObserver(world, defaults)

    async def _look_further(self, view: ActivityView) -> ActivityView:
        if not isinstance(view.run, RunFacts):
            return view
        activity, run = view.activity, view.run
        open_ = find_open(activity, run)
        if activity.spec.template is not None:
            seen = await self._pods.observe(activity, run.description, open_)
            view = replace(view, seen=seen)
        shown = activity.spec.scheduled_by
        is_open = open_ is not None or view.shown_batch is not None
        stays = view.seen is not None or view.is_batch
        if shown is not None and not is_open and stays:
            view = replace(view, end=await find_end(self._world.server, run, shown.seq))
        has_ended = run.is_closed if shown is None else not is_open
        if view.is_batch and has_ended:
            seq = ONLY_SEQ if shown is None else shown.seq
            view = replace(view, counts=await count_items(self._world.server, run, seq))
        return view
