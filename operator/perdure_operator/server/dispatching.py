"""Who may do what is ready: task queues, their workers, and what waits for one.

A queue is known by namespace and name: a worker of one namespace is never offered another's
work. What is ready is kept by reference only, in the order in which it became so; the run is
read when a worker has a slot for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import QueueDescription, WorkerDescription
from perdure_operator.server.sessions import Session
from perdure_operator.store.port import StoreError

log = logging.getLogger(__name__)

STORE_RETRY_DELAY = 1.0

_Key = TypeVar("_Key")
QueueKey = tuple[str, str]
ActivityKey = tuple[str, int]


@dataclass(slots=True, eq=False)
class TaskQueue:
    """One task queue."""

    key: QueueKey
    sessions: list[Session] = field(default_factory=list)
    """The one to ask next comes first."""
    runs: dict[str, Millis] = field(default_factory=dict)
    """Runs whose code must be run, and since when they wait."""
    activities: dict[ActivityKey, Millis] = field(default_factory=dict)
    """Activities whose next attempt may begin."""
    queries: dict[int, Millis] = field(default_factory=dict)
    """Questions that no worker is there to answer."""
    pumping: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        """What waits for a worker."""
        return len(self.runs) + len(self.activities) + len(self.queries)

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing is known of it any more."""
        return not self.sessions and not self.backlog


@dataclass(slots=True)
class Load:
    """What waits for workers, of one kind."""

    backlog: int = 0
    oldest: Millis = 0
    """The age of what has waited longest."""
    unattended: int = 0
    """What waits in queues that no worker is connected to."""

    def add(self, waiting: Mapping[_Key, Millis], now: Millis, *, has_workers: bool) -> None:
        """Add what waits in one queue."""
        if not waiting:
            return
        self.backlog += len(waiting)
        self.oldest = max(self.oldest, now - min(waiting.values()))
        if not has_workers:
            self.unattended += len(waiting)


class Dispatcher:
    """All task queues of one server."""

    def __init__(self, now: Callable[[], Millis]) -> None:
        self._now = now
        self._queues: dict[QueueKey, TaskQueue] = {}
        self._queue_of: dict[ActivityKey, QueueKey] = {}
        self.offer_run: Callable[[str, Millis], Awaitable[None]] | None = None
        self.offer_activity: Callable[[ActivityKey, Millis], Awaitable[None]] | None = None
        self.offer_query: Callable[[int, Millis], Awaitable[None]] | None = None

    # --- workers ---------------------------------------------------------------------------

    def join(self, session: Session) -> None:
        """A worker is there."""
        queue = self._queue((session.namespace, session.task_queue))
        queue.sessions.append(session)
        self.pump(queue.key)

    def leave(self, session: Session) -> None:
        """A worker is gone."""
        queue = self._queue((session.namespace, session.task_queue))
        if session in queue.sessions:
            queue.sessions.remove(session)
        self._forget(queue)

    def pick_for_workflow(self, key: QueueKey, workflow_type: str) -> Session | None:
        """Return a worker with a slot for workflow code, one that knows the type if any does."""
        return self._pick(
            key, lambda s: s.has_workflow_slot, lambda s: workflow_type in s.workflow_types
        )

    def pick_for_activity(self, key: QueueKey, activity_type: str) -> Session | None:
        """Return a worker with a slot for an activity, one that knows the type if any does."""
        return self._pick(
            key, lambda s: s.has_activity_slot, lambda s: activity_type in s.activity_types
        )

    def pick_for_query(self, key: QueueKey, workflow_type: str) -> Session | None:
        """Return a worker that can be asked: a question takes no slot."""
        return self._pick(key, lambda s: s.is_open, lambda s: workflow_type in s.workflow_types)

    def _pick(
        self, key: QueueKey, fits: Callable[[Session], bool], knows: Callable[[Session], bool]
    ) -> Session | None:
        queue = self._queues.get(key)
        if queue is None:
            return None
        able = None
        for place, session in enumerate(queue.sessions):
            if not fits(session):
                continue
            if knows(session):
                # The next one to be asked is another: work is spread evenly.
                queue.sessions.append(queue.sessions.pop(place))
                return session
            able = able or session
        # Nobody knows the type: somebody must say so, or the work would wait without a word.
        return able

    # --- work ------------------------------------------------------------------------------

    def add_run(self, key: QueueKey, run_id: str) -> None:
        """A run's code must be run by whoever comes first."""
        self._queue(key).runs.setdefault(run_id, self._now())
        self.pump(key)

    def add_activity(self, key: QueueKey, activity: ActivityKey) -> None:
        """An attempt may begin at whoever comes first."""
        self._queue(key).activities.setdefault(activity, self._now())
        self._queue_of[activity] = key
        self.pump(key)

    def drop_run(self, key: QueueKey, run_id: str) -> None:
        """A run is over: nobody need run its code."""
        queue = self._queues.get(key)
        if queue is not None and queue.runs.pop(run_id, None) is not None:
            self._forget(queue)

    def drop_activity(self, activity: ActivityKey) -> None:
        """An activity is over: nobody need begin it."""
        queue = self._queues.get(self._queue_of.pop(activity, ("", "")))
        if queue is not None and queue.activities.pop(activity, None) is not None:
            self._forget(queue)

    def has_waiting_activities(self, key: QueueKey) -> bool:
        """Whether activities wait for a slot, so that another one must not overtake them."""
        queue = self._queues.get(key)
        return queue is not None and bool(queue.activities)

    def first_activity(self, key: QueueKey, run_id: str) -> int | None:
        """Return the activity that waits longest, if it is of this run."""
        queue = self._queues.get(key)
        first = next(iter(queue.activities), None) if queue is not None else None
        return first[1] if first is not None and first[0] == run_id else None

    def add_query(self, key: QueueKey, query: int) -> None:
        """A question waits for a worker."""
        self._queue(key).queries.setdefault(query, self._now())
        self.pump(key)

    def drop_query(self, key: QueueKey, query: int) -> None:
        """A question is no longer asked."""
        if key in self._queues:
            self._queues[key].queries.pop(query, None)
            self._forget(self._queues[key])

    def pump(self, key: QueueKey) -> None:
        """Offer what waits in a queue to the workers that have slots."""
        queue = self._queues.get(key)
        if queue is None or not queue.backlog or not queue.sessions or queue.pumping is not None:
            return
        queue.pumping = asyncio.get_running_loop().create_task(self._pump(queue))

    async def _pump(self, queue: TaskQueue) -> None:
        assert self.offer_run is not None
        assert self.offer_activity is not None
        assert self.offer_query is not None
        try:
            while queue.queries and any(s.is_open for s in queue.sessions):
                await self._offer(queue.queries, self.offer_query)
            while queue.runs and any(s.has_workflow_slot for s in queue.sessions):
                await self._offer(queue.runs, self.offer_run)
            while queue.activities and any(s.has_activity_slot for s in queue.sessions):
                await self._offer(queue.activities, self.offer_activity)
        except StoreError as error:
            log.warning("task queue %s waits for the store: %s", queue.key[1], error)
            asyncio.get_running_loop().call_later(STORE_RETRY_DELAY, self.pump, queue.key)
        finally:
            queue.pumping = None
            self._forget(queue)

    async def _offer(
        self, waiting: dict[_Key, Millis], offer: Callable[[_Key, Millis], Awaitable[None]]
    ) -> None:
        first = next(iter(waiting))
        since = waiting.pop(first)
        try:
            await offer(first, since)
        except StoreError:
            waiting.setdefault(first, since)
            raise
        if first in waiting:
            waiting[first] = since  # Nobody had a slot after all: it waits as long as before.

    def _queue(self, key: QueueKey) -> TaskQueue:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = TaskQueue(key)
        return queue

    def _forget(self, queue: TaskQueue) -> None:
        if queue.is_forgotten and queue.pumping is None:
            self._queues.pop(queue.key, None)

    # --- what there is ---------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Everything that waits for a worker."""
        return sum(queue.backlog for queue in self._queues.values())

    def loads(self) -> dict[str, Load]:
        """Return what waits, by kind of task, over all queues."""
        now = self._now()
        found = {"workflow": Load(), "activity": Load(), "query": Load()}
        for queue in self._queues.values():
            has_workers = bool(queue.sessions)
            found["workflow"].add(queue.runs, now, has_workers=has_workers)
            found["activity"].add(queue.activities, now, has_workers=has_workers)
            found["query"].add(queue.queries, now, has_workers=has_workers)
        return found

    def describe(self, namespace: str) -> tuple[QueueDescription, ...]:
        """Return what is known of the queues of ``namespace`` (of all, when empty)."""
        return tuple(
            _describe(queue)
            for (owner, _), queue in sorted(self._queues.items())
            if namespace in ("", owner)
        )


def _describe(queue: TaskQueue) -> QueueDescription:
    waiting = (*queue.runs.values(), *queue.activities.values(), *queue.queries.values())
    return QueueDescription(
        namespace=queue.key[0],
        task_queue=queue.key[1],
        backlog=queue.backlog,
        held=sum(len(s.held_tasks) + len(s.held_attempts) for s in queue.sessions),
        oldest=min(waiting, default=None),
        workers=tuple(
            WorkerDescription(
                worker_id=s.hello.worker_id,
                identity=s.identity,
                build_id=s.hello.build_id,
                held=len(s.held_tasks) + len(s.held_attempts),
                draining=s.is_draining,
            )
            for s in queue.sessions
        ),
    )
