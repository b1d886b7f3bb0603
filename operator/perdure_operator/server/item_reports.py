"""Reports of batches' items: what comes in one turn of the loop for one run is one transition.

A worker with a hundred slots sends the ends of many items in one frame. Each on its own would
move the run on once; together they cost one move, and the items that take their places begin in
it as well. What becomes of each attempt is the business of
:class:`~perdure_operator.server.activity_tasks.ActivityTasks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.items import is_item
from perdure.protocol.messages import AttemptRef
from perdure_operator.engine import attempts, batching
from perdure_operator.engine.batching import ItemClosed
from perdure_operator.engine.transitions import OpenActivity
from perdure_operator.server.activity_tasks import ActivityTasks
from perdure_operator.server.dispatching import Dispatcher
from perdure_operator.server.keeping import HotRun, Keeper, LostError
from perdure_operator.server.sessions import Session


@dataclass(slots=True)
class _Taken:
    """What reports come to."""

    accepted: dict[AttemptRef, Session] = field(default_factory=dict)
    closed: list[ItemClosed] = field(default_factory=list)
    changed: list[OpenActivity] = field(default_factory=list)


class ItemReports:
    """The reports of items that have come and are not taken yet."""

    def __init__(self, keeper: Keeper, dispatcher: Dispatcher, tasks: ActivityTasks) -> None:
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._gathered: dict[HotRun, list[tuple[Session, msg.ActivityReport]]] = {}

    async def on_report(self, session: Session, report: msg.ActivityReport) -> None:
        """A worker says how an attempt ended; those of other activities are passed on."""
        if not is_item(report.attempt.seq):
            await self._tasks.on_report(session, report)
            return
        hot = await self._keeper.get(report.attempt.run_id)
        if hot is None:
            self._tasks.refuse(session, report.attempt)
            return
        gathered = self._gathered.setdefault(hot, [])
        if not gathered:
            asyncio.get_running_loop().call_soon(self._take, hot)
        gathered.append((session, report))

    def _take(self, hot: HotRun) -> None:
        reports = self._gathered.pop(hot)
        if hot.broken:
            # They are repeated, to the run as it is read anew.
            for session in {session for session, _ in reports}:
                session.break_off()
            return
        taken = _Taken()
        for session, report in reports:
            activity = self._tasks.reported(hot, session, report.attempt)
            if activity is None or report.attempt in taken.accepted:
                self._tasks.refuse(session, report.attempt)
                continue
            taken.accepted[report.attempt] = session
            became = self._tasks.judge(hot, activity, report)
            if isinstance(became, attempts.Closed):
                taken.closed.append(batching.item_closed(activity.seq, became))
            else:
                taken.changed.append(became)
        if taken.accepted:
            self._record(hot, taken)

    def _record(self, hot: HotRun, taken: _Taken) -> None:
        sessions = set(taken.accepted.values())

        def accepted() -> None:
            for ref, session in taken.accepted.items():
                session.send(msg.ReportAccepted(attempt=ref))
            for session in sessions:
                self._tasks.pump(session)

        def lost(_error: LostError) -> None:
            for session in sessions:
                session.break_off()

        events = batching.close_items(hot.run, taken.closed)
        is_over = any(isinstance(each, ev.BATCH_ENDS) for each in events)
        begun = () if is_over else tuple(self._begin_waiting(hot, sessions))
        self._keeper.record(
            hot,
            events,
            attempts_changed=(*taken.changed, *begun),
            items_closed=taken.closed,
            done=accepted,
            lost=lost,
        )

    def _begin_waiting(self, hot: HotRun, sessions: set[Session]) -> Iterator[OpenActivity]:
        """Begin what waits for the slots that have just become free, where its turn has come."""
        queues = {(each.namespace, each.task_queue) for each in sessions}
        for key, pin in product(queues, dict.fromkeys((hot.run.build_id, ""))):
            while (seq := self._dispatcher.first_activity(key, pin, hot.run_id)) is not None:
                activity = hot.run.activities.get(seq)
                if activity is not None and not activity.is_started:
                    begun = self._tasks.begin(hot, hot.run.asked(seq), activity)
                    if not begun.is_started:
                        break
                    yield begun
                self._dispatcher.drop_activity((hot.run_id, seq))
