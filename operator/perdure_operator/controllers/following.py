"""Following the server: which runs went on, and where there is work for workers.

Both are long polls that never end. What they tell becomes keys in the work queue; what they miss
while the server is away they are told at the next call, so nothing is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from perdure.protocol.verbs import (
    QueueDescription,
    QueuesRequest,
    RunChange,
    WatchRequest,
)
from perdure_operator.cluster import ACTIVITIES, WORKER_POOLS, WORKFLOWS, ObjectRef
from perdure_operator.controllers.activities.observing import ID_PREFIX
from perdure_operator.controllers.keys import RUNS, Key
from perdure_operator.controllers.lanes import Sink
from perdure_operator.controllers.server import ServerError
from perdure_operator.controllers.workqueue import Backoff
from perdure_operator.controllers.world import World

logger = logging.getLogger(__name__)

WAIT_MILLIS = 20_000
"""How long the server may keep a poll when there is nothing to tell."""

BACKOFF = Backoff(first=0.5, most=5.0)

QUEUES_INTERVAL = 0.1
"""At least between two looks at the task queues, in seconds: under load they change always."""

STRAY_DELAY = 0.5
"""How long the object is waited for that a run may belong to, in seconds."""

FIRST_STRAY_DELAY = 10.0
"""The same after a start of the operator, when all runs are told before the objects are listed."""


class Follower:
    """Tells the work queue what the server tells."""

    def __init__(
        self,
        world: World,
        queue: Sink,
        heard: Callable[[str], None] = lambda _what: None,
        *,
        namespace: str = "",
    ) -> None:
        self._world = world
        self._heard = heard
        self._queue = queue
        # Who may see one namespace only may ask for that one only.
        self._namespace = namespace

    async def follow_runs(self) -> None:
        """Have the objects looked at whose runs went on, for ever."""
        cursor, failures, store = 0, 0, ""
        while True:
            try:
                # Back again, it is not to wait for news: that it answers is news enough.
                wait = 0 if failures else WAIT_MILLIS
                request = WatchRequest(namespace=self._namespace, cursor=cursor, wait=wait)
                answer = await self._world.server.call(request)
            except ServerError as error:
                failures += 1
                # It may come back with another store, in which this cursor is ahead of all.
                cursor = 0
                await _pause("runs", error, failures)
                continue
            is_other = store not in {"", answer.store}
            if is_other:
                logger.warning("the server has another store than before: every run is looked at")
            if failures or is_other:
                # A store that is empty tells of no run, so whose run is lost is not told either.
                for key in self._world.roster:
                    self._queue.add(key)
            stray_delay = STRAY_DELAY if cursor else FIRST_STRAY_DELAY
            # Of another store the cursor is asked for from the beginning.
            cursor, failures, store = (0 if is_other else answer.cursor), 0, answer.store
            self._heard("runs")
            for change in answer.changes:
                self._notice_run(change, stray_delay=stray_delay)

    async def follow_queues(self) -> None:
        """Have the pools looked at whose task queues changed, for ever."""
        version, failures = 0, 0
        while True:
            try:
                request = QueuesRequest(
                    namespace=self._namespace, version=version, wait=WAIT_MILLIS
                )
                answer = await self._world.server.call(request)
            except ServerError as error:
                failures += 1
                version = 0
                self._world.queues.forget()
                await _pause("task queues", error, failures)
                continue
            version, failures = answer.version, 0
            self._heard("queues")
            self._notice_queues(answer.queues)
            await asyncio.sleep(QUEUES_INTERVAL)

    def _notice_run(self, change: RunChange, *, stray_delay: float) -> None:
        is_closed = not change.status.is_open
        for shown in self._world.shown.of_run(change.run_id):
            self._queue.add(shown, urgent=is_closed)
        key = self._world.roster.find(change.namespace, change.workflow_id)
        if key is None:
            self._notice_stray(change, delay=stray_delay)
            self._suspect(change)
            return
        if self._is_known(key, change):
            return
        # How it ended is what somebody waits for.
        self._queue.add(key, urgent=is_closed)

    def _notice_stray(self, change: RunChange, *, delay: float) -> None:
        """A watched run that no object stands for has activities with pods of their own."""
        if change.status.is_open:
            ref = ObjectRef(namespace=change.namespace, name=change.workflow_id)
            self._queue.add(Key(RUNS, ref), delay=delay)

    def _suspect(self, change: RunChange) -> None:
        """Have an object looked at that may be over no more: somebody has retried its run."""
        kind, name = WORKFLOWS, change.workflow_id
        if change.kind == "activity":
            kind, name = ACTIVITIES, name.removeprefix(ID_PREFIX)
        is_of_object = kind is WORKFLOWS or name != change.workflow_id
        if change.status.is_open and is_of_object:
            key = Key(kind, ObjectRef(namespace=change.namespace, name=name))
            self._world.roster.suspect(key)
            self._queue.add(key)

    def _is_known(self, key: Key, change: RunChange) -> bool:
        """Tell whether a change is the echo of what we asked for ourselves.

        What a workflow has come to is told by its events alone; of an activity attempts are told
        as well, which are none. A first event alone is the start, which only we ask for: whoever
        did is about to write so.
        """
        if change.kind != "workflow":
            return False
        return change.events == 1 or self._world.roster.has_seen(key, change.events)

    def _notice_queues(self, queues: tuple[QueueDescription, ...]) -> None:
        was_known = self._world.queues.is_known
        changes = self._world.queues.update(queues)
        if not was_known:
            # Pools whose queue is empty have waited for that to be known.
            for ref in self._world.pools.refs():
                self._queue.add(Key(WORKER_POOLS, ref))
        for before, after in changes:
            # From zero, somebody waits for every second of it.
            urgent = not before.backlog and after.backlog > 0 and not after.workers
            for ref in self._world.pools.on_queue(after.namespace, after.task_queue):
                self._queue.add(Key(WORKER_POOLS, ref), urgent=urgent)


async def _pause(what: str, error: ServerError, failures: int) -> None:
    delay = BACKOFF.delay(failures)
    # That the server is away is said once for all that ask it (:mod:`.outages`).
    is_told = failures > 1 or error.code == "Unavailable"
    level = logging.DEBUG if is_told else logging.WARNING
    logger.log(level, "%s are not followed: %s; trying again in %.1f s", what, error, delay)
    await asyncio.sleep(delay)
