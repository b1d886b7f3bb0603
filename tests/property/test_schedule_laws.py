"""Laws of a Schedule's instants: in order, each once, however the time is cut, as brute force has
them, also where clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_operator.controllers.schedules.timing import Firing, Timing
from perdure_operator.model.crons import check_cron
from support.schedules import a_timing

MINUTE = timedelta(minutes=1)

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns",
         "Antarctica/Troll", "Asia/Kathmandu", "Africa/Casablanca"]  # fmt: skip

CRONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0,30 1-3 * * *", "15 * * * *", "59 23 * * *",
         "0 0 * * SUN", "0 */2 * * *", "10 1 L * *", "0 3 29 3 *", "@hourly", "@daily"]  # fmt: skip

ranges = st.integers(0, 23).flatmap(
    lambda start: st.integers(start, 23).map(lambda end: {"start": start, "end": end})
)
calendars = st.fixed_dictionaries(
    {},
    optional={
        "minute": st.lists(
            st.integers(0, 59).map(lambda minute: {"start": minute}), min_size=1, max_size=3
        ),
        "hour": st.lists(ranges, min_size=1, max_size=2),
        "dayOfWeek": st.lists(
            st.integers(0, 6).map(lambda day: {"start": day}), min_size=1, max_size=4
        ),
    },
)
intervals = st.integers(1, 300).flatmap(
    lambda every: st.integers(0, every - 1).map(
        lambda offset: {"every": f"{every}m", "offset": f"{offset}m"}
    )
)
sources = st.one_of(
    st.fixed_dictionaries({"cron": st.lists(st.sampled_from(CRONS), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"intervals": st.lists(intervals, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"calendars": st.lists(calendars, min_size=1, max_size=2)}),
)
specs = st.builds(
    lambda source, skip, zone, jitter: {
        **source,
        "skip": skip,
        "timeZone": zone,
        "jitter": jitter,
    },
    sources,
    st.lists(calendars.filter(lambda each: "hour" in each), max_size=1),
    st.sampled_from(ZONES),
    st.sampled_from(["0s", "3m", "2h"]),
)

# Days around changes of clocks, and others.
MOMENTS = [datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 28, tzinfo=UTC),
           datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC),
           datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC),
           datetime(2010, 11, 6, 18, tzinfo=UTC), datetime(2026, 2, 27, tzinfo=UTC)]  # fmt: skip
moments = st.builds(
    lambda moment, minutes: moment + minutes * MINUTE,
    st.sampled_from(MOMENTS),
    st.integers(0, 2 * 1440),
)
spans = st.integers(1, 1440).map(lambda minutes: minutes * MINUTE)


def due(timing: Timing, after: datetime, until: datetime) -> list[Firing]:
    return timing.due(after, until, most=10_000)


@settings(max_examples=60, deadline=None)
@given(specs, moments, spans)
def test_firings_are_in_order_and_each_is_there_once(
    spec: dict[str, Any], start: datetime, span: timedelta
) -> None:
    found = due(a_timing(**spec), start, start + span)
    for before, after in pairwise(found):
        assert before.time <= before.at < after.time
    assert all(start < each.time <= each.at <= start + span for each in found)


@settings(max_examples=60, deadline=None)
@given(specs, moments, spans, spans)
def test_time_cut_in_two_gives_the_same_firings(
    spec: dict[str, Any], start: datetime, first: timedelta, second: timedelta
) -> None:
    timing, middle, end = a_timing(**spec), start + first, start + first + second
    before = due(timing, start, middle)
    cursor = before[-1].time if before else start
    assert before + due(timing, cursor, end) == due(timing, start, end)


@settings(max_examples=40, deadline=None)
@given(calendars, st.sampled_from(ZONES), moments)
def test_calendars_are_as_brute_force_has_them(
    calendar: dict[str, Any], zone: str, start: datetime
) -> None:
    end = start + timedelta(days=1)
    timing = a_timing(calendars=[calendar], timeZone=zone)
    found = [each.time for each in due(timing, start, end)]
    assert found == list(_by_brute_force(calendar, ZoneInfo(zone), start, end))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([each for each in CRONS if each[0] != "@"]), moments)
def test_cron_in_utc_is_as_brute_force_has_it(expression: str, start: datetime) -> None:
    end = start + timedelta(days=1)
    found = [each.time for each in due(a_timing(cron=[expression]), start, end)]
    minutes = (start + number * MINUTE for number in range(1, 1441))
    assert found == [each for each in minutes if _is_named(expression, each)]


def _is_named(expression: str, instant: datetime) -> bool:
    check_cron(expression)
    parsed = CronSim(expression, instant)
    return (
        instant.minute in parsed.minutes
        and instant.hour in parsed.hours
        and instant.month in parsed.months
        and parsed.match_day(instant.date())
    )


def _values(ranges_: list[dict[str, int]] | None, count: int, default: set[int]) -> set[int]:
    if ranges_ is None:
        return default
    return {v for r in ranges_ for v in range(r["start"], r.get("end", r["start"]) + 1)} & set(
        range(count)
    )


def _by_brute_force(
    calendar: dict[str, Any], zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[datetime]:
    """Look at each minute: its local time, and the local times that a jump left out before it."""
    minutes = _values(calendar.get("minute"), 60, {0})
    hours = _values(calendar.get("hour"), 24, {0})
    days = _values(calendar.get("dayOfWeek"), 7, set(range(7)))

    def names(naive: datetime) -> bool:
        return naive.minute in minutes and naive.hour in hours and naive.isoweekday() % 7 in days

    instant = start + MINUTE
    while instant <= end:
        local = instant.astimezone(zone)
        naive = local.replace(tzinfo=None)
        if len(hours) == 24:
            if names(naive):
                yield instant
        else:
            before = (instant - MINUTE).astimezone(zone).replace(tzinfo=None) + MINUTE
            left_out = []
            while before < naive:
                left_out.append(before)
                before += MINUTE
            if any(map(names, left_out)) or (names(naive) and not local.fold):
                yield instant
        instant += MINUTE
