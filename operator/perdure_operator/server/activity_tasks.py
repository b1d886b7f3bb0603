"""Activities' attempts: handing out, reports, heartbeats, timeouts, lost workers.

An attempt is begun in the commit that makes it known: when a worker has a slot at the moment
an activity is scheduled, scheduling and beginning are one commit, so that an activity costs
two. Its fencing token is run, seq and attempt number; a report with another one is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.items import is_item, item_of
from perdure.protocol.messages import AttemptRef
from perdure.protocol.payloads import Millis, Payloads
from perdure_operator.engine import attempts, batching, decisions, placing
from perdure_operator.engine.transitions import NEVER, OpenActivity, Transition
from perdure_operator.server.alarms import Alarm, Alarms
from perdure_operator.server.dispatching import ActivityKey, Dispatcher
from perdure_operator.server.keeping import HotRun, Keeper, LostError
from perdure_operator.server.limits import oversize, too_large
from perdure_operator.server.metrics import Metrics
from perdure_operator.server.sessions import Session
from perdure_operator.server.task_messages import activity_task
from perdure_operator.server.versions import QueueKey

log = logging.getLogger(__name__)


class ActivityTasks:
    """The activity attempts of one server."""

    def __init__(
        self,
        keeper: Keeper,
        dispatcher: Dispatcher,
        alarms: Alarms,
        metrics: Metrics,
        now: Callable[[], Millis],
        *,
        has_operator: bool = True,
    ) -> None:
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._alarms = alarms
        self._metrics = metrics
        self._now = now
        self._has_operator = has_operator
        self._holders: dict[AttemptRef, Session] = {}
        """Which session has an attempt."""
        self._unsent: set[AttemptRef] = set()
        """Begun, and on its way to the disk: not yet sent to the worker."""

    # --- beginning attempts ----------------------------------------------------------------

    def assign(
        self, hot: HotRun, scheduled: ev.ActivityScheduled, activity: OpenActivity
    ) -> OpenActivity:
        """Begin the first attempt if a worker has a slot for it right now."""
        key = (hot.run.ref.namespace, activity.task_queue)
        pin = _pin(hot, activity)
        if is_item(activity.seq) and self._dispatcher.has_waiting_activities(key, pin):
            return activity  # A batch's items begin in their order, and others' work between them.
        return self.begin(hot, scheduled, activity)

    def begin(
        self, hot: HotRun, scheduled: ev.ActivityScheduled, activity: OpenActivity
    ) -> OpenActivity:
        """Begin the next attempt if a worker has a slot for it right now."""
        if hot.run.is_suspended or placing.is_container(scheduled):
            return activity
        key = self._queue_of(hot, scheduled, activity)
        pin = _pin(hot, activity)
        session = self._dispatcher.pick_for_activity(key, scheduled.activity_type, pin)
        if session is None:
            return activity
        begun = attempts.begin(
            scheduled,
            activity,
            worker_id=session.worker_id,
            identity=session.identity,
            now=self._now(),
        )
        ref = _ref(hot, begun)
        session.held_attempts.add(ref)
        self._holders[ref] = session
        self._unsent.add(ref)
        return begun

    def _queue_of(
        self, hot: HotRun, scheduled: ev.ActivityScheduled, activity: OpenActivity
    ) -> QueueKey:
        # Without an operator nobody makes pods: the workers that have the code run it.
        queue = activity.task_queue if self._has_operator else scheduled.task_queue
        return (hot.run.ref.namespace, queue)

    async def offer(self, key: ActivityKey, _since: Millis) -> None:
        """A worker has a slot for this activity, which waited for one."""
        hot = await self._keeper.get(key[0])
        if hot is None:
            return
        activity = hot.run.activities.get(key[1])
        if activity is None or activity.is_started or activity.visible > self._now():
            return
        begun = self.begin(hot, hot.run.asked(activity.seq), activity)
        if begun.is_started:
            self._keeper.record(hot, (), attempts_changed=(begun,))
        else:
            self._wait_for_worker(hot, activity)  # suspended meanwhile, or the slot is gone

    def after_commit(self, hot: HotRun, transition: Transition) -> None:
        """Send what was begun, wait for what was not, stop what is not wanted."""
        for activity in transition.put_activities:
            ref = _ref(hot, activity)
            if ref in self._unsent:
                self._unsent.discard(ref)
                self._send(hot, activity, ref)
            current = hot.run.activities.get(activity.seq)
            if current is not None:
                self._watch(hot, current)
        for recorded in transition.events:
            self._after_event(hot, recorded.event)
        for seq in transition.drop_activities:
            self._dispatcher.drop_activity((hot.run_id, seq))
        if hot.run.is_closed and transition.drop_activities:
            self._stop_all(hot)

    def _after_event(self, hot: HotRun, event: ev.Event) -> None:
        match event:
            case ev.ActivityCancelRequested(seq=seq):
                self._tell_workers(hot, seq)
            case ev.BatchFailed(seq=seq):
                self._stop_items(hot, seq)
            case ev.Resumed():
                for activity in tuple(hot.run.activities.values()):
                    self._watch(hot, activity)

    def _send(self, hot: HotRun, activity: OpenActivity, ref: AttemptRef) -> None:
        session = self._holders.get(ref)
        if session is None or not session.is_open:
            return  # Lost while it was being written: on_session_lost saw to it.
        if activity.seq not in hot.run.activities:
            self._forget(ref)
            return
        scheduled = hot.run.asked(activity.seq)
        assert activity.started is not None
        self._metrics.observe_wait("activity", activity.started - activity.visible)
        session.send(activity_task(hot.run, scheduled, activity))

    def _watch(self, hot: HotRun, activity: OpenActivity) -> None:
        """See to it that the activity is looked at when its time comes."""
        if not activity.is_started and activity.visible <= self._now():
            self._wait_for_worker(hot, activity)
        elif activity.wake < NEVER:
            self._alarms.set(activity.wake, Alarm.ACTIVITY, hot.run_id, activity.seq)

    def _wait_for_worker(self, hot: HotRun, activity: OpenActivity) -> None:
        scheduled = hot.run.asked(activity.seq)
        waiting = attempts.look(scheduled, activity, self._now())
        if isinstance(waiting, OpenActivity) and waiting.wake < NEVER:
            hot.run.activities[activity.seq] = waiting
            self._alarms.set(waiting.wake, Alarm.ACTIVITY, hot.run_id, activity.seq)
        if hot.run.is_suspended or placing.is_container(scheduled):
            return
        key = self._queue_of(hot, scheduled, activity)
        self._dispatcher.add_activity(key, (hot.run_id, activity.seq), _pin(hot, activity))

    # --- reports ---------------------------------------------------------------------------

    async def on_report(self, session: Session, report: msg.ActivityReport) -> None:
        """A worker says how an attempt of an activity ended; see also :mod:`.item_reports`."""
        hot = await self._keeper.get(report.attempt.run_id)
        activity = self.reported(hot, session, report.attempt)
        if hot is None or activity is None:
            self.refuse(session, report.attempt)
            return
        became = self.judge(hot, activity, report)

        def accepted() -> None:
            session.send(msg.ReportAccepted(attempt=report.attempt))
            self.pump(session)

        def lost(_error: LostError) -> None:
            # The worker keeps the report and repeats it when it has connected again.
            session.break_off()

        if isinstance(became, attempts.Closed):
            events = decisions.close_activity(hot.run, became)
            self._keeper.record(hot, events, done=accepted, lost=lost)
        else:
            self._keeper.record(hot, (), attempts_changed=(became,), done=accepted, lost=lost)

    def reported(
        self, hot: HotRun | None, session: Session, ref: AttemptRef
    ) -> OpenActivity | None:
        """Take an attempt out of a worker's hands; return its activity if it is current."""
        session.held_attempts.discard(ref)
        if self._holders.get(ref) is session:
            del self._holders[ref]
        return self._if_current(hot, session, ref)

    def refuse(self, session: Session, ref: AttemptRef) -> None:
        """Tell a worker that its report came too late."""
        self._metrics.refusals.labels("late_attempt").inc()
        session.send(msg.ReportAccepted(attempt=ref, accepted=False))
        self.pump(session)

    def judge(
        self, hot: HotRun, activity: OpenActivity, report: msg.ActivityReport
    ) -> OpenActivity | attempts.Closed:
        """Return what a report makes of an activity."""
        scheduled = hot.run.asked(activity.seq)
        message = oversize((report.result,), f"result of activity {scheduled.activity_type!r}")
        failure = too_large(message) if message else report.failure
        self._observe("completed" if report.failure is None else "failed", activity)
        if failure is not None:
            return attempts.fail(scheduled, activity, failure, self._now())
        return attempts.complete(activity, report.result)

    async def on_heartbeat(self, session: Session, beat: msg.ActivityHeartbeat) -> None:
        """An attempt is alive."""
        hot, activity = await self._current(session, beat.attempt)
        if hot is None or activity is None:
            session.send(msg.CancelActivity(attempt=beat.attempt, reason="not_found"))
            return
        self.beat(hot, activity, beat.details)

    def beat(self, hot: HotRun, activity: OpenActivity, details: Payloads) -> None:
        """The running attempt of an activity is alive."""
        beaten = attempts.beat(hot.run.asked(activity.seq), activity, details, self._now())
        if details == activity.heartbeat_details:
            hot.run.activities[activity.seq] = beaten
            self._watch(hot, beaten)
        else:
            self._keeper.record(hot, (), attempts_changed=(beaten,))

    async def _current(
        self, session: Session, ref: AttemptRef
    ) -> tuple[HotRun | None, OpenActivity | None]:
        hot = await self._keeper.get(ref.run_id)
        return hot, self._if_current(hot, session, ref)

    def _if_current(
        self, hot: HotRun | None, session: Session, ref: AttemptRef
    ) -> OpenActivity | None:
        """Return the activity if ``ref`` is its running attempt, and this worker's."""
        activity = hot.run.activities.get(ref.seq) if hot is not None else None
        if activity is None or activity.attempt != ref.attempt:
            return None
        return activity if activity.worker_id == session.worker_id else None

    # --- time, cancellation, lost workers --------------------------------------------------

    async def look(self, run_id: str, seq: int) -> None:
        """An activity's time has come, or had come before something changed."""
        hot = await self._keeper.get(run_id)
        activity = hot.run.activities.get(seq) if hot is not None else None
        if hot is None or activity is None:
            return
        if activity.wake > self._now():
            self._look_later(hot, activity)
            return
        became = attempts.look(hot.run.asked(seq), activity, self._now())
        if activity.is_started and became is not activity:
            self._observe("timed_out", activity)
            self._stop(_ref(hot, activity), "timed_out")
        self._take_over(hot, activity, became)

    def _look_later(self, hot: HotRun, activity: OpenActivity) -> None:
        """Heartbeats, which cost no commit, put the time off."""
        if activity.heartbeat is None:
            return
        if not self._alarms.set(activity.wake, Alarm.ACTIVITY, hot.run_id, activity.seq):
            # Its row, which is what wakes it from so far ahead, has the time of before.
            self._keeper.record(hot, (), attempts_changed=(activity,))

    def _take_over(
        self, hot: HotRun, activity: OpenActivity, became: OpenActivity | attempts.Closed
    ) -> None:
        if isinstance(became, attempts.Closed):
            self._close(hot, activity.seq, became)
        elif activity.is_started and became is not activity:
            self._keeper.record(hot, (), attempts_changed=(became,))
        elif not activity.is_started:
            self._watch(hot, became)

    def _close(self, hot: HotRun, seq: int, closed: attempts.Closed) -> None:
        if is_item(seq):
            items = (batching.item_closed(seq, closed),)
            self._keeper.record(hot, batching.close_items(hot.run, items), items_closed=items)
        else:
            self._keeper.record(hot, decisions.close_activity(hot.run, closed))

    def _tell_workers(self, hot: HotRun, seq: int) -> None:
        batch = hot.run.batches.get(seq)
        for key in (seq,) if batch is None else batch.open_keys:
            activity = hot.run.activities.get(key)
            if activity is not None and activity.is_started:
                self._stop(_ref(hot, activity), "cancel_requested")

    def _stop(self, ref: AttemptRef, reason: str) -> None:
        session = self._holders.get(ref)
        if session is not None:
            session.send(msg.CancelActivity(attempt=ref, reason=reason))

    def _stop_all(self, hot: HotRun) -> None:
        self.on_broken(hot)
        for ref in [each for each in self._holders if each.run_id == hot.run_id]:
            self._stop(ref, "not_found")

    def _stop_items(self, hot: HotRun, seq: int) -> None:
        for ref in [each for each in self._holders if each.run_id == hot.run_id]:
            if is_item(ref.seq) and item_of(ref.seq)[0] == seq:
                self._stop(ref, "not_found")

    async def adopt(self, session: Session, held: tuple[AttemptRef, ...]) -> None:
        """A worker has come back and still has these attempts; others it had are lost."""
        for ref in held:
            hot, activity = await self._current(session, ref)
            if hot is None or activity is None:
                session.send(msg.CancelActivity(attempt=ref, reason="not_found"))
                continue
            session.held_attempts.add(ref)
            self._holders[ref] = session
            if activity.cancel_requested:
                self._stop(ref, "cancel_requested")

    async def lose(self, worker_id: str, refs: set[AttemptRef]) -> None:
        """The worker of these attempts is gone for good: they are tried elsewhere."""
        for ref in refs:
            holder = self._holders.get(ref)
            if holder is not None and holder.is_open:
                continue  # It came back in time.
            self._forget(ref)
            hot = await self._keeper.get(ref.run_id)
            activity = hot.run.activities.get(ref.seq) if hot is not None else None
            if hot is None or activity is None or activity.attempt != ref.attempt:
                continue
            if activity.worker_id == worker_id:
                became = attempts.lose_worker(hot.run.asked(ref.seq), activity, self._now())
                self._observe("lost", activity)
                self._take_over(hot, activity, became)

    def on_broken(self, hot: HotRun) -> None:
        """What was begun and not recorded was never begun."""
        for ref in [each for each in self._unsent if each.run_id == hot.run_id]:
            self._forget(ref)

    async def resume(self, hot: HotRun) -> None:
        """Take up a run's activities as they were read from the store."""
        for activity in tuple(hot.run.activities.values()):
            self._watch(hot, activity)

    def _forget(self, ref: AttemptRef) -> None:
        self._unsent.discard(ref)
        session = self._holders.pop(ref, None)
        if session is not None:
            session.held_attempts.discard(ref)
            self.pump(session)

    def _observe(self, outcome: str, activity: OpenActivity) -> None:
        if activity.started is not None:
            self._metrics.observe_attempt(outcome, self._now() - activity.started)

    def pump(self, session: Session) -> None:
        """Offer what waits to a worker that may have a slot again."""
        self._dispatcher.pump((session.namespace, session.task_queue))


def _pin(hot: HotRun, activity: OpenActivity) -> str:
    """Return which version's the next attempt is.

    The first is that of the run's own version. When that fails, the current one has every second
    try, so that code which was mended meanwhile is found, as with workflow code that fails.
    """
    return "" if activity.attempt % 2 else hot.run.build_id


def _ref(hot: HotRun, activity: OpenActivity) -> AttemptRef:
    return AttemptRef(hot.run_id, activity.seq, activity.attempt)
