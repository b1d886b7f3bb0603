"""Hot runs: loading, changing, and what is told when a change is on disk.

:class:`Keeper` is the only way to change a run. ``record`` lets events happen to the run in
memory at once, so that the next decision sees them, and tells the listeners only when the
transition is committed. If a commit fails, the run in memory is thrown away and read anew:
memory is never ahead of the disk for longer than a commit takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure.protocol import events as ev
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine import attempts, decisions, item_rows, recording
from perdure_operator.engine.batching import ItemClosed
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import OpenActivity, RunRow, Transition
from perdure_operator.server.committing import Committer
from perdure_operator.server.metrics import Metrics
from perdure_operator.server.settling import awaited
from perdure_operator.store.port import Outcome, Store, StoreCorruptError, StoreError

if TYPE_CHECKING:
    from perdure_operator.server.queries import Question
    from perdure_operator.server.sessions import Session

log = logging.getLogger(__name__)

CAPACITY = 10_000
TAIL = 1_000
"""Events kept in memory behind a run: what a worker that has the run cached may lack."""
LARGE = 1024 * 1024
"""Of a closed run with more bytes of history than this, memory keeps no events."""
RECOVERY_DELAY = 1.0


@dataclass(slots=True, eq=False)
class HeldTask:
    """A workflow task in a worker's hands."""

    id: int
    session: Session
    since: Millis
    is_sent: bool = False
    """Whether the worker has been given it; until then its history is being read."""
    acknowledged: int = 0
    """Number of the last report that is on disk."""
    told_number: int = 0
    """Number of the last report that the worker knows to be on disk."""


@dataclass(slots=True, eq=False)
class HotRun:
    """A run in memory, and who works on it."""

    run: Run
    durable: int = 0
    """The last event on disk."""
    tail: list[HistoryEvent] = field(default_factory=list)
    """The newest events on disk, without gaps."""
    commits: int = 0
    """Transitions on their way to the disk."""
    status: RunStatus | None = None
    """As it is on disk; ``None`` before the run is."""
    broken: bool = False
    """A commit failed: what is here is worthless."""
    task: HeldTask | None = None
    sticky: Session | None = None
    """The worker that has it cached."""
    told: int = 0
    """The last event sent to ``sticky``."""
    failures: int = 0
    """Times in a row that its code failed."""
    failure_cause: str = ""
    failure: Failure | None = None
    """Of the last time; history has only the first."""
    not_before: Millis = 0
    """When its failed code is tried again."""
    strays: bool = False
    """Its code keeps failing on its version: the next try is the current version's."""
    counted: str = ""
    """The version that it is counted for as pinned to."""
    queries: list[Question] = field(default_factory=list)
    """Questions that wait for the task to be over."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.ref.run_id

    @property
    def pin(self) -> str:
        """The version that its code is to be run by; empty: the current one."""
        return "" if self.strays else self.run.build_id

    @property
    def is_idle(self) -> bool:
        """Whether it can be dropped from memory without loss."""
        if self.task or self.commits or self.queries or self.failures:
            return False
        # Of a running attempt, memory knows heartbeats that are not worth a commit.
        return not any(each.is_started for each in self.run.activities.values())


class LostError(Exception):
    """A change was not recorded: the store failed, or somebody else changed the run."""

    def __init__(self, outcome: Outcome | StoreError) -> None:
        self.outcome = outcome
        super().__init__(
            f"nothing was recorded: {outcome}"
            if isinstance(outcome, StoreError)
            else f"the run changed meanwhile ({outcome.value})"
        )


Listener = Callable[[HotRun, Transition], None]
AssignTo = Callable[[HotRun, ev.ActivityScheduled, OpenActivity], OpenActivity]


class Keeper:
    """The hot runs of one server."""

    def __init__(
        self, store: Store, committer: Committer, metrics: Metrics, now: Callable[[], Millis]
    ) -> None:
        self._store = store
        self._committer = committer
        self._metrics = metrics
        self._now = now
        self._born = now()
        self._hot: OrderedDict[str, HotRun] = OrderedDict()
        self._loading: dict[str, asyncio.Task[HotRun | None]] = {}
        self._recoveries: set[asyncio.Task[None]] = set()
        self.damaged: dict[str, str] = {}
        """Runs whose history cannot be read, and why."""
        self.listeners: list[Listener] = []
        """Told of each transition on disk, in this order."""
        self.recover: Callable[[HotRun], Awaitable[None]] | None = None
        """Takes up a run that was read anew after a failed commit."""
        self.on_broken: Callable[[HotRun], None] = lambda _hot: None
        self.assign: AssignTo = lambda _hot, _scheduled, activity: activity

    # --- at hand ---------------------------------------------------------------------------

    @property
    def failing(self) -> list[HotRun]:
        """The runs whose code failed when it was last run."""
        return [hot for hot in self._hot.values() if hot.failures]

    def peek(self, run_id: str) -> HotRun | None:
        """Return the run if it is in memory."""
        return self._hot.get(run_id)

    async def get(self, run_id: str) -> HotRun | None:
        """Return the run, from memory or read from the store; ``None`` if there is none."""
        hot = self._hot.get(run_id)
        if hot is not None:
            self._hot.move_to_end(run_id)
            return hot
        loading = self._loading.get(run_id)
        if loading is None:
            loading = asyncio.get_running_loop().create_task(self._load(run_id))
            self._loading[run_id] = loading
            loading.add_done_callback(lambda _: self._loading.pop(run_id, None))
        return await asyncio.shield(loading)

    def add(self, run: Run) -> HotRun:
        """Take in a run that does not exist yet."""
        hot = HotRun(run)
        self._keep(hot)
        return hot

    async def _load(self, run_id: str) -> HotRun | None:
        row = await self._store.get_run(run_id)
        if row is None:
            return None
        try:
            hot = await self._read(row)
        except (BrokenHistoryError, StoreCorruptError) as error:
            # Only this run is affected: it is left as it is, and the others go on.
            log.critical("run %s is left alone, its history is damaged: %s", run_id, error)
            self.damaged[run_id] = str(error)
            return None
        self._keep(hot)
        return hot

    async def _read(self, row: RunRow) -> HotRun:
        ref = RunRef(row.namespace, row.workflow_id, row.run_id)
        history = await self._store.read_history(row.run_id)
        run = fold(Run(ref=ref, watched=row.watched, version=row.version), history)
        if run.last_event != row.last_event or run.digest != row.digest:
            raise BrokenHistoryError(
                f"run {row.run_id}: the history ends with event {run.last_event} and digest "
                f"{run.digest.hex()}, recorded are {row.last_event} and {row.digest.hex()}"
            )
        for activity in await self._store.read_activities(row.run_id):
            run.activities[activity.seq] = attempts.revive(
                run.asked(activity.seq), activity, self._born
            )
        if run.batches:
            item_rows.take_up(run, await self._store.read_items(row.run_id))
        hot = HotRun(run, durable=run.last_event, tail=history[-TAIL:], status=row.status)
        hot.counted = row.build_id if row.closed is None else ""
        return hot

    def _keep(self, hot: HotRun) -> None:
        self._hot[hot.run_id] = hot
        if len(self._hot) > CAPACITY:
            self._drop_idle()
        self._metrics.hot_runs.set(len(self._hot))

    def _drop_idle(self) -> None:
        for run_id, hot in list(self._hot.items())[: CAPACITY // 10]:
            if hot.is_idle:
                del self._hot[run_id]
                hot.broken = True

    # --- changes ---------------------------------------------------------------------------

    def record(
        self,
        hot: HotRun,
        events: Sequence[Event],
        *,
        attempts_changed: Iterable[OpenActivity] = (),
        items_closed: Sequence[ItemClosed] = (),
        done: Callable[[], None] = lambda: None,
        lost: Callable[[LostError], None] = lambda _error: None,
    ) -> None:
        """Let ``events`` happen to the run, durably.

        Args:
            hot: Changed in memory at once.
            events: As decided on the run as it is.
            attempts_changed: See :func:`perdure_operator.engine.recording.record`.
            items_closed: Likewise.
            done: Called when it is on disk, before the listeners are.
            lost: Called instead when it could not be recorded.
        """
        reason = decisions.over_limit(hot.run, events)
        if reason and not (events and isinstance(events[-1], ev.CLOSING_EVENTS)):
            log.error("terminating run %s: %s", hot.run_id, reason)
            events = [ev.WorkflowTerminated(reason=reason)]
            attempts_changed, items_closed = (), ()
        try:
            transition = recording.record(
                hot.run,
                events,
                self._now(),
                attempts_changed=attempts_changed,
                items_closed=items_closed,
                assign=lambda scheduled, activity: self.assign(hot, scheduled, activity),
            )
        except BrokenHistoryError as broken:
            # Our own mistake; what was decided is dropped, and the run is read anew.
            log.critical("run %s: %s", hot.run_id, broken, exc_info=broken)
            error = LostError(Outcome.CONFLICT)
            self._lose(hot, error)
            lost(error)
            return
        self._submit(hot, transition, done=done, lost=lost)

    def _submit(
        self,
        hot: HotRun,
        transition: Transition,
        *,
        done: Callable[[], None],
        lost: Callable[[LostError], None],
    ) -> None:
        hot.commits += 1

        def finish(outcome: Outcome | StoreError) -> None:
            hot.commits -= 1
            if outcome is Outcome.COMMITTED:
                self._committed(hot, transition)
                done()
                for listener in self.listeners:
                    listener(hot, transition)
            else:
                error = LostError(outcome)
                self._lose(hot, error)
                lost(error)

        self._committer.submit(transition, finish, is_void=lambda: hot.broken)

    async def change(
        self,
        hot: HotRun,
        events: Sequence[Event],
        *,
        attempts_changed: Iterable[OpenActivity] = (),
    ) -> None:
        """Record, and wait until it is on disk.

        Raises:
            LostError: nothing of it was recorded.
        """
        if not events and not attempts_changed:
            return
        future, settle = awaited()
        self.record(hot, events, attempts_changed=attempts_changed, done=settle, lost=settle)
        await future

    async def take_in(
        self, run: Run, transition: Transition, *, before: HotRun | None = None
    ) -> None:
        """Have a run that was made elsewhere, and wait until it is on disk.

        ``before`` is what it has been here so far, if it has: nobody goes on with that.

        Raises:
            LostError: nothing of it was recorded.
        """
        future, settle = awaited()
        if before is not None:
            before.broken = True
            self.on_broken(before)
        hot = self.add(run)
        if before is not None:
            hot.durable, hot.status, hot.counted = before.durable, before.status, before.counted
        # Who retries a run has mostly mended its code: the current version is the first to try.
        hot.strays = run.start.retried is not None
        self._submit(hot, transition, done=settle, lost=settle)
        await future

    def _committed(self, hot: HotRun, transition: Transition) -> None:
        row = transition.row
        self._metrics.observe_run(row.kind, hot.status, row.status)
        hot.durable, hot.status = row.last_event, row.status
        hot.tail.extend(transition.events)
        # What the worker that holds the task has not been told stays, however much it is.
        untold = hot.durable - hot.told if hot.task is not None else 0
        surplus = len(hot.tail) - max(TAIL, untold)
        if surplus > TAIL:
            del hot.tail[:surplus]
        if row.closed is not None and row.history_bytes > LARGE:
            hot.tail.clear()
        for recorded in transition.events:
            self._metrics.events.labels(ev.event_name(recorded.event)).inc()

    def _lose(self, hot: HotRun, error: LostError) -> None:
        """Forget the run as it is in memory, and read it anew when the store answers again."""
        if hot.broken:
            return
        hot.broken = True
        log.warning("run %s: %s", hot.run_id, error)
        if self._hot.get(hot.run_id) is hot:
            del self._hot[hot.run_id]
        self.on_broken(hot)
        if error.outcome is not Outcome.ALREADY_OPEN:
            task = asyncio.get_running_loop().create_task(self._recover(hot.run_id))
            self._recoveries.add(task)
            task.add_done_callback(self._recoveries.discard)

    async def _recover(self, run_id: str) -> None:
        while True:
            await asyncio.sleep(RECOVERY_DELAY)
            try:
                hot = await self.get(run_id)
                if hot is not None and self.recover is not None:
                    await self.recover(hot)
            except StoreError as error:
                log.warning("run %s waits for the store: %s", run_id, error)
            else:
                return

    async def events_after(self, hot: HotRun, after: int) -> list[HistoryEvent]:
        """Return the run's events on disk behind ``after``."""
        recent = self.recent(hot, after)
        if recent is not None:
            return recent
        return await self._store.read_history(hot.run_id, after=after)

    def recent(self, hot: HotRun, after: int) -> list[HistoryEvent] | None:
        """Return the same if memory has them all."""
        if after >= hot.durable:
            return []
        if not hot.tail or hot.tail[0].id > after + 1:
            return None
        return hot.tail[after + 1 - hot.tail[0].id :]

    async def close(self) -> None:
        """Stop what is under way in the background."""
        for task in tuple(self._recoveries):
            task.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)
