"""Retry policies and the units on the wire."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure.common import RetryPolicy, from_instant, from_millis, to_instant, to_millis
from perdure.protocol import payloads

FULL = RetryPolicy(
    initial_interval=timedelta(milliseconds=1500),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=7,
    non_retryable_error_types=("ValueError",),
)


@pytest.mark.parametrize(
    "policy", [pytest.param(RetryPolicy(), id="default"), pytest.param(FULL, id="full")]
)
def test_a_policy_survives_the_wire(policy):
    assert RetryPolicy.from_protocol(policy.to_protocol()) == policy


def test_the_defaults_of_both_forms_agree():
    assert RetryPolicy().to_protocol() == payloads.RetryPolicy()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"initial_interval": timedelta(0)}, "initial_interval", id="no-interval"),
        pytest.param({"backoff_coefficient": 0.9}, "backoff_coefficient", id="shrinking"),
        pytest.param({"backoff_coefficient": float("nan")}, "backoff_coefficient", id="nan"),
        pytest.param({"maximum_attempts": -1}, "maximum_attempts", id="negative-attempts"),
        pytest.param(
            {"maximum_interval": timedelta(milliseconds=1)}, "maximum_interval", id="cap-below"
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**fields)


def test_delays_do_not_matter_when_there_is_one_attempt():
    assert RetryPolicy(maximum_attempts=1, initial_interval=timedelta(0)).maximum_attempts == 1


def test_a_policy_spoilt_after_construction_is_refused_on_the_way_out():
    policy = RetryPolicy()
    policy.maximum_attempts = -2
    with pytest.raises(ValueError, match="maximum_attempts"):
        policy.to_protocol()


def test_a_short_duration_never_becomes_none():
    assert to_millis(timedelta(microseconds=1)) == 1
    assert to_millis(timedelta(0)) == 0
    assert to_millis(None) is None


def test_durations_and_instants_come_back():
    moment = datetime(2026, 5, 4, 3, 2, 1, 999_000, tzinfo=UTC)
    assert from_instant(to_instant(moment)) == moment
    assert from_millis(to_millis(timedelta(days=400, milliseconds=3))) == timedelta(
        days=400, milliseconds=3
    )
    assert from_instant(None) is None


def test_a_moment_without_a_time_zone_names_no_instant():
    with pytest.raises(ValueError, match="time zone"):
        to_instant(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the fault under test
