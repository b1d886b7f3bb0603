"""Which instants a Schedule's spec names, and when each is to be acted on. No clock, no I/O.

An instant is *nominal*: what cron, intervals and calendars name, whole seconds in UTC. It is acted
on at ``at``, which jitter puts off, but never to the next nominal instant or beyond: so both are
in the same order, and one instant is all that has to be remembered.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from perdure_operator.controllers.schedules.calendars import CalendarTimes
from perdure_operator.model import Interval, ScheduleSpec
from perdure_operator.model.crons import expand

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI = timedelta(milliseconds=1)

MOST_SKIPPED = 2000
"""Looks at instants in a row that skip leaves out; then there are taken to be no more."""

_TIMING_FIELDS = {
    "cron",
    "intervals",
    "calendars",
    "skip",
    "time_zone",
    "start_at",
    "end_at",
    "jitter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One instant."""

    time: datetime
    """As the spec names it."""
    at: datetime
    """When it is due: later than ``time`` by its jitter."""


class Timing:
    """The instants of one Schedule."""

    def __init__(self, spec: ScheduleSpec, *, seed: str) -> None:
        """Take the instants of ``spec``; ``seed`` tells its jitter from that of others."""
        self._spec = spec
        self._seed = seed
        self._zone = ZoneInfo(spec.time_zone)
        self._calendars = [CalendarTimes.of(each, otherwise=0) for each in spec.calendars or ()]
        self._skip = [CalendarTimes.of(each, otherwise=None) for each in spec.skip]

    def times_after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the nominal instants after this one, in order, each once."""
        spec = self._spec
        if spec.start_at is not None:
            instant = max(instant, spec.start_at - _MILLI)
        for time in self._not_skipped(instant):
            if spec.end_at is not None and time > spec.end_at:
                return
            yield time

    def firings_after(self, instant: datetime) -> Iterator[Firing]:
        """Yield the firings whose nominal instant is after this one, in order."""
        waiting: datetime | None = None
        for time in self.times_after(instant):
            if waiting is not None:
                yield Firing(time=waiting, at=waiting + self._delay(waiting, time))
            waiting = time
        if waiting is not None:
            # The last one of a Schedule that ends has no successor that bounds its jitter.
            yield Firing(time=waiting, at=waiting + self._delay(waiting, None))

    def due(self, after: datetime, until: datetime, *, most: int) -> list[Firing]:
        """Return the first firings with ``after`` < time that are due by ``until``."""
        found = []
        for firing in islice(self.firings_after(after), most):
            if firing.at > until:
                break
            found.append(firing)
        return found

    def next_firing(self, after: datetime) -> Firing | None:
        """Return the first firing whose nominal instant is after this one."""
        return next(self.firings_after(after), None)

    def _delay(self, time: datetime, following: datetime | None) -> timedelta:
        most = self._spec.jitter
        if following is not None:
            most = min(most, following - time - _MILLI)
        if most < _MILLI:
            return timedelta()
        digest = hashlib.sha256(f"{self._seed} {time.timestamp():.0f}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % (most // _MILLI + 1) * _MILLI

    def _not_skipped(self, instant: datetime) -> Iterator[datetime]:
        skipped, times = 0, self._named_after(instant)
        while (time := next(times, None)) is not None:
            local = time.astimezone(self._zone)
            reason = next((each for each in self._skip if each.has(local)), None)
            if reason is None:
                skipped = 0
                yield time
                continue
            skipped += 1
            if skipped > MOST_SKIPPED:
                return
            jump = time + reason.left_at(local)
            if jump > time and jump.astimezone(self._zone).utcoffset() == local.utcoffset():
                # There is no need to look at each time until then.
                times = self._named_after(jump)

    def _named_after(self, instant: datetime) -> Iterator[datetime]:
        spec = self._spec
        sources = [
            *(_cron_after(each, instant, self._zone) for each in spec.cron or ()),
            *(_interval_after(each, instant) for each in spec.intervals or ()),
            *(each.after(instant, self._zone) for each in self._calendars),
        ]
        last = instant
        for time in heapq.merge(*sources):
            if time > last:
                last = time
                yield time


def digest_of_timing(spec: ScheduleSpec) -> str:
    """Return what tells apart specs that name different instants."""
    return _digest(spec.model_dump(mode="json", include=_TIMING_FIELDS))


def digest_of_spec(spec: ScheduleSpec) -> str:
    """Return what tells apart specs in anything but what was asked for once."""
    return _digest(spec.model_dump(mode="json", exclude={"triggers", "backfills"}))


def _digest(fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _cron_after(expression: str, instant: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    last = instant
    for local in CronSim(expand(expression), instant.astimezone(zone)):
        time = local.astimezone(UTC)
        # Two local times in a gap are the same instant, and one that comes twice was there.
        if time > last:
            last = time
            yield time


def _interval_after(interval: Interval, instant: datetime) -> Iterator[datetime]:
    first = EPOCH + interval.offset
    time = first + ((instant - first) // interval.every + 1) * interval.every
    while True:
        yield time
        time += interval.every
