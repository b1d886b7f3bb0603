"""Exceptions become failures and come back, whatever is in them."""

import asyncio
from datetime import timedelta

import pytest

from perdure.converter import default
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    PayloadTooLargeError,
    RetryState,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's name
    TimeoutType,
)
from perdure.protocol.failures import (
    ApplicationInfo,
    CanceledInfo,
    Failure,
    TerminatedInfo,
    TimeoutInfo,
)
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload


def raised(exception, cause=None):
    try:
        raise exception from cause
    except BaseException as error:  # noqa: BLE001 - any is returned
        return error


def there_and_back(exception):
    return default().from_failure(default().to_failure(exception))


def test_an_application_error_keeps_everything():
    error = there_and_back(
        ApplicationError(
            "card refused",
            {"code": 51},
            "again",
            type="Declined",
            non_retryable=True,
            next_retry_delay=timedelta(seconds=3),
            category=ApplicationErrorCategory.BENIGN,
        )
    )
    assert isinstance(error, ApplicationError)
    assert error.message == "card refused"
    assert list(error.details) == [{"code": 51}, "again"]
    assert (error.type, error.non_retryable) == ("Declined", True)
    assert error.next_retry_delay == timedelta(seconds=3)
    assert error.category is ApplicationErrorCategory.BENIGN


def test_an_exception_of_ones_own_becomes_an_application_error_of_its_class():
    error = there_and_back(KeyError("sku"))
    assert isinstance(error, ApplicationError)
    assert (error.type, error.message, error.non_retryable) == ("KeyError", "'sku'", False)


def test_a_payload_over_the_limit_is_not_tried_again():
    failure = default().to_failure(PayloadTooLargeError(2, 1))
    assert failure.info == ApplicationInfo(type="PayloadTooLargeError", non_retryable=True)


@pytest.mark.parametrize(
    ("error", "info"),
    [
        pytest.param(asyncio.CancelledError(), CanceledInfo(), id="asyncio-cancelled"),
        pytest.param(CancelledError(), CanceledInfo(), id="cancelled"),
        pytest.param(TerminatedError(), TerminatedInfo(), id="terminated"),
        pytest.param(
            TimeoutError("late", type=TimeoutType.HEARTBEAT), TimeoutInfo(timeout=4), id="timeout"
        ),
    ],
)
def test_each_kind_is_recorded_as_what_it_is(error, info):
    assert default().to_failure(error).info == info


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(CancelledError("stopped", 1), id="cancelled"),
        pytest.param(TerminatedError("ended"), id="terminated"),
    ],
)
def test_an_end_from_outside_comes_back(error):
    back = there_and_back(error)
    assert type(back) is type(error)
    assert (back.message, list(back.details)) == (error.message, list(error.details))


def test_a_timeout_comes_back_with_what_was_said_last():
    back = there_and_back(
        TimeoutError("late", type=TimeoutType.SCHEDULE_TO_CLOSE, last_heartbeat_details=[7])
    )
    assert isinstance(back, TimeoutError)
    assert back.type is TimeoutType.SCHEDULE_TO_CLOSE
    assert list(back.last_heartbeat_details) == [7]


def test_a_chain_of_causes_is_kept():
    inner = raised(ValueError("bad sku"))
    activity = ActivityError(
        "Activity failed",
        identity="1@host",
        activity_type="charge",
        activity_id="5",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    back = there_and_back(raised(activity, raised(RuntimeError("no"), inner)))
    assert isinstance(back, ActivityError)
    assert (back.activity_type, back.activity_id, back.identity) == ("charge", "5", "1@host")
    assert back.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED
    assert back.cause.type == "RuntimeError"
    assert back.cause.cause.type == "ValueError"


def test_the_place_it_was_raised_at_travels():
    failure = default().to_failure(raised(ValueError("no")))
    assert "in raised" in failure.stack_trace
    assert any("in raised" in note for note in default().from_failure(failure).__notes__)


def test_an_error_from_elsewhere_goes_on_as_it_was():
    failure = Failure(message="no", info=ApplicationInfo(type="X"), stack_trace="File a, line 1")
    assert default().to_failure(raised(default().from_failure(failure))) is failure


def test_a_chain_that_bites_its_tail_ends():
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    failure = default().to_failure(first)
    depth = 0
    while failure := failure.cause:
        depth += 1
    assert depth == 20


def test_texts_are_bounded_and_keep_both_ends():
    failure = default().to_failure(ValueError("begin" + "x" * 100_000 + "end"))
    assert len(failure.message) < 20_100
    assert failure.message.startswith("begin")
    assert failure.message.endswith("end")
    assert "characters left out" in failure.message


class RudeError(Exception):
    def __str__(self):
        raise RuntimeError


def test_an_exception_that_cannot_say_what_it_is_is_recorded_all_the_same():
    assert default().to_failure(RudeError()).message == (
        "RudeError, whose text cannot be had (RuntimeError)"
    )


@pytest.mark.parametrize(
    "detail",
    [
        pytest.param(object(), id="of-an-unknown-type"),
        pytest.param(b"x" * (MAX_PAYLOAD_BYTES + 1), id="too-large"),
    ],
)
def test_details_that_cannot_travel_do_not_hide_the_error(detail):
    back = there_and_back(ApplicationError("no", detail, type="X"))
    assert back.type == "X"
    assert back.message.startswith("no (its details are left out: ")
    assert not back.details


def test_details_that_cannot_be_read_stay_encoded():
    payload = Payload({"encoding": b"of/mine"}, b"?")
    error = default().from_failure(Failure(info=ApplicationInfo(details=(payload,))))
    assert list(error.details) == [payload]


def test_a_group_of_errors_names_its_members():
    group = ExceptionGroup("two", [ValueError("a"), ExceptionGroup("one", [KeyError("b")])])
    assert default().to_failure(group).message == (
        "two: ValueError: a; ExceptionGroup: one: KeyError: 'b'"
    )


def test_a_category_of_a_newer_version_counts_as_none():
    error = default().from_failure(Failure(info=ApplicationInfo(category="LOUD")))
    assert error.category is ApplicationErrorCategory.UNSPECIFIED
