"""Which activity or step an error comes from: what a retry of the run begins with."""

from __future__ import annotations

import asyncio

import pytest

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure.protocol import events as ev
from perdure.replay._origins import failed_seq
from support.histories import RunDriver


def activity_error(seq: int) -> ActivityError:
    error = ActivityError("failed", activity_type="act", activity_id=str(seq))
    error.seq = seq
    return error


def raised(error: Exception, *, during: Exception | None = None, cause: object = ...) -> Exception:
    """Return an error as it is once it was raised."""
    try:
        try:
            if during is not None:
                raise during
        finally:
            if cause is ...:
                raise error
            raise error from cause  # type: ignore[misc]
    except Exception as caught:  # noqa: BLE001 - the very error
        return caught


@pytest.mark.parametrize(
    ("error", "seq"),
    [
        pytest.param(activity_error(3), 3, id="itself"),
        pytest.param(raised(ValueError(), cause=activity_error(3)), 3, id="its-cause"),
        pytest.param(raised(ValueError(), during=activity_error(3)), 3, id="raised-during-it"),
        pytest.param(
            raised(activity_error(5), during=activity_error(3)), 5, id="a-cleanup-that-failed"
        ),
        pytest.param(
            raised(ValueError(), during=activity_error(3), cause=None), 0, id="said-from-none"
        ),
        pytest.param(ExceptionGroup("g", [ValueError(), activity_error(3)]), 3, id="in-a-group"),
        pytest.param(ValueError(), 0, id="of-itself"),
    ],
)
def test_an_error_comes_from_an_activity_or_from_none(error: Exception, seq: int) -> None:
    assert failed_seq(error) == seq


def test_a_circle_of_causes_has_an_end() -> None:
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert failed_seq(one) == 0


def fails() -> None:
    raise ApplicationError("no", non_retryable=True)


@workflow.defn
class FailsOnStep:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(1)
        await workflow.step(fails, name="fails")


def test_the_end_of_a_run_says_which_step_it_comes_from() -> None:
    run = RunDriver(FailsOnStep).play()
    closing = run.events[-1].event
    assert isinstance(closing, ev.WorkflowFailed)
    assert closing.failed_seq == 2
