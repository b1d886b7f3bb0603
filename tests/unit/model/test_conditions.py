"""Setting status conditions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perdure_operator.model.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    clear_condition,
    find_condition,
    is_true,
    set_condition,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def ready(status: ConditionStatus = FALSE, at: datetime = NOON) -> tuple[Condition, ...]:
    return set_condition((), ConditionType.READY, status, Reason.PENDING, "waits", 1, at)


def test_a_condition_that_was_not_there_is_added_with_the_time() -> None:
    (condition,) = ready()

    assert condition.model_dump(mode="json") == {
        "type": "Ready",
        "status": "False",
        "reason": "Pending",
        "message": "waits",
        "lastTransitionTime": "2026-11-22T12:00:00Z",
        "observedGeneration": 1,
    }


def test_the_transition_time_stays_while_the_status_does() -> None:
    (condition,) = set_condition(
        ready(), ConditionType.READY, FALSE, Reason.RUNNING, "runs", 2, LATER
    )

    assert condition.last_transition_time == NOON
    assert (condition.reason, condition.message, condition.observed_generation) == (
        "Running",
        "runs",
        2,
    )


@pytest.mark.parametrize("status", [TRUE, UNKNOWN])
def test_the_transition_time_changes_with_the_status(status: ConditionStatus) -> None:
    (condition,) = set_condition(
        ready(), ConditionType.READY, status, Reason.SUCCEEDED, "", 1, LATER
    )

    assert condition.last_transition_time == LATER


def test_other_conditions_keep_their_place() -> None:
    conditions = set_condition(ready(), ConditionType.WORKERS_READY, TRUE, Reason.IDLE, "", 1, NOON)

    changed = set_condition(conditions, ConditionType.READY, TRUE, Reason.SUCCEEDED, "", 1, LATER)

    assert [c.type for c in changed] == ["Ready", "WorkersReady"]
    assert changed[1] is conditions[1]


def test_the_conditions_that_were_given_are_not_changed() -> None:
    before = ready()

    set_condition(before, ConditionType.READY, TRUE, Reason.SUCCEEDED, "", 1, LATER)

    assert before == ready()


@pytest.mark.parametrize("type_", [ConditionType.RECONCILING, ConditionType.STALLED])
def test_an_abnormal_condition_is_left_out_once_it_is_false(type_: ConditionType) -> None:
    trouble = set_condition(ready(), type_, TRUE, Reason.INVALID_SPEC, "no", 1, NOON)
    assert is_true(trouble, type_)

    over = set_condition(trouble, type_, FALSE, Reason.RUNNING, "", 1, LATER)

    assert over == ready()


def test_a_condition_can_be_cleared_and_is_then_not_found() -> None:
    assert clear_condition(ready(), ConditionType.READY) == ()
    assert find_condition((), ConditionType.READY) is None
    assert not is_true(ready(UNKNOWN), ConditionType.READY)


def test_a_message_that_is_too_long_for_the_schema_is_cut() -> None:
    (condition,) = set_condition(
        (), ConditionType.READY, FALSE, Reason.RUNNING, "x" * 5000, 1, NOON
    )

    assert len(condition.message) == 4096
    assert condition.message.endswith("x…")


def test_types_and_reasons_are_camel_case_words() -> None:
    for word in [*ConditionType, *Reason]:
        assert word.value.isalnum(), word
        assert word.value[0].isupper(), word
