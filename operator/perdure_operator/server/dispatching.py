"""Who may do what is ready: task queues, their workers, and what waits for one.

A queue is known by namespace and name: a worker of one namespace is never offered another's
work. What is ready is kept by reference only, in the order in which it became so; the run is
read when a worker has a slot for it. Within a queue each pin (:mod:`.versions`) has a lane of its
own, so that what waits for one version's workers is not in the way of the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import QueueDescription
from perdure_operator.server.queue_descriptions import describe_queue
from perdure_operator.server.sessions import Session
from perdure_operator.server.versions import QueueKey, VersionBook
from perdure_operator.store.port import StoreError

log = logging.getLogger(__name__)

STORE_RETRY_DELAY = 1.0

_Key = TypeVar("_Key")
ActivityKey = tuple[str, int]


@dataclass(slots=True, eq=False)
class Lane:
    """What waits with one pin."""

    runs: dict[str, Millis] = field(default_factory=dict)
    """Runs whose code must be run, and since when they wait."""
    activities: dict[ActivityKey, Millis] = field(default_factory=dict)
    """Activities whose next attempt may begin."""
    queries: dict[int, Millis] = field(default_factory=dict)
    """Questions that no worker is there to answer."""

    @property
    def backlog(self) -> int:
        """What waits for a worker."""
        return len(self.runs) + len(self.activities) + len(self.queries)


@dataclass(slots=True, eq=False)
class TaskQueue:
    """One task queue."""

    key: QueueKey
    sessions: list[Session] = field(default_factory=list)
    """The one to ask next comes first."""
    lanes: dict[str, Lane] = field(default_factory=dict)
    """By pin."""
    pumping: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        """What waits for a worker."""
        return sum(lane.backlog for lane in self.lanes.values())

    def lane(self, pin: str) -> Lane:
        """Return what waits with this pin."""
        lane = self.lanes.get(pin)
        if lane is None:
            lane = self.lanes[pin] = Lane()
        return lane

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
    """What waits where no worker is connected that may take it."""

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

    def __init__(self, now: Callable[[], Millis], versions: VersionBook) -> None:
        self._now = now
        self._versions = versions
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

    def lets(self, session: Session, pin: str) -> bool:
        """Tell whether a worker's version may do what has this pin."""
        versions = self._versions.of((session.namespace, session.task_queue))
        return versions.lets(session.hello.build_id, pin)

    def pick_for_workflow(self, key: QueueKey, workflow_type: str, pin: str) -> Session | None:
        """Return a worker with a slot for workflow code, one that knows the type if any does."""
        return self._pick(
            key, pin, lambda s: s.has_workflow_slot, lambda s: workflow_type in s.workflow_types
        )

    def pick_for_activity(self, key: QueueKey, activity_type: str, pin: str) -> Session | None:
        """Return a worker with a slot for an activity, one that knows the type if any does."""
        return self._pick(
            key, pin, lambda s: s.has_activity_slot, lambda s: activity_type in s.activity_types
        )

    def pick_for_query(self, key: QueueKey, workflow_type: str, pin: str) -> Session | None:
        """Return a worker that can be asked: a question takes no slot."""
        return self._pick(
            key, pin, lambda s: s.is_open, lambda s: workflow_type in s.workflow_types
        )

    def _pick(
        self,
        key: QueueKey,
        pin: str,
        fits: Callable[[Session], bool],
        knows: Callable[[Session], bool],
    ) -> Session | None:
        queue = self._queues.get(key)
        if queue is None:
            return None
        able = None
        for place, session in enumerate(queue.sessions):
            if not (fits(session) and self.lets(session, pin)):
                continue
            if knows(session):
                # The next one to be asked is another: work is spread evenly.
                queue.sessions.append(queue.sessions.pop(place))
                return session
            able = able or session
        # Nobody knows the type: somebody must say so, or the work would wait without a word.
        return able

    # --- work ------------------------------------------------------------------------------

    def add_run(self, key: QueueKey, run_id: str, pin: str = "") -> None:
        """A run's code must be run by the first worker that its pin lets."""
        self._add(key, pin, _runs, run_id)

    def add_activity(self, key: QueueKey, activity: ActivityKey, pin: str = "") -> None:
        """An attempt may begin at the first worker that its pin lets."""
        self._queue_of[activity] = key
        self._add(key, pin, _activities, activity)

    def add_query(self, key: QueueKey, query: int, pin: str = "") -> None:
        """A question waits for a worker."""
        self._add(key, pin, _queries, query)

    def drop_run(self, key: QueueKey, run_id: str) -> None:
        """A run is over: nobody need run its code."""
        self._drop(key, _runs, run_id)

    def drop_activity(self, activity: ActivityKey) -> None:
        """An activity is over: nobody need begin it."""
        self._drop(self._queue_of.pop(activity, ("", "")), _activities, activity)

    def has_waiting_activities(self, key: QueueKey, pin: str) -> bool:
        """Whether activities wait for a slot, so that another one must not overtake them."""
        return bool(self._waiting_activities(key, pin))

    def first_activity(self, key: QueueKey, pin: str, run_id: str) -> int | None:
        """Return the activity that waits longest, if it is of this run."""
        first = next(iter(self._waiting_activities(key, pin)), None)
        return first[1] if first is not None and first[0] == run_id else None

    def _waiting_activities(self, key: QueueKey, pin: str) -> dict[ActivityKey, Millis]:
        queue = self._queues.get(key)
        lane = queue.lanes.get(pin) if queue is not None else None
        return lane.activities if lane is not None else {}

    def drop_query(self, key: QueueKey, query: int) -> None:
        """A question is no longer asked."""
        self._drop(key, _queries, query)

    def _add(
        self,
        key: QueueKey,
        pin: str,
        kind: Callable[[Lane], dict[_Key, Millis]],
        each: _Key,
    ) -> None:
        queue = self._queue(key)
        since = self._now()
        for other, lane in queue.lanes.items():
            if other != pin:
                # Its pin is another than when it was added.
                since = kind(lane).pop(each, since)
        kind(queue.lane(pin)).setdefault(each, since)
        self.pump(key)

    def _drop(self, key: QueueKey, kind: Callable[[Lane], dict[_Key, Millis]], each: _Key) -> None:
        queue = self._queues.get(key)
        if queue is None:
            return
        for lane in queue.lanes.values():
            kind(lane).pop(each, None)
        self._forget(queue)

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
            await self._serve(queue, _queries, lambda s: s.is_open, self.offer_query)
            await self._serve(queue, _runs, lambda s: s.has_workflow_slot, self.offer_run)
            await self._serve(
                queue, _activities, lambda s: s.has_activity_slot, self.offer_activity
            )
        except StoreError as error:
            log.warning("task queue %s waits for the store: %s", queue.key[1], error)
            asyncio.get_running_loop().call_later(STORE_RETRY_DELAY, self.pump, queue.key)
        finally:
            queue.pumping = None
            self._forget(queue)

    async def _serve(
        self,
        queue: TaskQueue,
        kind: Callable[[Lane], dict[_Key, Millis]],
        fits: Callable[[Session], bool],
        offer: Callable[[_Key, Millis], Awaitable[None]],
    ) -> None:
        """Offer work of one kind, one of each lane in turn, while somebody can take it."""

        def can_take(pin: str) -> bool:
            return any(fits(each) and self.lets(each, pin) for each in queue.sessions)

        found = True
        while found:
            found = False
            for pin, lane in tuple(queue.lanes.items()):
                if kind(lane) and can_take(pin):
                    found = True
                    await self._offer(kind(lane), offer)

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
        if queue.pumping is not None:
            return
        for pin in [pin for pin, lane in queue.lanes.items() if not lane.backlog]:
            del queue.lanes[pin]
        if queue.is_forgotten:
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
            for pin, lane in queue.lanes.items():
                has_workers = any(self.lets(session, pin) for session in queue.sessions)
                found["workflow"].add(lane.runs, now, has_workers=has_workers)
                found["activity"].add(lane.activities, now, has_workers=has_workers)
                found["query"].add(lane.queries, now, has_workers=has_workers)
        return found

    def describe(self, namespace: str) -> tuple[QueueDescription, ...]:
        """Return what is known of the queues of ``namespace`` (of all, when empty)."""
        return tuple(
            self.describe_queue(key)
            for key in sorted(self._queues.keys() | self._versions.queues)
            if namespace in ("", key[0])
        )

    def describe_queue(self, key: QueueKey) -> QueueDescription:
        """Return what is known of one queue, which may be nothing."""
        queue = self._queues.get(key) or TaskQueue(key)
        waiting = {
            pin: (*lane.runs.values(), *lane.activities.values(), *lane.queries.values())
            for pin, lane in queue.lanes.items()
        }
        return describe_queue(key, waiting, queue.sessions, self._versions)


def _runs(lane: Lane) -> dict[str, Millis]:
    return lane.runs


def _activities(lane: Lane) -> dict[ActivityKey, Millis]:
    return lane.activities


def _queries(lane: Lane) -> dict[int, Millis]:
    return lane.queries
