"""The whole server but for HTTP: the parts put together, and the workers' comings and goings.

A worker that disconnects has a short grace to come back under the same id and go on with its
attempts; one that is silent for the lease's time has lost them. The same goes for attempts
that were running when the server itself was stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.protocol import messages as msg
from perdure.protocol.messages import AttemptRef, Hello
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine import decisions, placing
from perdure_operator.engine.transitions import RUN_TIMEOUT_SEQ, OpenActivity, Transition
from perdure_operator.server.activity_tasks import ActivityTasks
from perdure_operator.server.alarms import Alarm, Alarms
from perdure_operator.server.changes import Changes
from perdure_operator.server.committing import Committer
from perdure_operator.server.dispatching import Dispatcher
from perdure_operator.server.errors import VerbError
from perdure_operator.server.item_reports import ItemReports
from perdure_operator.server.keeping import HotRun, Keeper
from perdure_operator.server.metrics import Metrics
from perdure_operator.server.queries import Queries
from perdure_operator.server.sessions import Session
from perdure_operator.server.versions import VersionBook
from perdure_operator.server.workflow_tasks import WorkflowTasks
from perdure_operator.store.port import QueueVersions, Store, StoreError

log = logging.getLogger(__name__)

LEASE: Millis = 8_000
GRACE: Millis = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How a host treats its workers."""

    lease: Millis = LEASE
    """Silence after which a worker has lost what it holds."""
    grace: Millis = GRACE
    """Time to come back after a broken connection."""
    release_leases: bool = False
    """At the start, take it that no worker of before is alive."""
    has_operator: bool = True
    """Whether somebody makes pods: else what is to have its own is run by its queue's workers."""
    data_folder: Path | None = None
    """Where the store keeps its data, if that is on a disk of this machine."""


class Host:
    """Runs, workers and time, over one store."""

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        settings: HostSettings | None = None,
    ) -> None:
        self.settings = settings or HostSettings()
        self.store = store
        self.now = now
        self.new_id = new_id
        self.metrics = Metrics()
        self.changes = Changes()
        self.committer = Committer(store, self.metrics)
        self.keeper = Keeper(store, self.committer, self.metrics, now)
        self.versions = VersionBook()
        self.dispatcher = Dispatcher(now, self.versions)
        self.alarms = Alarms(store, now)
        parts = (self.keeper, self.dispatcher, self.alarms, self.metrics, now)
        self.workflow_tasks = WorkflowTasks(*parts)
        self.activity_tasks = ActivityTasks(*parts, has_operator=self.settings.has_operator)
        self.item_reports = ItemReports(self.keeper, self.dispatcher, self.activity_tasks)
        self.queries = Queries(self.keeper, self.dispatcher)
        self._connect_parts()
        self.is_ready = False
        self.store_id = ""
        """Which store it is, once it is open."""
        self._sessions: dict[str, Session] = {}
        self._absent: dict[str, set[AttemptRef]] = {}
        """Attempts of workers that are not connected, by worker."""
        self._lease_watch: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    def _connect_parts(self) -> None:
        self.keeper.assign = self.activity_tasks.assign
        self.keeper.listeners = [
            self._set_timers,
            self.versions.after_commit,
            self.activity_tasks.after_commit,
            self.workflow_tasks.after_commit,
            self._tell_waiters,
        ]
        self.keeper.recover = self._resume
        self.keeper.on_broken = self._on_broken
        self.dispatcher.offer_run = self.workflow_tasks.offer
        self.dispatcher.offer_activity = self.activity_tasks.offer
        self.dispatcher.offer_query = self.queries.offer
        self.workflow_tasks.on_rest = self.queries.on_rest
        self.alarms.ring = self._ring

    # --- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and take up whatever was under way.

        Raises:
            StoreError: the store cannot be used; the message says why.
        """
        await self.store.open()
        self.store_id = await self.store.identity()
        open_runs = await self.store.count_open_runs()
        for status in filter(lambda each: each.is_open, RunStatus):
            self.metrics.runs.labels(status.value).set(open_runs.get(status, 0))
        self.versions.load(
            await self.store.declared_versions(), await self.store.count_pinned_runs()
        )
        for row in await self.store.pending_runs():
            self.dispatcher.add_run((row.namespace, row.task_queue), row.run_id, row.build_id)
        grace = 0 if self.settings.release_leases else self.settings.lease
        begun = await self.store.started_activities()
        for worker_id, refs in _by_worker((each.run_id, each.activity) for each in begun).items():
            self._await_worker(worker_id, refs, grace)
        await self.alarms.start()
        self.is_ready = True

    async def stop(self) -> None:
        """Write what was submitted, wake whoever waits, and close the store."""
        self.is_ready = False
        self.changes.end()
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.alarms.close()
        await self.keeper.close()
        await self.committer.flush()
        await self.store.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- workers ---------------------------------------------------------------------------

    @property
    def sessions(self) -> list[Session]:
        """The workers that are connected."""
        return list(self._sessions.values())

    async def connect(self, session: Session) -> None:
        """A worker is there, perhaps again."""
        hello = session.hello
        before = self._sessions.get(session.worker_id)
        if before is not None:
            before.break_off()
            self.disconnect(before)
        if self._lease_watch is None or self._lease_watch.done():
            self._lease_watch = self._spawn(self._watch_leases())
        self._sessions[session.worker_id] = session
        self.metrics.sessions.set(len(self._sessions))
        absent = self._absent.pop(session.worker_id, set())
        session.send(msg.Welcome(lease=self.settings.lease))
        try:
            await self.activity_tasks.adopt(session, hello.held)
            await self.activity_tasks.lose(session.worker_id, absent - set(hello.held))
        except StoreError:
            self._await_worker(session.worker_id, absent, self.settings.grace)
            raise
        self.dispatcher.join(session)

    def disconnect(self, session: Session, reason: str = "closed") -> None:
        """A worker's connection is broken."""
        if not session.is_open:
            return
        session.is_open = False
        self.metrics.sessions_lost.labels(reason).inc()
        self.dispatcher.leave(session)
        if self._sessions.get(session.worker_id) is session:
            del self._sessions[session.worker_id]
        self.metrics.sessions.set(len(self._sessions))
        self.workflow_tasks.on_session_lost(session)
        self.queries.on_session_lost(session)
        self._await_worker(session.worker_id, session.held_attempts, self.settings.grace)

    async def on_message(self, session: Session, message: msg.FromWorker) -> None:
        """A worker says something."""
        session.last_heard = self.now()
        match message:
            case msg.TaskProgress():
                await self.workflow_tasks.on_progress(session, message)
            case msg.ActivityReport():
                await self.item_reports.on_report(session, message)
            case msg.Ping():
                session.send(msg.Pong())
            case msg.ActivityHeartbeat():
                await self.activity_tasks.on_heartbeat(session, message)
            case msg.TaskFailed():
                await self.workflow_tasks.on_failed(session, message)
            case msg.QueryAnswer():
                self.queries.on_answer(session, message)
            case msg.RunEvicted():
                self.workflow_tasks.on_evicted(session, message.run_id)
                self.queries.on_evicted(session, message.run_id)
            case msg.Drain():
                session.is_draining = True
            case Hello():
                session.send(msg.Refused(reason="Hello comes once, at the beginning"))
                session.break_off()

    def _await_worker(self, worker_id: str, refs: Set[AttemptRef], delay: Millis) -> None:
        """A worker is not there that has these attempts: it comes back in time, or loses them."""
        if refs:
            absent = self._absent[worker_id] = {*refs, *self._absent.get(worker_id, ())}
            self._spawn(self._lose_later(worker_id, absent, delay))

    async def _lose_later(self, worker_id: str, refs: set[AttemptRef], delay: Millis) -> None:
        await asyncio.sleep(delay / 1000)
        if self._absent.get(worker_id) is not refs:
            return  # It came back; if it has gone again, it is waited for anew.
        del self._absent[worker_id]
        while True:
            try:
                await self.activity_tasks.lose(worker_id, refs)
            except StoreError as error:
                log.warning("attempts of lost worker %s wait for the store: %s", worker_id, error)
                await asyncio.sleep(1)
            else:
                return

    async def _watch_leases(self) -> None:
        """Look now and then who is silent, for as long as anybody is connected."""
        loop, pause = asyncio.get_running_loop(), self.settings.lease / 4000
        while self._sessions:
            began = loop.time()
            await asyncio.sleep(pause)
            if loop.time() - began > 2 * pause:
                # It was the server that stood still: what workers said meanwhile is still unread.
                for session in self._sessions.values():
                    session.last_heard = self.now()
            silent_since = self.now() - self.settings.lease
            for session in list(self._sessions.values()):
                if session.last_heard < silent_since:
                    log.warning("worker %s was silent for its whole lease", session.identity)
                    self.disconnect(session, "silent")
                    session.break_off()
                    self._await_worker(session.worker_id, session.held_attempts, 0)

    # --- versions --------------------------------------------------------------------------

    async def declare_versions(self, versions: QueueVersions) -> None:
        """Have these versions of a task queue from now on.

        Raises:
            StoreError: nothing has changed.
        """
        key = (versions.namespace, versions.task_queue)
        before = self.versions.of(key)
        if (before.current, before.kept) == (versions.current, versions.kept):
            return
        await self.store.declare_versions(versions)
        self.versions.declare(versions)
        if before.current != versions.current:
            self.workflow_tasks.on_new_version(key)
        self.dispatcher.pump(key)

    # --- runs ------------------------------------------------------------------------------

    async def settle(self, hot: HotRun) -> None:
        """Wait until what is known of a run is on disk: memory may be ahead of it.

        Raises:
            VerbError: it was not recorded.
        """
        if hot.commits:
            await self.committer.flush()
        if hot.broken:
            raise VerbError("Unavailable", "what was known of the run was not recorded: try again")

    def _set_timers(self, hot: HotRun, transition: Transition) -> None:
        for timer in transition.put_timers:
            self.alarms.set(timer.fires, Alarm.TIMER, hot.run_id, timer.seq)

    def _tell_waiters(self, hot: HotRun, transition: Transition) -> None:
        self.changes.tell(
            hot.run_id, closed=transition.row.closed is not None, watched=hot.run.watched
        )

    async def _ring(self, alarm: Alarm, run_id: str, seq: int, due: Millis) -> None:
        match alarm:
            case Alarm.TIMER:
                hot = await self.keeper.get(run_id)
                events = decisions.fire_timer(hot.run, seq, due) if hot is not None else []
                if hot is not None and events:
                    self.keeper.record(hot, events)
            case Alarm.ACTIVITY:
                await self.activity_tasks.look(run_id, seq)
            case Alarm.TASK:
                await self.workflow_tasks.offer(run_id, self.now())

    def _on_broken(self, hot: HotRun) -> None:
        self.workflow_tasks.on_broken(hot)
        self.activity_tasks.on_broken(hot)
        self.queries.on_broken(hot)

    async def _resume(self, hot: HotRun) -> None:
        for seq, started in hot.run.timers.items():
            self.alarms.set(started.fires, Alarm.TIMER, hot.run_id, seq)
        for timer in hot.run.batch_timers():
            self.alarms.set(timer.fires, Alarm.TIMER, hot.run_id, timer.seq)
        if hot.run.deadline is not None:
            self.alarms.set(hot.run.deadline, Alarm.TIMER, hot.run_id, RUN_TIMEOUT_SEQ)
        self._await_workers_of(hot)
        await self.activity_tasks.resume(hot)
        self.workflow_tasks.advance(hot)

    def _await_workers_of(self, hot: HotRun) -> None:
        """That an attempt ended, or its worker was lost, may be what could not be recorded."""
        begun = ((hot.run_id, each) for each in hot.run.activities.values() if each.is_started)
        for worker_id, refs in _by_worker(begun).items():
            # Those that it has, being connected, are not taken from it.
            self._await_worker(worker_id, refs, self.settings.lease)


def _by_worker(begun: Iterable[tuple[str, OpenActivity]]) -> dict[str, set[AttemptRef]]:
    """Return running attempts by who has them, as far as a session is behind them."""
    found: defaultdict[str, set[AttemptRef]] = defaultdict(set)
    for run_id, activity in begun:
        if not placing.is_taken(activity):
            found[activity.worker_id].add(AttemptRef(run_id, activity.seq, activity.attempt))
    return found
