"""Which instants a Schedule names, and when each is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from support.schedules import a_timing, utc


def times(start: str, count: int, **spec: Any) -> list[str]:
    """Return the first instants after ``start``, in UTC."""
    found = islice(a_timing(**spec).times_after(utc(start)), count)
    return [each.strftime("%Y-%m-%dT%H:%M:%S").removesuffix(":00") for each in found]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_names_stand_for_fields(name: str, fields: str) -> None:
    assert times("2026-05-04", 5, cron=[name]) == times("2026-05-04", 5, cron=[fields])


def test_cron_is_read_in_its_time_zone() -> None:
    found = times("2026-07-03", 2, cron=["0 9 * * MON-FRI"], timeZone="Europe/Berlin")
    assert found == ["2026-07-03T07:00", "2026-07-06T07:00"]


def test_intervals_count_from_the_epoch() -> None:
    found = times("2026-01-01", 3, intervals=[{"every": "90m", "offset": "15m"}])
    assert found == ["2026-01-01T00:15", "2026-01-01T01:45", "2026-01-01T03:15"]


def test_a_calendar_names_times_by_their_parts() -> None:
    calendar = {
        "second": [{"start": 5}],
        "minute": [{"start": 0, "end": 45, "step": 15}],
        "hour": [{"start": 9}, {"start": 17}],
        "dayOfWeek": [{"start": 0}],
        "year": [{"start": 2027}],
    }
    found = times("2026-01-01", 5, calendars=[calendar])
    quarters = [f"2027-01-03T09:{minute:02}:05" for minute in (0, 15, 30, 45)]
    assert found == [*quarters, "2027-01-03T17:00:05"]


def test_a_calendar_that_is_over_names_nothing() -> None:
    assert times("2026-01-01", 1, calendars=[{"year": [{"start": 2020}]}]) == []


def test_all_sources_together_name_an_instant_once() -> None:
    found = times("2026-01-01", 3, cron=["0 * * * *"], intervals=[{"every": "30m"}], calendars=[{}])
    assert found == ["2026-01-01T00:30", "2026-01-01T01:00", "2026-01-01T01:30"]


def test_what_is_skipped_is_skipped_whole_days_without_their_hours_named() -> None:
    weekend = {"dayOfWeek": [{"start": 0}, {"start": 6}]}
    found = times("2026-01-02T23:59:58", 2, intervals=[{"every": "1s"}], skip=[weekend])
    assert found == ["2026-01-02T23:59:59", "2026-01-05T00:00"]


def test_what_is_skipped_for_hours_is_not_looked_at_second_by_second() -> None:
    night = {"hour": [{"start": 0, "end": 19}]}
    found = times("2026-01-02T23:59:58", 2, intervals=[{"every": "1s"}], skip=[night])
    assert found == ["2026-01-02T23:59:59", "2026-01-03T20:00"]


def test_skipping_everything_ends() -> None:
    assert times("2026-01-01", 1, cron=["* * * * *"], skip=[{}]) == []


def test_skip_is_in_the_time_zone() -> None:
    night = {"hour": [{"start": 0, "end": 5}]}
    found = times("2026-07-01T20:30", 2, cron=["@hourly"], skip=[night], timeZone="Europe/Berlin")
    assert found == ["2026-07-01T21:00", "2026-07-02T04:00"]


def test_start_and_end_are_instants_that_count() -> None:
    spec = {"startAt": "2026-02-01T10:00:00Z", "endAt": "2026-02-01T12:00:00Z"}
    found = times("2026-01-01", 9, cron=["@hourly"], **spec)
    assert found == ["2026-02-01T10:00", "2026-02-01T11:00", "2026-02-01T12:00"]


BERLIN = "Europe/Berlin"
AT_230 = {"hour": [{"start": 2}], "minute": [{"start": 30}]}
HALF_HOURS = {"hour": [{"start": 0, "end": 23}], "minute": [{"start": 0}, {"start": 30}]}


@pytest.mark.parametrize("spec", [{"cron": ["30 2 * * *"]}, {"calendars": [AT_230]}])
def test_a_time_in_a_gap_fires_as_soon_as_clocks_have_jumped(spec: dict[str, Any]) -> None:
    found = times("2026-03-28T12:00", 2, timeZone=BERLIN, **spec)
    assert found == ["2026-03-29T01:00", "2026-03-30T00:30"]


@pytest.mark.parametrize("spec", [{"cron": ["30 2 * * *"]}, {"calendars": [AT_230]}])
def test_a_time_that_comes_twice_fires_the_first_time(spec: dict[str, Any]) -> None:
    found = times("2026-10-24T12:00", 2, timeZone=BERLIN, **spec)
    assert found == ["2026-10-25T00:30", "2026-10-26T01:30"]


@pytest.mark.parametrize("spec", [{"cron": ["*/30 * * * *"]}, {"calendars": [HALF_HOURS]}])
def test_what_fires_every_hour_follows_real_time(spec: dict[str, Any]) -> None:
    found = times("2026-03-29T00:15", 3, timeZone=BERLIN, **spec)
    assert found == ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"]
    found = times("2026-10-25T00:15", 4, timeZone=BERLIN, **spec)
    assert found == [f"2026-10-25T{each}" for each in ("00:30", "01:00", "01:30", "02:00")]


def test_a_zone_that_changes_by_half_an_hour_is_no_exception() -> None:
    at = {"hour": [{"start": 1}], "minute": [{"start": 45}]}
    found = times("2026-04-04T00:00", 2, calendars=[at], timeZone="Australia/Lord_Howe")
    assert found == ["2026-04-04T14:45", "2026-04-05T15:15"]


def test_jitter_puts_off_always_the_same_and_never_past_the_next() -> None:
    def firings(seed: str) -> list[tuple[datetime, datetime]]:
        timing = a_timing(seed, cron=["* * * * *"], jitter="10m")
        found = timing.due(utc("2026-01-01"), utc("2026-01-01T02:00"), most=50)
        return [(each.time, each.at) for each in found]

    ours = firings("a")
    assert ours == firings("a")
    assert ours != firings("b")
    assert all(time <= at < time + timedelta(minutes=1) for time, at in ours)
    assert len({at - time for time, at in ours}) > 40


def test_what_is_put_off_is_not_due_yet() -> None:
    timing = a_timing(cron=["0 0 * * *"], jitter="10h")
    firing = timing.next_firing(utc("2026-01-01"))
    assert firing is not None
    assert firing.at > firing.time
    assert timing.due(utc("2026-01-01"), firing.at - timedelta(milliseconds=1), most=9) == []
    assert timing.due(utc("2026-01-01"), firing.at, most=9) == [firing]


def test_the_last_time_of_all_is_due_too() -> None:
    timing = a_timing(cron=["@hourly"], endAt="2026-01-01T01:00:00Z")
    due = timing.due(utc("2026-01-01"), datetime(2027, 1, 1, tzinfo=UTC), most=9)
    assert [each.time for each in due] == [utc("2026-01-01T01:00")]
