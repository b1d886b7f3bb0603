"""Durations in manifests."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_operator.model.durations import (
    DURATION_PATTERN,
    DurationError,
    format_duration,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("2h", timedelta(hours=2)),
        ("5m", timedelta(minutes=5)),
        ("60s", timedelta(seconds=60)),
        ("500ms", timedelta(milliseconds=500)),
        ("1h30m", timedelta(minutes=90)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("0s", timedelta()),
        ("30m1h", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("30", "its unit is missing"),
        ("1.5h", "fractions are not allowed"),
        ("-5s", "cannot be negative"),
        ("5 s", "does not have that form"),
        ("5s\n", "does not have that form"),
        ("5w", "does not have that form"),
        ("٣s", "does not have that form"),
        ("PT5S", "does not have that form"),
        ("999999999d999999999d", "longer than 999999999 days"),
    ],
)
def test_a_wrong_duration_is_refused_with_its_text_the_fault_and_an_example(
    text: str, why: str
) -> None:
    with pytest.raises(DurationError) as error:
        parse_duration(text)

    assert repr(text) in str(error.value)
    assert why in str(error.value)
    assert "1h30m" in str(error.value)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=100_000_000)))
def test_a_duration_is_read_back_as_it_was_written_to_the_millisecond(value: timedelta) -> None:
    text = format_duration(value)

    assert re.fullmatch(DURATION_PATTERN, text)
    assert timedelta() <= value - parse_duration(text) < timedelta(milliseconds=1)


@given(st.from_regex(re.compile("([0-9]{1,8}(ms|d|h|m|s)){1,5}", re.ASCII), fullmatch=True))
def test_what_the_api_server_accepts_can_be_read(text: str) -> None:
    assert parse_duration(text) >= timedelta()


def test_a_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))
