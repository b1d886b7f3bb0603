"""Which version of the code may do what: what is declared for each task queue, and who is pinned.

A run belongs to the version that ran its code last (``Run.build_id``, the fold of its history).
Which version new runs are for is declared, never guessed from who is connected. So work has a
*pin*: a build id, or nothing for what the current version is to do. :meth:`Versions.home` says
which version's workers that means right now. Workers without a build id take anything.

Open runs are counted by the version that they are pinned to, so that it is known at once, also
with very many of them, when a version is needed no more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perdure_operator.engine.transitions import Transition
from perdure_operator.server.keeping import HotRun
from perdure_operator.store.port import QueueVersions

QueueKey = tuple[str, str]
"""Namespace and name of a task queue."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that are declared for one task queue."""

    current: str = ""
    """Empty: nothing is declared, and any worker takes anything."""
    kept: tuple[str, ...] = ()

    def home(self, pin: str) -> str:
        """Return the version whose workers are to do what has this pin; empty: any."""
        return pin if pin in self.kept else self.current

    def lets(self, build_id: str, pin: str) -> bool:
        """Tell whether a worker of this build may do what has this pin."""
        home = self.home(pin)
        return not home or not build_id or build_id == home


UNDECLARED = Versions()


class VersionBook:
    """The versions of all task queues of one server, and how many open runs each has."""

    def __init__(self) -> None:
        self._declared: dict[QueueKey, Versions] = {}
        self._pinned: defaultdict[QueueKey, Counter[str]] = defaultdict(Counter)

    def load(
        self, declared: Iterable[QueueVersions], pinned: Mapping[tuple[str, str, str], int]
    ) -> None:
        """Take what a store has."""
        for each in declared:
            self.declare(each)
        for (namespace, task_queue, build_id), number in pinned.items():
            self._pinned[namespace, task_queue][build_id] = number

    def declare(self, versions: QueueVersions) -> None:
        """These are the versions of a task queue now."""
        key = (versions.namespace, versions.task_queue)
        self._declared.pop(key, None)
        if versions.current:
            self._declared[key] = Versions(versions.current, versions.kept)

    def of(self, key: QueueKey) -> Versions:
        """Return the versions of a task queue."""
        return self._declared.get(key, UNDECLARED)

    @property
    def queues(self) -> set[QueueKey]:
        """The task queues that versions are declared for."""
        return set(self._declared)

    def open_runs(self, key: QueueKey, build_id: str) -> int:
        """Return how many open runs of a task queue are pinned to a version."""
        of_queue = self._pinned.get(key)
        return 0 if of_queue is None else of_queue[build_id]

    def after_commit(self, hot: HotRun, transition: Transition) -> None:
        """Count a run where it is pinned now."""
        row = transition.row
        pinned = row.build_id if row.closed is None else ""
        if pinned == hot.counted:
            return
        of_queue = self._pinned[row.namespace, row.task_queue]
        if hot.counted:
            of_queue[hot.counted] -= 1
            if of_queue[hot.counted] <= 0:
                del of_queue[hot.counted]
        if pinned:
            of_queue[pinned] += 1
        hot.counted = pinned
