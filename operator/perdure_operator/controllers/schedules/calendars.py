"""The instants of a calendar entry: local times by their parts, in a time zone.

When clocks change, the rules are those of cron. An entry for certain hours fires once a day that
it names: in a gap as soon as the clocks have jumped, in an hour that comes twice the first time.
An entry for all hours follows real time: it does not fire in a gap, and fires in both such hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from perdure_operator.model import Calendar, CalendarRange

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

HORIZON_DAYS = 50 * 366
"""A calendar that names no day in so long names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarTimes:
    """A calendar entry, its ranges written out."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int] | None
    weekdays: frozenset[int] | None
    years: frozenset[int] | None

    @classmethod
    def of(cls, calendar: Calendar, *, otherwise: int | None) -> Self:
        """Read an entry; parts of the time that are not given are ``otherwise``, or all."""

        def of_clock(ranges: tuple[CalendarRange, ...] | None, count: int) -> frozenset[int]:
            values = _values(ranges)
            if values is not None:
                return values
            return frozenset(range(count)) if otherwise is None else frozenset({otherwise})

        return cls(
            seconds=of_clock(calendar.second, 60),
            minutes=of_clock(calendar.minute, 60),
            hours=of_clock(calendar.hour, 24),
            days=_values(calendar.day_of_month),
            months=_values(calendar.month),
            weekdays=_values(calendar.day_of_week),
            years=_values(calendar.year),
        )

    @property
    def is_hourly(self) -> bool:
        """Whether it names every hour, and so follows real time."""
        return len(self.hours) == 24

    def left_at(self, local: datetime) -> timedelta:
        """Return for how long after a time that it names it names every second."""
        if len(self.seconds) < 60:
            return timedelta()
        left = 59 - local.second
        if len(self.minutes) == 60:
            left += 60 * (59 - local.minute)
            if self.is_hourly:
                left += 3600 * (23 - local.hour)
        return left * _SECOND

    def has_day(self, day: date) -> bool:
        """Tell whether it names this day."""
        return (
            (self.days is None or day.day in self.days)
            and (self.months is None or day.month in self.months)
            and (self.weekdays is None or day.isoweekday() % 7 in self.weekdays)
            and (self.years is None or day.year in self.years)
        )

    def has(self, local: datetime) -> bool:
        """Tell whether it names this local time."""
        return (
            local.second in self.seconds
            and local.minute in self.minutes
            and local.hour in self.hours
            and self.has_day(local.date())
        )

    def after(self, instant: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield its instants after this one, in order."""
        hour = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for _ in range(HORIZON_DAYS):
            if self._has_some_day(hour, zone):
                for window in (hour + number * _HOUR for number in range(24)):
                    yield from (each for each in self._within(window, zone) if each > instant)
            hour += _DAY

    def _has_some_day(self, start: datetime, zone: ZoneInfo) -> bool:
        """Tell whether it names a day that the 24 hours from ``start`` touch."""
        day = (start - _SECOND).astimezone(zone).date()
        last = (start + _DAY).astimezone(zone).date()
        while day <= last:
            if self.has_day(day):
                return True
            day += _DAY
        return False

    def _within(self, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the instants of one hour, from ``start`` on."""
        local = start.astimezone(zone)
        before = (start - _SECOND).astimezone(zone)
        last = (start + _HOUR - _SECOND).astimezone(zone)
        if before.utcoffset() != last.utcoffset() or local.fold or last.fold:
            yield from self._within_change(start, zone)
            return
        for naive in self._matching(local.replace(tzinfo=None), 3600):
            yield start + (naive - local.replace(tzinfo=None))

    def _within_change(self, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the instants of an hour in which clocks change, or that comes twice."""
        wall = (start - _SECOND).astimezone(zone).replace(tzinfo=None)
        for number in range(3600):
            instant = start + number * _SECOND
            local = instant.astimezone(zone)
            naive = local.replace(tzinfo=None)
            jumped = int((naive - wall) / _SECOND) - 1
            wall = naive
            if self.is_hourly:
                fires = self.has(naive)
            else:
                gap = naive - max(jumped, 0) * _SECOND
                in_gap = jumped > 0 and any(True for _ in self._matching(gap, jumped))
                fires = in_gap or (not local.fold and self.has(naive))
            if fires:
                yield instant

    def _matching(self, naive: datetime, seconds: int) -> Iterator[datetime]:
        """Yield the local times it names in so many seconds from ``naive`` on."""
        end = naive + seconds * _SECOND
        minute = naive.replace(second=0)
        while minute < end:
            is_named = minute.minute in self.minutes and minute.hour in self.hours
            if is_named and self.has_day(minute.date()):
                for second in sorted(self.seconds):
                    if naive <= (found := minute.replace(second=second)) < end:
                        yield found
            minute += timedelta(minutes=1)


def _values(ranges: tuple[CalendarRange, ...] | None) -> frozenset[int] | None:
    if ranges is None:
        return None
    values: set[int] = set()
    for each in ranges:
        end = each.start if each.end is None else each.end
        values.update(range(each.start, end + 1, each.step))
    return frozenset(values)
