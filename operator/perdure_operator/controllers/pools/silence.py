"""Workers that run as far as Kubernetes sees, and are not heard of by the server.

A process that hangs, is frozen, or has lost its way to the server keeps its Job active for ever:
counted as a worker, it would keep out the one that could do its work. So a Job whose worker was
connected and is away for longer than anything that passes by itself is deleted, and made up for by
the next look. Its tasks went elsewhere when its lease ended; what it still reports is refused.

Who is connected, workers' identities tell: they end with the pod's name, which begins with its
Job's. Where a version has workers that no Job explains, nothing is concluded of any of its Jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perdure.protocol.verbs import QueueDescription
from perdure_operator.cluster import ObjectRef
from perdure_operator.controllers.actions import Action
from perdure_operator.controllers.notices import Notice, name_object
from perdure_operator.controllers.pools.jobs import JobFacts, JobState
from perdure_operator.model import WorkerPool

PATIENCE = timedelta(seconds=15)
"""How long a worker that was connected may be away, counted from the end of its lease; one that can
comes back within seconds, also to a server that was started again."""

NEVER_CONNECTED = timedelta(minutes=10)
"""The same of a worker that runs and was not seen connected yet: its imports may take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A Job's worker runs and is not connected."""

    since: datetime
    """When it was first missed; when it started if it was never seen."""
    patience: timedelta

    def wait(self, now: datetime) -> timedelta:
        """Return after what time its Job is deleted; not above zero when that is now."""
        return self.since + self.patience - now


class Silences:
    """Since when Jobs' workers are not connected; in memory, by the pool and the Job's uid.

    After a restart of the operator the patience for workers that were not seen yet holds.
    """

    def __init__(self) -> None:
        # None: it was connected when it was last looked at. Without an entry: it never was.
        self._known: dict[ObjectRef, dict[str, datetime | None]] = {}

    def look(
        self,
        pool: ObjectRef,
        queue: QueueDescription | None,
        jobs: Sequence[JobFacts],
        now: datetime,
    ) -> Mapping[str, Silence]:
        """Take what is so now, and return the silences by the Job's uid."""
        before = self._known.pop(pool, {})
        running = [job for job in jobs if job.state is JobState.ACTIVE and job.is_ready]
        if queue is None:
            # Of a server that is away nobody is heard; counting begins when it is back.
            known: dict[str, datetime | None] = {
                job.uid: None for job in running if job.uid in before
            }
            silent = set()
        else:
            silent = _silent(running, queue)
            known = {job.uid: None for job in running if job.uid not in silent}
            known |= {uid: before[uid] or now for uid in silent if uid in before}
        if known:
            self._known[pool] = known
        return {job.uid: _silence(job, known.get(job.uid)) for job in running if job.uid in silent}

    def forget(self, pool: ObjectRef) -> None:
        """The pool is gone."""
        self._known.pop(pool, None)


def plan_replacements(
    pool: WorkerPool, jobs: Sequence[JobFacts], silences: Mapping[str, Silence], now: datetime
) -> list[Action]:
    """Return the deletion of Jobs whose workers have been away for too long."""
    return [
        job.delete(notice=_notice(job, silences[job.uid]), pool=name_object(pool))
        for job in jobs
        if job.uid in silences and silences[job.uid].wait(now) <= timedelta()
    ]


def next_look(silences: Mapping[str, Silence], now: datetime) -> timedelta | None:
    """Return after what time the next Job would be deleted."""
    return min((each.wait(now) for each in silences.values()), default=None)


def _silent(running: Sequence[JobFacts], queue: QueueDescription) -> set[str]:
    """Return the uids of Jobs that surely have no worker connected."""
    connected, unexplained = set(), set()
    for worker in queue.workers:
        jobs = {job.uid for job in running if job.is_home_of(worker)}
        connected |= jobs
        if not jobs:
            unexplained.add(worker.build_id)
    return {
        job.uid
        for job in running
        if job.uid not in connected and not unexplained & {job.version, ""}
    }


def _silence(job: JobFacts, missed: datetime | None) -> Silence:
    if missed is not None:
        return Silence(since=missed, patience=PATIENCE)
    assert job.started is not None  # Its pod is ready.
    return Silence(since=job.started, patience=NEVER_CONNECTED)


def _notice(job: JobFacts, silence: Silence) -> Notice:
    note = (
        f"the worker of Job {job.ref.name} runs, but has not been connected since "
        f"{silence.since:%H:%M:%S}Z: the Job is deleted, and another one made when there is work"
    )
    return Notice(reason="WorkerSilent", action="DeleteJob", note=note, warning=True)
