"""Running workflows' code: handing out tasks, taking reports, telling what was recorded.

At most one worker holds a run's task. While it does, everything recorded for the run is sent
to it; when it gives the task back and there is more to tell, the next task goes to the same
worker, in the same breath, with the new events only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count

from perdure.protocol import messages as msg
from perdure.protocol.events import HistoryEvent, WorkflowTerminated, WorkflowTimedOut
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis
from perdure_operator.engine import decisions
from perdure_operator.engine.errors import RefusedError
from perdure_operator.engine.transitions import Transition
from perdure_operator.server.alarms import Alarm, Alarms
from perdure_operator.server.dispatching import Dispatcher
from perdure_operator.server.keeping import HeldTask, HotRun, Keeper
from perdure_operator.server.limits import oversize_command
from perdure_operator.server.metrics import Metrics
from perdure_operator.server.sessions import Session
from perdure_operator.server.versions import QueueKey
from perdure_operator.store.port import StoreError

log = logging.getLogger(__name__)

FIRST_BACKOFF: Millis = 1_000
MAX_BACKOFF: Millis = 60_000
_ENDED_FROM_OUTSIDE = (WorkflowTerminated, WorkflowTimedOut)


class WorkflowTasks:
    """The workflow tasks of one server."""

    def __init__(
        self,
        keeper: Keeper,
        dispatcher: Dispatcher,
        alarms: Alarms,
        metrics: Metrics,
        now: Callable[[], Millis],
    ) -> None:
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._alarms = alarms
        self._metrics = metrics
        self._now = now
        self._numbers = count(1)
        self._handing: set[asyncio.Task[None]] = set()
        self.on_rest: Callable[[HotRun], None] = lambda _hot: None
        """Told when a run's task is over and nothing is left to tell its code."""

    # --- handing out -----------------------------------------------------------------------

    def after_commit(self, hot: HotRun, _transition: Transition) -> None:
        """Tell the run's worker what was recorded, or find one for it."""
        if hot.run.is_closed:
            self._dispatcher.drop_run(_queue_of(hot), hot.run_id)
        if hot.task is not None:
            if hot.run.is_closed:
                self._drop(hot, f"the run is {hot.run.status.value}")
            else:
                self._tell(hot)
        elif isinstance(hot.run.closing, _ENDED_FROM_OUTSIDE) and hot.sticky is not None:
            hot.sticky.send(msg.EvictRun(run_id=hot.run_id))
            hot.sticky = None
        self.advance(hot)

    def advance(self, hot: HotRun, since: Millis | None = None) -> None:
        """Hand out the run's task if there is one and nobody has it.

        Args:
            hot: The run.
            since: Since when the task has waited for a worker; only now by default.
        """
        if hot.task is not None or hot.broken or hot.commits or hot.run.is_suspended:
            return
        if not hot.run.needs_task:
            self.on_rest(hot)
            return
        if hot.not_before > self._now():
            return
        key, session = _queue_of(hot), hot.sticky
        if session is None or not session.has_workflow_slot or not self._lets(session, hot):
            session = self._dispatcher.pick_for_workflow(key, hot.run.start.workflow_type, hot.pin)
        if session is None:
            self._dispatcher.add_run(key, hot.run_id, hot.pin)
        else:
            self._metrics.observe_wait("workflow", 0 if since is None else self._now() - since)
            self._hand(hot, session)

    def _lets(self, session: Session, hot: HotRun) -> bool:
        return self._dispatcher.lets(session, hot.pin)

    def on_new_version(self, key: QueueKey) -> None:
        """Another version is the current one: code that kept failing may be mended in it."""
        for hot in self._keeper.failing:
            if _queue_of(hot) == key:
                hot.strays, hot.not_before = True, 0
                self.advance(hot)

    async def offer(self, run_id: str, since: Millis) -> None:
        """A worker has a slot for this run, which has waited for one."""
        hot = await self._keeper.get(run_id)
        if hot is not None:
            self.advance(hot, since)

    def _hand(self, hot: HotRun, session: Session) -> None:
        held = HeldTask(next(self._numbers), session, self._now())
        hot.task = held
        session.held_tasks[held.id] = hot
        complete = hot.sticky is not session
        after = 0 if complete else hot.told
        recent = self._keeper.recent(hot, after)
        if recent is not None:
            self._send_task(hot, held, recent, complete=complete)
        else:
            task = asyncio.get_running_loop().create_task(
                self._read_and_send(hot, held, after, complete=complete)
            )
            self._handing.add(task)
            task.add_done_callback(self._handing.discard)

    async def _read_and_send(
        self, hot: HotRun, held: HeldTask, after: int, *, complete: bool
    ) -> None:
        try:
            events = await self._keeper.events_after(hot, after)
        except StoreError as error:
            log.warning("run %s waits for the store: %s", hot.run_id, error)
            if hot.task is held:
                self._release(hot)
                self._alarms.set(self._now() + FIRST_BACKOFF, Alarm.TASK, hot.run_id)
            return
        if hot.task is held:
            self._send_task(hot, held, events, complete=complete)
            self._tell(hot)  # what was recorded while it was being read

    def _send_task(
        self, hot: HotRun, held: HeldTask, events: list[HistoryEvent], *, complete: bool
    ) -> None:
        hot.sticky = held.session
        held.is_sent = True
        hot.told = events[-1].id if events else hot.told
        held.session.send(
            msg.WorkflowTask(
                task=held.id,
                run=hot.run.ref,
                started=self._now(),
                events=tuple(events),
                complete=complete,
                attempt=hot.failures + 1,
            )
        )

    def _tell(self, hot: HotRun) -> None:
        held = hot.task
        if held is None or not held.is_sent:
            return  # The task is still being read from the store: it will bring everything.
        events = self._keeper.recent(hot, hot.told)
        assert events is not None, "what a worker has not been told is always in memory"
        has_reported = held.told_number != held.acknowledged
        if hot.run.is_suspended:
            # What it has finished is recorded; it is not told so, for then it would go on.
            if has_reported:
                self._drop(hot, "the run is suspended")
            return
        if not events and not has_reported:
            return
        hot.told = events[-1].id if events else hot.told
        held.told_number = held.acknowledged
        held.session.send(
            msg.TaskEvents(task=held.id, number=held.acknowledged, events=tuple(events))
        )

    # --- reports ---------------------------------------------------------------------------

    async def on_progress(self, session: Session, report: msg.TaskProgress) -> None:
        """A worker says what a task has come to."""
        hot = session.held_tasks.get(report.task)
        held = hot.task if hot is not None else None
        if hot is None or held is None:
            self._metrics.refusals.labels("late_task").inc()
            session.send(msg.TaskRefused(task=report.task, reason="the task is no longer yours"))
            return
        too_large = oversize_command(report)
        if too_large is not None:
            self._failed(hot, "PayloadTooLarge", too_large)
            session.send(msg.TaskRefused(task=report.task, reason=too_large.message))
            return
        try:
            events = decisions.record_progress(
                hot.run,
                report,
                self._now(),
                identity=session.identity,
                build_id=session.hello.build_id,
            )
        except RefusedError as refusal:
            self._metrics.refusals.labels("task").inc()
            self._drop(hot, str(refusal))
            self.advance(hot)
            return
        hot.failures, hot.failure_cause, hot.failure = 0, "", None
        hot.strays = False

        def recorded() -> None:
            held.acknowledged = report.number

        if report.done:
            self._release(hot, "done")
        if events:
            self._keeper.record(hot, events, done=recorded)
        else:
            recorded()
            self._tell(hot)
            self.advance(hot)

    async def on_failed(self, session: Session, report: msg.TaskFailed) -> None:
        """A worker could not run the code."""
        hot = session.held_tasks.get(report.task)
        if hot is not None:
            self._failed(hot, report.cause, report.failure)

    def _failed(self, hot: HotRun, cause: str, failure: Failure) -> None:
        held = hot.task
        assert held is not None
        self._release(hot, "failed")
        self._metrics.observe_task_failure(cause)
        hot.sticky = None
        hot.failures += 1
        # Once may be bad luck. Then its own version and the current one take turns: one that is
        # broken would else never get on, and a newer one that does not fit is not to keep it.
        hot.strays = hot.failures > 1 and not hot.strays
        hot.failure_cause, hot.failure = cause, failure
        backoff = min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(hot.failures - 1, 10))
        hot.not_before = self._now() + backoff
        self._alarms.set(hot.not_before, Alarm.TASK, hot.run_id)
        log.warning(
            "run %s: its code failed (%s, attempt %d, again in %d s): %s",
            hot.run_id, cause, hot.failures, backoff // 1000, failure.message,
        )  # fmt: skip
        session = held.session
        events = decisions.fail_task(
            hot.run, cause, failure, session.identity, session.hello.build_id
        )
        if events:
            self._keeper.record(hot, events)
        self.on_rest(hot)

    def on_evicted(self, session: Session, run_id: str) -> None:
        """A worker dropped a run from its cache; if it holds the run's task it gives it back.

        A task with new events only may be on its way to it just now: it cannot do anything with
        that one, so the task begins anew, with the whole history.
        """
        hot = self._keeper.peek(run_id)
        if hot is None or hot.sticky is not session:
            return
        hot.sticky = None
        if hot.task is not None:
            self._release(hot)
            self.advance(hot)

    # --- losing ----------------------------------------------------------------------------

    def on_session_lost(self, session: Session) -> None:
        """A worker is gone: others go on with its runs."""
        for hot in list(session.held_tasks.values()):
            self._release(hot)
            hot.sticky = None
            self.advance(hot)

    def on_broken(self, hot: HotRun) -> None:
        """The run in memory is worthless: its worker must forget it as well."""
        if hot.task is not None:
            self._drop(hot, "nothing could be recorded")
        elif hot.sticky is not None:
            hot.sticky.send(msg.EvictRun(run_id=hot.run_id))

    def _drop(self, hot: HotRun, reason: str) -> None:
        held = hot.task
        assert held is not None
        self._release(hot)
        hot.sticky = None
        held.session.send(msg.TaskRefused(task=held.id, reason=reason))

    def _release(self, hot: HotRun, outcome: str = "dropped") -> None:
        held = hot.task
        if held is None:
            return
        hot.task = None
        self._metrics.observe_task(outcome, self._now() - held.since)
        held.session.held_tasks.pop(held.id, None)
        self._dispatcher.pump((held.session.namespace, held.session.task_queue))


def _queue_of(hot: HotRun) -> QueueKey:
    return (hot.run.ref.namespace, hot.run.start.task_queue)
