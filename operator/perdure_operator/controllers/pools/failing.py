"""Workers that fail at their start, and how long to leave them alone.

How often they failed in a row is written on each Job when it is made, so it is known from the
Jobs alone and outlives the operator. A worker that lasted :data:`STEADY` ends the row: it did not
fail at its start. One that had come through its start before others failed says nothing of them:
a node, or a task, may be what they die of. A worker that left well, but at once though there was
work, failed as well; else one whose command only prints its help would be made anew without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perdure_operator.controllers.pools.jobs import JobFacts, JobState

STEADY = timedelta(seconds=60)
FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=5)
STALLED_AFTER = 3
"""Failures in a row after which somebody should look."""

KEPT_FAILURES = 10
"""Failed Jobs of one version that are kept for people to look at, the newest."""

HASTY = timedelta(seconds=10)
"""A worker that left well, but sooner than this, was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Failures in a row of one version's workers."""

    failures: int = 0
    until: datetime | None = None
    """When the next worker may be made."""
    delay: timedelta = timedelta()
    """How long after the last failure that is."""
    last: JobFacts | None = None
    """The one that failed last."""

    @property
    def is_stalled(self) -> bool:
        """Whether somebody should look."""
        return self.failures >= STALLED_AFTER

    def wait(self, now: datetime) -> timedelta | None:
        """Return how long no worker is to be made, if it is not."""
        if self.until is None or self.until <= now:
            return None
        # Whoever wrote down when it failed may have a clock that is ahead of ours.
        return min(self.until - now, self.delay)


def read_streak(jobs: Sequence[JobFacts], *, now: datetime, hasty: timedelta) -> Streak:
    """Return how the Jobs of one version have fared.

    Args:
        jobs: Of that version, all there are.
        now: The time.
        hasty: Workers that left well before that had lasted that long left too soon.
    """
    steady = [job.started + STEADY for job in jobs if job.started and is_steady(job, now)]
    failed = standing_failures(jobs, hasty=hasty)
    failed = [job for job in failed if all(since <= _end(job) for since in steady)]
    last = max(failed, key=_end, default=None)
    if last is None or (last.lifetime or timedelta()) >= STEADY:
        return Streak()
    failures = last.failures_before + 1
    # The exponent is bounded so that a pool failing for weeks does not overflow.
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 16))
    return Streak(failures=failures, until=_end(last) + delay, delay=delay, last=last)


def telling_failures(jobs: Sequence[JobFacts], *, hasty: timedelta) -> list[JobFacts]:
    """Return the failed Jobs of one version that are kept: they carry the backoff, and words."""
    failed = standing_failures(jobs, hasty=hasty)
    return sorted(failed, key=_end, reverse=True)[:KEPT_FAILURES]


def standing_failures(jobs: Sequence[JobFacts], *, hasty: timedelta) -> list[JobFacts]:
    """Return the failed Jobs of one version that no later success has made up for."""
    over = [job for job in jobs if job.state in {JobState.SUCCEEDED, JobState.FAILED}]
    failed = [job for job in over if has_failed(job, hasty=hasty)]
    last_well = max((_end(job) for job in over if job not in failed), default=None)
    return [job for job in failed if last_well is None or _end(job) > last_well]


def is_steady(job: JobFacts, now: datetime) -> bool:
    """Tell whether a worker has come through its start."""
    return job.state is JobState.ACTIVE and job.is_ready and job.age(now) >= STEADY


def has_failed(job: JobFacts, *, hasty: timedelta) -> bool:
    """Tell whether a worker ended as it should not have."""
    if job.state is JobState.SUCCEEDED and job.lifetime is not None:
        return job.lifetime < hasty
    return job.state is JobState.FAILED


def _end(job: JobFacts) -> datetime:
    assert job.finished is not None
    return job.finished
