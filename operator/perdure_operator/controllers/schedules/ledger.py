"""The books of a Schedule: which times were dealt with, and how.

:func:`settle` brings them up to date. While there are Workflows to be made its books are only a
draft: they are written once every Workflow that they count is seen in the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from perdure_operator.controllers.schedules.children import (
    FAILURES,
    Start,
    start_of_backfill,
    start_of_time,
    start_of_trigger,
)
from perdure_operator.controllers.schedules.deciding import REPLACING, Decider, Decision
from perdure_operator.controllers.schedules.observing import ScheduleView
from perdure_operator.controllers.schedules.timing import (
    Firing,
    Timing,
    digest_of_spec,
    digest_of_timing,
)
from perdure_operator.model import (
    Backfill,
    BackfillProgress,
    BufferedStart,
    FailurePause,
    OverlapPolicy,
    SchedulePhase,
    WorkflowPhase,
)

MOST_STARTS = 50
"""Workflows made in one look; more wait for the next one, which comes soon."""

MOST_TIMES = 500
"""Times considered in one look."""

_SECOND = timedelta(seconds=1)


@dataclass(kw_only=True)
class Ledger:
    """The books, as they are after a look."""

    effective_from: datetime
    last: datetime | None
    started: int
    skipped: int
    missed: int
    last_workflow: str | None
    paused_by: FailurePause | None
    buffered: Sequence[BufferedStart] = ()
    triggers_done: Sequence[str] = ()
    backfills: Sequence[BackfillProgress] = ()
    phase: SchedulePhase = SchedulePhase.ACTIVE
    starts: Sequence[Start] = ()
    """Workflows to be made before the books are written."""
    ending: OverlapPolicy | None = None
    """How what runs is to be ended, if it is."""
    has_more: bool = False
    """There is more to be dealt with at once."""
    next_firing: Firing | None = None

    @property
    def cursor(self) -> datetime:
        """The instant up to which everything was dealt with."""
        return self.effective_from if self.last is None else max(self.effective_from, self.last)


def settle(view: ScheduleView, timing: Timing) -> Ledger:
    """Return the books after everything that is due was dealt with."""
    ledger = _open(view)
    _Settling(view, timing, ledger).settle()
    return ledger


def _open(view: ScheduleView) -> Ledger:
    """Return the books as they were left, and what a change of the spec makes of them."""
    spec, status = view.schedule.spec, view.schedule.status
    # What is written has whole seconds, and is to be the same when it is read again.
    now = view.now.replace(microsecond=0)
    effective = status.effective_from or view.schedule.metadata.creation_timestamp or now
    paused_by = status.paused_by
    if paused_by is not None and paused_by.spec != digest_of_spec(spec):
        paused_by = None
    was_held = status.phase is SchedulePhase.PAUSED
    if was_held and paused_by is None and not spec.pause:
        effective = now
    if status.timing and status.timing != digest_of_timing(spec):
        effective = now
    if paused_by is None and spec.pause_on_failure:
        paused_by = _find_failure(view, effective)
    return Ledger(
        effective_from=effective,
        last=status.last_schedule_time,
        started=status.started,
        skipped=status.skipped,
        missed=status.missed,
        last_workflow=status.last_workflow,
        paused_by=paused_by,
    )


def _find_failure(view: ScheduleView, since: datetime) -> FailurePause | None:
    for child in view.children:
        if child.phase in FAILURES and child.ended is not None and child.ended > since:
            digest = digest_of_spec(view.schedule.spec)
            return FailurePause(workflow=child.name, spec=digest)
    return None


class _Settling:
    """One bringing up to date."""

    def __init__(self, view: ScheduleView, timing: Timing, ledger: Ledger) -> None:
        self._schedule = view.schedule
        self._spec = view.schedule.spec
        self._now = view.now
        self._timing = timing
        self._ledger = ledger
        self._decider = Decider(view.children, view.schedule.status.buffered)
        self._made = 0

    def settle(self) -> None:
        """Deal with everything that is due."""
        ledger, decider = self._ledger, self._decider
        held = self._spec.pause or ledger.paused_by is not None
        for each in decider.take_buffered(held=held):
            self._count(each.name, is_request=each.request is not None)
        ledger.triggers_done = self._pull_triggers()
        if not held:
            self._do_due()
            ledger.next_firing = self._next()
        ledger.backfills = [self._do_backfill(each) for each in self._spec.backfills]
        ledger.buffered, ledger.starts = decider.buffered, decider.starts
        ledger.ending = decider.ending
        ledger.skipped += decider.displaced
        if held:
            ledger.phase = SchedulePhase.PAUSED
        elif ledger.next_firing is None and not ledger.has_more:
            ledger.phase = SchedulePhase.COMPLETED

    # --- what was asked for by name --------------------------------------------------------

    def _pull_triggers(self) -> list[str]:
        known = set(self._schedule.status.triggers_done)
        done = []
        for trigger in self._spec.triggers:
            if trigger.id not in known:
                start = start_of_trigger(self._schedule, trigger, self._now)
                decision = self._decider.offer(start, trigger.overlap_policy)
                if decision is Decision.NO_ROOM:
                    continue
                self._note(start, decision)
            done.append(trigger.id)
        return done

    def _do_backfill(self, backfill: Backfill) -> BackfillProgress:
        progress = next(
            (each for each in self._schedule.status.backfills if each.id == backfill.id),
            BackfillProgress(id=backfill.id),
        )
        if progress.done:
            return progress
        through = progress.through
        after = through or backfill.start - timedelta(microseconds=1)
        for number, time in enumerate(self._timing.times_after(after)):
            if time > backfill.end:
                break
            if number >= MOST_TIMES or self._made >= MOST_STARTS:
                self._ledger.has_more = True
                return BackfillProgress(id=backfill.id, through=through)
            start = start_of_backfill(self._schedule, backfill, time)
            decision = self._decider.offer(start, backfill.overlap_policy)
            if decision is Decision.NO_ROOM:
                return BackfillProgress(id=backfill.id, through=through)
            self._note(start, decision)
            through = time
        return BackfillProgress(id=backfill.id, through=through, done=True)

    # --- what is due -----------------------------------------------------------------------

    def _do_due(self) -> None:
        self._miss_what_is_too_late()
        due = self._timing.due(self._ledger.cursor, self._now, most=MOST_TIMES)
        self._ledger.has_more = len(due) == MOST_TIMES
        for number, firing in enumerate(due):
            if self._is_used_up():
                return
            if self._made >= MOST_STARTS:
                self._ledger.has_more = True
                return
            start = start_of_time(self._schedule, firing.time)
            self._note(start, self._decide(start, is_last=number == len(due) - 1))
            self._ledger.last = firing.time

    def _miss_what_is_too_late(self) -> None:
        ledger = self._ledger
        # Floored, so that what is counted now is not counted again from what was written.
        oldest = (self._now - self._spec.catch_up_window).replace(microsecond=0)
        if ledger.cursor >= oldest:
            return
        times = self._timing.times_after(ledger.cursor)
        late = [time for time in islice(times, MOST_TIMES) if time < oldest]
        if late:
            ledger.missed += len(late)
            # More than were looked at are not counted one by one.
            ledger.effective_from = oldest - _SECOND if len(late) == MOST_TIMES else late[-1]

    def _decide(self, start: Start, *, is_last: bool) -> Decision:
        policy = self._spec.overlap_policy
        if policy in REPLACING and not is_last and not self._decider.is_there(start):
            # It would be ended by the next one at once.
            return Decision.SKIPPED
        decision = self._decider.offer(start, policy)
        return Decision.SKIPPED if decision is Decision.NO_ROOM else decision

    def _is_used_up(self) -> bool:
        limit = self._spec.limited_actions
        if limit is None:
            return False
        waiting = sum(each.request is None for each in self._decider.buffered)
        return self._ledger.started + waiting >= limit

    def _next(self) -> Firing | None:
        return None if self._is_used_up() else self._timing.next_firing(self._ledger.cursor)

    # --- the books -------------------------------------------------------------------------

    def _note(self, start: Start, decision: Decision) -> None:
        if decision is Decision.STARTED:
            self._count(start.name, is_request=start.request is not None)
        elif decision is Decision.SKIPPED:
            self._ledger.skipped += 1

    def _count(self, name: str, *, is_request: bool) -> None:
        self._made += 1
        self._ledger.last_workflow = name
        if not is_request:
            self._ledger.started += 1


def last_success(view: ScheduleView) -> datetime | None:
    """Return when a Workflow last succeeded."""
    ends = [
        child.ended
        for child in view.children
        if child.phase is WorkflowPhase.SUCCEEDED and child.ended is not None
    ]
    before = view.schedule.status.last_successful_time
    return max([*ends, *([before] if before else [])], default=None)
