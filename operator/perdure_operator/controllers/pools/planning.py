"""What a WorkerPool needs now. Pure: the same view gives the same plan; every view gives one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.pods import time_to_miss_pod
from perdure_operator.controllers.pools.reporting import write_report
from perdure_operator.controllers.pools.scaling import (
    Serving,
    plan_creations,
    plan_deletions,
    serve_current,
    serve_kept,
)
from perdure_operator.controllers.pools.silence import next_look, plan_replacements
from perdure_operator.controllers.pools.versioning import (
    is_declared,
    is_recorded,
    kept_revisions,
    plan_declaration,
    plan_forgetting,
    plan_record,
)

CODE_INTERVAL = timedelta(seconds=60)
"""How often a ConfigMap with code is looked at while workers run its code."""

CODE_MISSING_INTERVAL = timedelta(seconds=5)

NAME_TAKEN_INTERVAL = timedelta(seconds=5)
"""How soon it is looked again whether what an earlier pool of the name left is gone."""

REFUSED_INTERVAL = timedelta(seconds=30)
"""How soon a Job that was refused is tried again: a quota may have room by then."""


def plan_pool(view: PoolView) -> Plan:
    """Return what to do."""
    if view.pool.metadata.is_being_deleted:
        # Its Jobs are its own, so they are deleted with it.
        return Plan()
    if view.code_problem:
        return _plan_without_code(view)
    if view.queue is None:
        return _plan_without_server(view)

    if view.server_away:
        return Plan(blocked=f"the server could not be told of versions: {view.server_away}")
    template = view.template
    current = serve_current(view, template)
    if view.refused is not None:
        return Plan(actions=write_report(view, [current]), again=REFUSED_INTERVAL)
    record = plan_record(view, template)
    if record:
        return Plan(actions=record, look_at_once=True)
    if not is_recorded(view, template):
        return Plan(actions=write_report(view, [current]), again=NAME_TAKEN_INTERVAL)

    servings = [current, *serve_kept(view, kept_revisions(view, template))]
    changes = [
        *plan_declaration(view, template),
        *plan_deletions(view, servings, is_declared=is_declared(view, template)),
        *plan_replacements(view.pool, view.jobs, view.silences, view.now),
        *plan_forgetting(view, template),
        *(action for serving in servings for action in plan_creations(view, serving)),
    ]
    if changes:
        return Plan(actions=changes, look_at_once=True)
    return Plan(actions=write_report(view, servings), again=_again(view, servings))


def _plan_without_code(view: PoolView) -> Plan:
    """Say so, and have workers of the versions that there are copies of: runs go on with them."""
    servings = serve_kept(view, (each for each in view.revisions if each.is_usable))
    made = [action for serving in servings for action in plan_creations(view, serving)]
    if made and view.queue is not None and view.refused is None:
        return Plan(actions=made, look_at_once=True)
    return Plan(actions=write_report(view, []), again=CODE_MISSING_INTERVAL)


def _plan_without_server(view: PoolView) -> Plan:
    """Say that nothing is known, if nothing was said before; else let stand what was."""
    was_said = view.pool.status.phase is not None
    return Plan(actions=[] if was_said else write_report(view, []))


def _again(view: PoolView, servings: Sequence[Serving]) -> timedelta | None:
    waits = [view.holds, next_look(view.silences, view.now)]
    waits.extend(serving.streak.wait(view.now) for serving in servings)
    waits.extend(time_to_miss_pod(job, view.now) for job in view.active)
    if view.pool.spec.code is not None and view.active:
        waits.append(CODE_INTERVAL)
    return min((wait for wait in waits if wait is not None), default=None)
