"""Which worker Jobs there should be.

As many as the tasks that wait or are worked on fill, within the pool's bounds; none when nothing
is runnable. Scaling down is the workers' own doing: one that is idle leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import count

from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import Action, CreateObject
from perdure_operator.controllers.pools.failing import HASTY, Streak, standing_failures
from perdure_operator.controllers.pools.jobs import JobFacts, JobState
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.templates import WorkerTemplate


def desired_workers(view: PoolView) -> int:
    """Return how many workers there should be."""
    spec = view.pool.spec
    needed = -(-view.demand // spec.slots)
    return max(spec.scaling.min, min(spec.scaling.max, needed))


def hasty_below(view: PoolView) -> timedelta:
    """Return how long a worker lasts at least, if there is work for it."""
    return min(HASTY, view.pool.spec.scaling.idle_after) if view.demand else timedelta()


def plan_creations(view: PoolView, template: WorkerTemplate, streak: Streak) -> list[Action]:
    """Return the Jobs that are missing and may be made now."""
    current = [job for job in view.active if job.version == template.version]
    missing = desired_workers(view) - len(current)
    if streak.failures:
        # One at a time until one has come through its start.
        missing = min(missing, 1 - len(current)) if streak.wait(view.now) is None else 0
    kept = sum(job.kept for job in current)
    actions: list[Action] = []
    for number in _free_numbers(view.jobs, template, missing):
        is_kept = kept < view.pool.spec.scaling.min
        kept += is_kept
        job = template.job(number, failures=streak.failures, kept=is_kept)
        actions.append(CreateObject(kind=JOBS, manifest=job))
    return actions


def plan_deletions(view: PoolView, template: WorkerTemplate) -> list[Action]:
    """Return the Jobs that are known to be of no use any more."""
    return [
        *(job.delete() for job in _finished(view, template)),
        *(job.delete() for job in _replaced(view, template)),
        *(job.delete() for job in _kept_in_excess(view, template)),
    ]


def _free_numbers(jobs: Sequence[JobFacts], template: WorkerTemplate, wanted: int) -> list[int]:
    """Return the lowest numbers that no Job has: see the names in :mod:`.templates`."""
    taken = {job.ref.name for job in jobs}
    prefix = f"{template.pool.metadata.name}-{template.version}-"
    free = (number for number in count() if f"{prefix}{number}" not in taken)
    return [number for number, _ in zip(free, range(wanted), strict=False)]


def _finished(view: PoolView, template: WorkerTemplate) -> list[JobFacts]:
    """Return Jobs that are over and tell nothing: what succeeded, and failures made up for.

    Failed Jobs of the current version stay until a worker has done well: they carry the backoff,
    and people look at them.
    """
    current = [job for job in view.jobs if job.version == template.version]
    telling = standing_failures(current, hasty=hasty_below(view))
    over = (job for job in view.jobs if job.state in {JobState.SUCCEEDED, JobState.FAILED})
    return [job for job in over if job not in telling]


def _replaced(view: PoolView, template: WorkerTemplate) -> list[JobFacts]:
    """Return Jobs of other versions, once they are not needed to serve.

    One whose worker does not run is needed for nothing. The others serve until a worker of the
    current version is connected; told to stop, they finish or give back what they hold.
    """
    has_successor = view.connected(template.version) > 0
    return [
        job
        for job in view.active
        if job.version != template.version and (has_successor or not job.is_ready)
    ]


def _kept_in_excess(view: PoolView, template: WorkerTemplate) -> list[JobFacts]:
    """Return Jobs whose workers would never leave, beyond ``scaling.min``."""
    replaced = _replaced(view, template)
    kept = sorted(
        (job for job in view.active if job.kept and job not in replaced),
        key=lambda job: (job.version != template.version, job.ref.name),
    )
    return kept[view.pool.spec.scaling.min :]
