"""What a WorkerPool needs now. Pure: the same view gives the same plan; every view gives one."""

from __future__ import annotations

from datetime import timedelta

from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.pools.failing import Streak, read_streak
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.reporting import write_report
from perdure_operator.controllers.pools.scaling import (
    hasty_below,
    plan_creations,
    plan_deletions,
)

CODE_INTERVAL = timedelta(seconds=60)
"""How often a ConfigMap with code is looked at while workers run its code."""

CODE_MISSING_INTERVAL = timedelta(seconds=5)

REFUSED_INTERVAL = timedelta(seconds=30)
"""How soon a Job that was refused is tried again: a quota may have room by then."""


def plan_pool(view: PoolView) -> Plan:
    """Return what to do."""
    if view.pool.metadata.is_being_deleted:
        # Its Jobs are its own, so they are deleted with it.
        return Plan()
    if view.code_problem:
        actions = write_report(view, None, Streak())
        return Plan(actions=actions, again=CODE_MISSING_INTERVAL)
    if view.queue is None:
        return _plan_without_server(view)

    template = view.template
    streak = read_streak(
        [job for job in view.jobs if job.version == template.version],
        now=view.now,
        hasty=hasty_below(view),
    )
    if view.refused is not None:
        return Plan(actions=write_report(view, template, streak), again=REFUSED_INTERVAL)
    changes = [*plan_deletions(view, template), *plan_creations(view, template, streak)]
    if changes:
        return Plan(actions=changes, look_at_once=True)
    return Plan(actions=write_report(view, template, streak), again=_again(view, streak))


def _plan_without_server(view: PoolView) -> Plan:
    """Say that nothing is known, if nothing was said before; else let stand what was."""
    was_said = view.pool.status.phase is not None
    return Plan(actions=[] if was_said else write_report(view, None, Streak()))


def _again(view: PoolView, streak: Streak) -> timedelta | None:
    waits = [streak.wait(view.now)]
    if view.pool.spec.code is not None and view.active:
        waits.append(CODE_INTERVAL)
    return min((wait for wait in waits if wait is not None), default=None)
