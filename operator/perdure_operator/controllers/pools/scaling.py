"""Which worker Jobs there should be.

Each version has workers of its own: the current one as many as the tasks that wait or are worked on
fill, within the pool's bounds, or as many as ``spec.replicas`` says; older ones as many as the runs
that are pinned to them need just now. None when nothing is runnable. Scaling down is mostly the
workers' own doing: one that is idle leaves. Those that stay (of ``scaling.min``, and all of
``spec.replicas``) are deleted when there are too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count

from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import Action, CreateObject
from perdure_operator.controllers.pools.access import read_access
from perdure_operator.controllers.pools.failing import (
    HASTY,
    Streak,
    is_steady,
    read_streak,
    telling_failures,
)
from perdure_operator.controllers.pools.jobs import JobFacts, JobState
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.revisions import RevisionFacts, template_of
from perdure_operator.controllers.pools.templates import WorkerTemplate, object_name
from perdure_operator.model import ScalingMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One version that has workers when there is something to do for it."""

    template: WorkerTemplate
    jobs: Sequence[JobFacts]
    """Its Jobs, all there are."""
    wanted: int
    """How many workers it should have."""
    staying: int
    """How many of them do not leave when they are idle."""
    is_exact: bool = False
    """No more than wanted may run, also of those that would leave by themselves: somebody who
    scales from outside to zero means now."""
    hasty: timedelta
    """Workers that last less long than this, and leave well, left too soon."""
    streak: Streak

    @property
    def version(self) -> str:
        """Which one it is."""
        return self.template.version

    @property
    def active(self) -> list[JobFacts]:
        """The Jobs whose workers run, or will."""
        return [job for job in self.jobs if job.state is JobState.ACTIVE]


def serve_current(view: PoolView, template: WorkerTemplate) -> Serving:
    """Return what the version that the pool has now needs."""
    spec = view.pool.spec
    if spec.scaling.mode is ScalingMode.EXTERNAL:
        wanted = staying = spec.replicas or 0
    else:
        needed = -(-view.demand(template.version) // spec.slots)
        wanted = max(spec.scaling.min, min(spec.scaling.max, needed))
        staying = spec.scaling.min
    serving = _serve(view, template, wanted=wanted, staying=staying)
    return replace(serving, is_exact=spec.scaling.mode is ScalingMode.EXTERNAL)


def serve_kept(view: PoolView, kept: Iterable[RevisionFacts]) -> list[Serving]:
    """Return what the older versions need that open runs are pinned to."""
    spec = view.pool.spec
    is_external = spec.scaling.mode is ScalingMode.EXTERNAL
    # Whoever scales from outside sees the queue, not its versions: old runs must not wait for that.
    most = max(spec.replicas or 0, 1) if is_external else spec.scaling.max
    servings = []
    for revision in kept:
        template = template_of(revision, view.pool, view.defaults)
        needed = -(-view.demand(revision.version) // template.pool.spec.slots)
        servings.append(_serve(view, template, wanted=min(most, needed), staying=0))
    return servings


def _serve(view: PoolView, template: WorkerTemplate, *, wanted: int, staying: int) -> Serving:
    jobs = [job for job in view.jobs if job.version == template.version]
    has_work = view.demand(template.version) > 0
    hasty = min(HASTY, view.pool.spec.scaling.idle_after) if has_work else timedelta()
    return Serving(
        template=template,
        jobs=jobs,
        wanted=wanted,
        staying=staying,
        hasty=hasty,
        streak=read_streak(jobs, now=view.now, hasty=hasty),
    )


def plan_creations(view: PoolView, serving: Serving) -> list[Action]:
    """Return the Jobs of a version that are missing and may be made now."""
    current, streak = serving.active, serving.streak
    missing = serving.wanted - len(current)
    if streak.failures:
        # One at a time until one has come through its start.
        unproven = sum(not is_steady(job, view.now) for job in current)
        missing = min(missing, 1 - unproven) if streak.wait(view.now) is None else 0
    kept = sum(job.kept for job in current)
    actions: list[Action] = []
    for number in _free_numbers(serving, missing, others=view.foreign):
        is_kept = kept < serving.staying
        kept += is_kept
        job = serving.template.job(number, failures=streak.failures, kept=is_kept)
        actions.append(CreateObject(kind=JOBS, manifest=job))
    return actions


def plan_deletions(
    view: PoolView, servings: Sequence[Serving], *, is_declared: bool
) -> list[Action]:
    """Return the Jobs that are known to be of no use any more.

    Args:
        view: The pool.
        servings: The versions that are needed, the current one first.
        is_declared: Whether the server sends nothing to versions that are not among them.
    """
    return [
        *(job.delete() for job in _finished(view, servings)),
        *(job.delete() for job in _replaced(view, servings, is_declared=is_declared)),
        *(job.delete() for serving in servings for job in _staying_in_excess(serving)),
        *(job.delete() for serving in servings for job in _locked_out(view, serving)),
    ]


def _free_numbers(serving: Serving, wanted: int, *, others: Set[str]) -> list[int]:
    """Return the lowest numbers that no Job has: see the names in :mod:`.templates`.

    ``others`` are names of Jobs that are not the pool's: nobody knows when these go.
    """
    taken = {job.ref.name for job in serving.jobs} | others
    prefix = f"{object_name(serving.template.pool, serving.version)}-"
    free = (number for number in count() if f"{prefix}{number}" not in taken)
    return [number for number, _ in zip(free, range(wanted), strict=False)]


def _finished(view: PoolView, servings: Sequence[Serving]) -> list[JobFacts]:
    """Return Jobs that are over and tell nothing: what succeeded, and failures made up for.

    The last failed Jobs of a version that is needed stay until a worker has done well: they carry
    the backoff, and people look at them.
    """
    telling = {
        job.uid
        for serving in servings
        for job in telling_failures(serving.jobs, hasty=serving.hasty)
    }
    over = (job for job in view.jobs if job.state in {JobState.SUCCEEDED, JobState.FAILED})
    return [job for job in over if job.uid not in telling]


def _replaced(view: PoolView, servings: Sequence[Serving], *, is_declared: bool) -> list[JobFacts]:
    """Return Jobs of versions that are needed no more, once these are not needed to serve.

    One whose worker does not run is needed for nothing. Where versions are declared the others get
    nothing more to do; else they serve until a worker of the current version is connected. Told to
    stop, they finish or give back what they hold.
    """
    needed = {serving.version for serving in servings}
    has_successor = is_declared or view.connected(servings[0].version) > 0
    return [
        job
        for job in view.active
        if job.version not in needed and (has_successor or not job.is_ready)
    ]


def _locked_out(view: PoolView, serving: Serving) -> list[JobFacts]:
    """Return Jobs whose workers cannot reach the server any more, and would be waited for.

    Its address, whether it asks for a token, or the authority of its certificate has changed since
    they were made. Whoever is connected nevertheless goes on.
    """
    if not serving.active:
        return []
    wanted = read_access(serving.template.job(0)["spec"]["template"])
    return [job for job in serving.active if job.access != wanted and not view.is_connected(job)]


def _staying_in_excess(serving: Serving) -> list[JobFacts]:
    """Return Jobs whose workers would not leave, or not soon, beyond those that are wanted."""
    staying = [job for job in serving.active if job.kept or serving.is_exact]
    # What does not run yet is missed least.
    staying.sort(key=lambda job: (not job.is_ready, len(job.ref.name), job.ref.name))
    return staying[serving.wanted :]
