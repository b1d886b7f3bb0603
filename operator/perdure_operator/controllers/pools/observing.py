"""What a plan for a WorkerPool is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from perdure.protocol.verbs import QueueDescription, VersionDescription
from perdure_operator.controllers.actions import (
    NameTaken,
    ObjectRefused,
    Outcome,
    ServerAway,
)
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.jobs import JobFacts, JobState
from perdure_operator.controllers.pools.podless import Podless
from perdure_operator.controllers.pools.pods import PodFacts
from perdure_operator.controllers.pools.revisions import RevisionFacts
from perdure_operator.controllers.pools.silence import Silence
from perdure_operator.controllers.pools.templates import (
    Code,
    WorkerTemplate,
    build_template,
)
from perdure_operator.model import WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A WorkerPool and what it is about, at one moment."""

    pool: WorkerPool
    now: datetime
    defaults: WorkerDefaults
    code: Code | None = None
    """The ConfigMap's content; None when there is no such ConfigMap, or none is needed."""
    queue: QueueDescription | None
    """Work and workers; None while the server cannot be asked."""
    jobs: Sequence[JobFacts]
    """The pool's Jobs, of every version."""
    pods: Sequence[PodFacts]
    podless: Podless | None = None
    """A Job that gets no pod, and why, if that is said anywhere."""
    foreign: frozenset[str] = frozenset()
    """Jobs of other owners that have names which the pool's could have had."""
    silences: Mapping[str, Silence] = field(default_factory=dict)
    """Jobs whose workers run and are not connected, by uid."""
    revisions: Sequence[RevisionFacts] = ()
    """What is written down of the pool's versions."""
    holds: timedelta | None = None
    """For how long no version is to be forgotten, see :mod:`.holding`."""
    is_shared: bool = False
    """Whether other pools poll the task queue as well."""
    outcomes: Sequence[Outcome] = ()

    @property
    def code_problem(self) -> str:
        """Why the code cannot be run; empty when it can."""
        source = self.pool.spec.code
        if source is None:
            return ""
        if self.code is None:
            return (
                f"there is no ConfigMap {source.config_map!r} in namespace "
                f"{self.pool.metadata.namespace!r}: create it with the Python files as its keys"
            )
        if not self.code.modules and not self.pool.spec.modules:
            return (
                f"ConfigMap {source.config_map!r} holds no Python file: its keys must be file "
                "names such as orders.py"
            )
        return ""

    @property
    def template(self) -> WorkerTemplate:
        """What Jobs are made from now."""
        return build_template(self.pool, self.defaults, self.code)

    @property
    def refused(self) -> ObjectRefused | None:
        """Why a Job could not be made, when that was just tried."""
        return next((each for each in self.outcomes if isinstance(each, ObjectRefused)), None)

    @property
    def taken(self) -> tuple[NameTaken, ...]:
        """The names that were just found to be taken."""
        return tuple(each for each in self.outcomes if isinstance(each, NameTaken))

    @property
    def server_away(self) -> str:
        """Why the server could not be told something; empty when it could."""
        return next((each.message for each in self.outcomes if isinstance(each, ServerAway)), "")

    def version(self, build_id: str) -> VersionDescription | None:
        """Return what the server says of a version, if it is declared."""
        versions = self.queue.versions if self.queue is not None else ()
        return next((each for each in versions if each.build_id == build_id), None)

    def demand(self, build_id: str) -> int:
        """Return how many tasks want a worker of a version, or have one.

        While nothing is declared, that is all there is, whichever version is asked about.
        """
        if self.queue is None:
            return 0
        if not self.queue.current:
            return self.queue.backlog + self.queue.held
        found = self.version(build_id)
        return found.backlog + found.held if found is not None else 0

    @property
    def active(self) -> list[JobFacts]:
        """The Jobs of any version whose workers run, or will."""
        return [job for job in self.jobs if job.state is JobState.ACTIVE]

    def is_connected(self, job: JobFacts) -> bool:
        """Tell whether a Job's worker is at the server."""
        workers = self.queue.workers if self.queue is not None else ()
        return any(job.is_home_of(worker) for worker in workers)

    def connected(self, version: str = "") -> int:
        """Return how many workers take tasks, of one version or of all."""
        workers = self.queue.workers if self.queue is not None else ()
        return sum(not worker.draining and version in {"", worker.build_id} for worker in workers)
