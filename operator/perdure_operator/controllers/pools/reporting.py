"""A WorkerPool's status, from what was observed."""

from __future__ import annotations

from typing import Any

from perdure_operator.cluster import WORKER_POOLS
from perdure_operator.controllers.actions import Action, write_status
from perdure_operator.controllers.pools.failing import Streak
from perdure_operator.controllers.pools.jobs import JobState
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.pods import Trouble, newest_trouble
from perdure_operator.controllers.pools.scaling import desired_workers
from perdure_operator.controllers.pools.templates import WorkerTemplate
from perdure_operator.controllers.verdicts import Verdict, false, pending, true
from perdure_operator.model import PoolPhase, Reason, WorkerPoolStatus

_WAITING = "work and workers are not known yet: the Perdure server has not answered"
_STARTING = "workers were asked for; none is connected yet"
_IDLE = "nothing is runnable, so no worker is needed"
_AVAILABLE = "at least one worker is connected and takes tasks"


def write_report(view: PoolView, template: WorkerTemplate | None, streak: Streak) -> list[Action]:
    """Return the action that writes the status, or nothing when it is written already."""
    pool = view.pool
    after = _report(view, template, streak)
    # A backlog of 0 is worth a column.
    return write_status(WORKER_POOLS, pool.metadata, before=pool.status, after=after, sparse=False)


def find_trouble(view: PoolView, template: WorkerTemplate | None, streak: Streak) -> Trouble | None:
    """Return why the workers that are wanted do not run, if something is known to be wrong."""
    if view.code_problem:
        return Trouble(reason=Reason.CODE_NOT_FOUND, message=view.code_problem)
    if view.refused is not None:
        message = f"Job {view.refused.name} cannot be made: {view.refused.message}"
        return Trouble(reason=Reason.FORBIDDEN, message=message)
    if template is None or not desired_workers(view):
        return None
    jobs = {job.ref.name for job in view.active if job.version == template.version}
    waiting = newest_trouble(pod for pod in view.pods if pod.job in jobs)
    return waiting or _find_crash(view, streak)


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


def _report(view: PoolView, template: WorkerTemplate | None, streak: Streak) -> WorkerPoolStatus:
    before, metadata = view.pool.status, view.pool.metadata
    trouble = find_trouble(view, template, streak)
    phase, verdict = _judge(view, trouble, streak)
    fields: dict[str, Any] = {
        "phase": phase,
        "observed_generation": metadata.generation,
        "conditions": verdict.conditions(
            before.conditions, generation=metadata.generation, now=view.now
        ),
        "task_queue": view.pool.task_queue,
        "active_jobs": len(view.active),
    }
    if template is not None:
        fields["version"] = template.version
    if view.queue is not None:
        fields |= {"ready_workers": view.connected(), "backlog": view.queue.backlog}
    return before.model_copy(update=fields)


def _judge(view: PoolView, trouble: Trouble | None, streak: Streak) -> tuple[PoolPhase, Verdict]:
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
    if not desired_workers(view):
        idle = true(Reason.IDLE, _IDLE)
        return PoolPhase.IDLE, Verdict(ready=idle, workers=idle)
    starting = false(Reason.STARTING, _STARTING)
    reconciling = true(Reason.STARTING, _STARTING)
    return PoolPhase.STARTING, Verdict(ready=starting, workers=starting, reconciling=reconciling)


def _needs_somebody(trouble: Trouble, streak: Streak) -> bool:
    """Tell whether waiting is not enough: a crash may pass, the rest does not by itself."""
    return trouble.reason is not Reason.CRASHING or streak.failures == 0 or streak.is_stalled
