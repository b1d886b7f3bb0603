"""A Schedule's status."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from perdure_operator.cluster import SCHEDULES
from perdure_operator.controllers.actions import Action, NameTaken, write_status
from perdure_operator.controllers.schedules.ledger import Ledger, last_success
from perdure_operator.controllers.schedules.observing import ScheduleView
from perdure_operator.controllers.schedules.timing import Timing, digest_of_timing
from perdure_operator.controllers.verdicts import Say, Verdict, false, true
from perdure_operator.model import (
    ActiveWorkflow,
    Condition,
    Reason,
    SchedulePhase,
    ScheduleStatus,
)
from perdure_operator.model.schedule import SHOWN_ACTIVE, SHOWN_NEXT

_PAUSED = "spec.pause holds it; triggers and backfills still work"
_COMPLETED = "no time is left: endAt has passed, limitedActions are used up, or none was named"


def write_books(view: ScheduleView, ledger: Ledger, timing: Timing) -> list[Action]:
    """Return the action that writes the status, or nothing when it is written already."""
    schedule, active = view.schedule, sorted(view.active, key=lambda child: child.name)
    after = ScheduleStatus(
        observed_generation=schedule.metadata.generation,
        conditions=_conditions(view, _judge(ledger)),
        phase=ledger.phase,
        last_schedule_time=ledger.last,
        last_workflow=ledger.last_workflow,
        last_successful_time=last_success(view),
        next_schedule_times=_next_times(ledger, timing),
        active_count=len(active),
        active=tuple(ActiveWorkflow(name=c.name, uid=c.uid) for c in active[:SHOWN_ACTIVE]),
        buffered=tuple(ledger.buffered),
        started=ledger.started,
        skipped=ledger.skipped,
        missed=ledger.missed,
        triggers_done=tuple(ledger.triggers_done),
        backfills=tuple(ledger.backfills),
        effective_from=ledger.effective_from,
        timing=digest_of_timing(schedule.spec),
        paused_by=ledger.paused_by,
    )
    # An active count of 0 is worth a column.
    return write_status(
        SCHEDULES, schedule.metadata, before=schedule.status, after=after, sparse=False
    )


def write_refusal(view: ScheduleView) -> list[Action]:
    """Return the status that says why no Workflow could be made; the books stay as they are."""
    refused, schedule = view.refused, view.schedule
    assert refused is not None
    reason = Reason.NAME_TAKEN if isinstance(refused, NameTaken) else Reason.FORBIDDEN
    said = true(reason, refusal(view))
    verdict = Verdict(ready=false(said.reason, said.message), stalled=said)
    after = schedule.status.model_copy(
        update={
            "observed_generation": schedule.metadata.generation,
            "conditions": _conditions(view, verdict),
            "phase": schedule.status.phase or SchedulePhase.ACTIVE,
        }
    )
    return write_status(
        SCHEDULES, schedule.metadata, before=schedule.status, after=after, sparse=False
    )


def refusal(view: ScheduleView) -> str:
    """Return why a Workflow could not be made, in words."""
    refused = view.refused
    if isinstance(refused, NameTaken):
        return (
            f"there is a Workflow {refused.name!r} that is not of this Schedule: delete it, or "
            "give the Schedule another name"
        )
    assert refused is not None
    return f"Workflow {refused.name!r} cannot be made: {refused.message}"


def _next_times(ledger: Ledger, timing: Timing) -> tuple[datetime, ...]:
    if ledger.next_firing is None:
        return ()
    return tuple(islice(timing.times_after(ledger.cursor), SHOWN_NEXT))


def _judge(ledger: Ledger) -> Verdict:
    if ledger.paused_by is not None:
        said = true(
            Reason.PAUSED_ON_FAILURE,
            f"Workflow {ledger.paused_by.workflow!r} failed and spec.pauseOnFailure is set: look "
            "at it, then change the spec (its note will do) to go on",
        )
        return Verdict(ready=false(said.reason, said.message), stalled=said)
    return Verdict(ready=_ready(ledger))


def _ready(ledger: Ledger) -> Say:
    match ledger.phase:
        case SchedulePhase.PAUSED:
            return true(Reason.PAUSED, _PAUSED)
        case SchedulePhase.COMPLETED:
            return true(Reason.NO_TIME_LEFT, _COMPLETED)
        case SchedulePhase.ACTIVE:
            return true(Reason.SCHEDULED, "it makes Workflows when it is time")


def _conditions(view: ScheduleView, verdict: Verdict) -> tuple[Condition, ...]:
    metadata = view.schedule.metadata
    before = view.schedule.status.conditions
    return verdict.conditions(before, generation=metadata.generation, now=view.now)
