"""What a Schedule needs now. Pure: the same view gives the same plan, and every view gives one.

Workflows first, the status in the round after, once they are seen; deletions only behind the
status that no longer needs what they delete.
"""

from __future__ import annotations

from datetime import timedelta

from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.actions import Action, CreateObject, Plan
from perdure_operator.controllers.schedules.children import build_workflow
from perdure_operator.controllers.schedules.history import delete_old, end_active
from perdure_operator.controllers.schedules.ledger import Ledger, settle
from perdure_operator.controllers.schedules.observing import ScheduleView
from perdure_operator.controllers.schedules.reporting import (
    refusal,
    write_books,
    write_refusal,
)
from perdure_operator.controllers.schedules.timing import Timing

RESYNC = timedelta(hours=1)
"""The longest wait for a time: the delays of the work queue do not see the clock being set."""


def plan_schedule(view: ScheduleView) -> Plan:
    """Return what to do."""
    schedule = view.schedule
    if schedule.metadata.is_being_deleted:
        # Its Workflows are its own, so they are deleted with it.
        return Plan()
    if view.server_away:
        return Plan(blocked=view.server_away)
    if view.refused is not None:
        return Plan(actions=write_refusal(view), blocked=refusal(view))

    timing = Timing(schedule.spec, seed=schedule.metadata.uid)
    ledger = settle(view, timing)
    if ledger.starts:
        creations = [
            CreateObject(kind=WORKFLOWS, manifest=build_workflow(schedule, start))
            for start in ledger.starts
        ]
        return Plan(actions=creations, look_at_once=True)
    actions: list[Action] = []
    if ledger.ending is not None:
        # Before the status: what was not told is told again by the next look.
        actions += end_active(view, ledger.ending)
    actions += write_books(view, ledger, timing)
    if not ledger.has_more:
        actions += delete_old(view)
    return Plan(actions=actions, again=_again(view, ledger))


def _again(view: ScheduleView, ledger: Ledger) -> timedelta | None:
    if ledger.has_more:
        return timedelta()
    if ledger.next_firing is None:
        return None
    return min(ledger.next_firing.at - view.now, RESYNC)
