"""The tree of errors and the facts that they carry."""

import asyncio

import pytest

import perdure.exceptions as tree
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ConversionError,
    FailureError,
    NondeterminismError,
    PayloadTooLargeError,
    PerdureError,
    UnsupportedTypeError,
    is_cancelled_exception,
)


def activity_error(cause):
    error = ActivityError("Activity failed", activity_type="charge", activity_id="1")
    error.__cause__ = cause
    return error


def test_every_error_hangs_under_the_root_and_ends_in_error():
    errors = [
        getattr(tree, name)
        for name in tree.__all__
        if isinstance(getattr(tree, name), type) and issubclass(getattr(tree, name), Exception)
    ]
    assert len(errors) == 13
    assert all(issubclass(e, PerdureError) and e.__name__.endswith("Error") for e in errors)
    assert all(e.__name__ in tree.__doc__ for e in errors)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(asyncio.CancelledError(), True, id="asyncio"),
        pytest.param(CancelledError(), True, id="ours"),
        pytest.param(activity_error(CancelledError()), True, id="a-cancelled-activity"),
        pytest.param(activity_error(ApplicationError("no")), False, id="a-failed-activity"),
        pytest.param(ValueError(), False, id="anything-else"),
    ],
)
def test_cancellation_is_recognised_in_each_of_its_forms(error, expected):
    assert is_cancelled_exception(error) is expected


def test_an_application_error_shows_its_type():
    assert str(ApplicationError("card refused", type="Declined")) == "Declined: card refused"
    assert str(ApplicationError("card refused")) == "card refused"
    assert ApplicationError("card refused", type="Declined").message == "card refused"


def test_a_failure_knows_what_caused_it():
    cause = ApplicationError("no")
    assert activity_error(cause).cause is cause


def test_a_nondeterminism_error_shows_both_sides_and_the_place():
    error = NondeterminismError("TimerStarted(seq=3)", "ActivityScheduled(seq=3)", 17)
    assert (error.recorded, error.attempted, error.position) == (
        "TimerStarted(seq=3)",
        "ActivityScheduled(seq=3)",
        17,
    )
    assert "event 17" in str(error)
    assert not isinstance(error, FailureError)


def test_a_conversion_error_says_which_value_and_where_in_it():
    error = ConversionError("expected int, got str", path="$.qty", expected="int", found="str")
    assert str(error) == "$.qty: expected int, got str"
    assert str(error.at("argument 1")) == "argument 1: $.qty: expected int, got str"
    assert error.at("argument 1").expected == "int"
    assert str(ConversionError("expected int, got str")) == "expected int, got str"


def test_an_unsupported_type_is_both_a_type_error_and_a_conversion_error():
    error = UnsupportedTypeError("cannot write a socket").at("the result")
    assert isinstance(error, TypeError)
    assert isinstance(error, ConversionError)
    assert str(error) == "the result: cannot write a socket"


def test_a_payload_over_the_limit_is_told_in_numbers():
    error = PayloadTooLargeError(3_000_000, 2_097_152, "the result of resize")
    assert (error.size, error.limit) == (3_000_000, 2_097_152)
    assert "the result of resize takes 3,000,000 bytes" in str(error)
