"""A WorkerPool's status, from what was observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from perdure_operator.cluster import WORKER_POOLS
from perdure_operator.controllers.actions import Action, write_status
from perdure_operator.controllers.pools.failing import Streak
from perdure_operator.controllers.pools.jobs import JobState
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.pods import Trouble, missing_pod, newest_trouble
from perdure_operator.controllers.pools.scaling import Serving
from perdure_operator.controllers.pools.templates import POOL_LABEL
from perdure_operator.controllers.verdicts import Verdict, false, pending, true
from perdure_operator.model import (
    MAX_SHOWN_VERSIONS,
    PoolPhase,
    PoolVersion,
    Reason,
    WorkerPoolStatus,
)

_WAITING = "work and workers are not known yet: the Perdure server has not answered"
_STARTING = "workers were asked for; none is connected yet"
_IDLE = "nothing is runnable, so no worker is needed"
_AVAILABLE = "at least one worker is connected and takes tasks"


def write_report(view: PoolView, servings: Sequence[Serving]) -> list[Action]:
    """Return the action that writes the status, or nothing when it is written already.

    Args:
        view: The pool.
        servings: Its versions, the current one first; none when that is not known.
    """
    pool = view.pool
    after = _report(view, servings)
    # A backlog of 0 is worth a column.
    return write_status(WORKER_POOLS, pool.metadata, before=pool.status, after=after, sparse=False)


def find_trouble(view: PoolView, servings: Sequence[Serving]) -> tuple[Trouble, Streak] | None:
    """Return why workers that are wanted do not run, if something is known to be wrong."""
    if view.code_problem:
        return Trouble(reason=Reason.CODE_NOT_FOUND, message=view.code_problem), Streak()
    if view.refused is not None:
        message = f"{view.refused.kind.kind} {view.refused.name} cannot be made: "
        message += view.refused.message
        if view.refused.is_invalid:
            message += "; mend spec.template, or the field that it names"
        reason = Reason.INVALID_SPEC if view.refused.is_invalid else Reason.FORBIDDEN
        return Trouble(reason=reason, message=message), Streak()
    for place, serving in enumerate(servings):
        trouble = _find_of_version(view, serving) if serving.wanted else None
        if trouble is not None:
            which = f"version {serving.version}, which open runs are pinned to: " if place else ""
            return replace(trouble, message=which + trouble.message), serving.streak
    return None


def _find_of_version(view: PoolView, serving: Serving) -> Trouble | None:
    jobs = {job.ref.name for job in serving.active}
    waiting = newest_trouble((pod for pod in view.pods if pod.job in jobs), now=view.now)
    refused = (missing_pod(job, view.now) for job in serving.active)
    return waiting or next(filter(None, refused), None) or _find_crash(view, serving.streak)


def _find_crash(view: PoolView, streak: Streak) -> Trouble | None:
    if streak.last is None:
        return None
    name = streak.last.ref.name
    crash = next((pod.crash for pod in view.pods if pod.job == name and pod.crash), None)
    if crash is not None:
        return crash
    if streak.last.state is JobState.SUCCEEDED:
        message = "the worker left at once though there is work: is its command a worker's?"
    else:
        message = "the worker's pod was deleted before it could do anything"
    return Trouble(reason=Reason.CRASHING, message=message)


def _report(view: PoolView, servings: Sequence[Serving]) -> WorkerPoolStatus:
    before, metadata = view.pool.status, view.pool.metadata
    phase, verdict = _judge(view, servings)
    fields: dict[str, Any] = {
        "phase": phase,
        "observed_generation": metadata.generation,
        "conditions": verdict.conditions(
            before.conditions, generation=metadata.generation, now=view.now
        ),
        "task_queue": view.pool.task_queue,
        "active_jobs": len(view.active),
        "selector": f"{POOL_LABEL}={metadata.name}",
    }
    if servings:
        fields["version"] = servings[0].version
        fields["replicas"] = len(servings[0].active)
        fields["versions"] = _show_versions(view, servings)
    if view.queue is not None:
        fields |= {"ready_workers": view.connected(), "backlog": view.queue.backlog}
    return before.model_copy(update=fields)


def _show_versions(view: PoolView, servings: Sequence[Serving]) -> tuple[PoolVersion, ...]:
    """Return the current version and those with most open runs."""
    shown = []
    for place, serving in enumerate(servings):
        found = view.version(serving.version)
        shown.append(
            PoolVersion(
                hash=serving.version,
                current=place == 0,
                workers=view.connected(serving.version),
                backlog=found.backlog if found else 0,
                open_runs=found.open_runs if found else 0,
            )
        )
    shown.sort(key=lambda each: (not each.current, -each.open_runs))
    return tuple(shown[:MAX_SHOWN_VERSIONS])


def _judge(view: PoolView, servings: Sequence[Serving]) -> tuple[PoolPhase, Verdict]:
    found = find_trouble(view, servings)
    trouble, streak = found or (None, Streak())
    is_stalled = trouble is not None and _needs_somebody(trouble, streak)
    stalled = true(trouble.reason, trouble.message) if trouble and is_stalled else None
    if view.connected():
        # What is wrong with further workers is said, but there are some.
        available = true(Reason.AVAILABLE, _AVAILABLE)
        return PoolPhase.ACTIVE, Verdict(ready=available, workers=available, stalled=stalled)
    if trouble is not None:
        away = false(trouble.reason, trouble.message)
        reconciling = true(Reason.STARTING, _STARTING)
        phase = PoolPhase.STALLED if is_stalled else PoolPhase.STARTING
        verdict = Verdict(ready=away, workers=away, reconciling=reconciling, stalled=stalled)
        return phase, verdict
    if view.queue is None:
        return PoolPhase.PENDING, pending(_WAITING)
    if not any(serving.wanted for serving in servings):
        idle = true(Reason.IDLE, _IDLE)
        return PoolPhase.IDLE, Verdict(ready=idle, workers=idle)
    starting = false(Reason.STARTING, _STARTING)
    reconciling = true(Reason.STARTING, _STARTING)
    return PoolPhase.STARTING, Verdict(ready=starting, workers=starting, reconciling=reconciling)


def _needs_somebody(trouble: Trouble, streak: Streak) -> bool:
    """Tell whether waiting is not enough: a crash may pass, the rest does not by itself."""
    return trouble.reason is not Reason.CRASHING or streak.failures == 0 or streak.is_stalled
