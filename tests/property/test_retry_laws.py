"""The laws of a retry, against random programs and random happenings.

Whatever a run has come to, and wherever its retry goes back to: the new history replays without a
difference, from any prefix; nothing that is recorded as done is run again; what is asked for again
has the idempotency key that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import workflow
from perdure.protocol import events as ev
from perdure.protocol.retries import idempotency_key
from perdure_operator.engine import retrying
from perdure_operator.engine.retry_points import FAILURES
from support.histories import RunDriver, assert_replays, open_drivers
from support.programs import Happening, Program, happenings, programs, workflow_of
from support.retries import retry_of
from support.stories import happen

TIMEOUT = timedelta(seconds=30)
checked = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def close_runs() -> Iterator[None]:
    yield
    while open_drivers:
        open_drivers.pop().evict()


def ended(program: Program, story: list[Happening]) -> RunDriver | None:
    """A run that went through a story and was then ended from outside, if it had not completed."""
    run = RunDriver(workflow_of(program))
    for happening in story:
        if run.is_closed:
            break
        happen(run, happening)
    if not run.is_closed:
        run.terminate()
    return None if isinstance(run.events[-1].event, ev.WorkflowCompleted) else run


def done(run: RunDriver) -> set[int]:
    kinds = (ev.ActivityCompleted, ev.StepCompleted)
    return {each.event.seq for each in run.events if isinstance(each.event, kinds)}


def play_on(run: RunDriver, *, cached: bool = True) -> RunDriver:
    """Go on with a retried run; nothing that is recorded as done is handed out."""
    run.cached = cached
    kept = done(run)
    run.play({"act": lambda _: "activity"})
    assert not kept & set(run.handed_steps)
    assert len(done(run)) == len(
        [e for e in run.events if isinstance(e.event, (ev.ActivityCompleted, ev.StepCompleted))]
    )
    return run


@checked
@given(programs, happenings, st.booleans())
def test_a_retried_run_replays_from_any_prefix(
    program: Program, story: list[Happening], cached: bool
) -> None:
    run = ended(program, story)
    if run is None:
        return
    _, again = retry_of(run)

    assert_replays(play_on(again, cached=cached))


@checked
@given(programs, happenings, st.data())
def test_a_retry_from_any_failure_replays_and_keeps_what_does_not_come_from_it(
    program: Program, story: list[Happening], data: st.DataObject
) -> None:
    run = ended(program, story)
    failures = [each.id for each in run.events if isinstance(each.event, FAILURES)] if run else []
    if run is None or not failures:
        return
    point = data.draw(st.sampled_from(failures))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrying, "find_point", lambda _history: point)
        retry, again = retry_of(run)

    kept = done(again)
    effects = {each.event for each in retry.effects if each.is_completed}
    for each in run.events:
        if isinstance(each.event, (ev.ActivityCompleted, ev.StepCompleted)):
            assert (each.event.seq in kept) != (each.id in effects)
    assert_replays(play_on(again))


@checked
@given(programs, happenings, happenings)
def test_keys_of_what_was_asked_for_never_change(
    program: Program, story: list[Happening], more: list[Happening]
) -> None:
    run = ended(program, story)
    if run is None:
        return
    _, second = retry_of(run, "run-2")
    for happening in more:
        if not second.is_closed:
            happen(second, happening)
    if not second.is_closed:
        second.terminate()
    if isinstance(second.events[-1].event, ev.WorkflowCompleted):
        return
    _, third = retry_of(second, "run-3")

    for seq in asked(third):
        assert key(third, seq) == key(second, seq)
    for seq in asked(second):
        assert key(second, seq) == f"run-1:{seq}"


def asked(run: RunDriver) -> set[int]:
    commands = (ev.ActivityScheduled, ev.StepCompleted, ev.StepFailed)
    return {
        each.event.seq for each in run.events[: run.commits[0]] if isinstance(each.event, commands)
    }


def key(run: RunDriver, seq: int) -> str:
    start: Any = run.events[0].event
    return idempotency_key(run.run_id, start.keys, seq)


# --- as if it had not failed ---------------------------------------------------------------------

Line = tuple[str, ...]
"""Activities that run at once."""
lines = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple), max_size=4)


def orders(plan: list[Line]) -> type:
    @workflow.defn(name="Orders")
    class Orders:
        @workflow.run
        async def run(self) -> list[Any]:
            results = []
            for number, line in enumerate(plan):
                handles = [
                    workflow.start_activity(f"{name}{number}", start_to_close_timeout=TIMEOUT)
                    for name in line
                ]
                results += [await handle for handle in handles]
                results.append(workflow.random().randrange(10**6))
            return results

    return Orders


@checked
@given(lines, st.lists(st.integers(0, 11), max_size=4), st.randoms(use_true_random=False))
def test_a_run_that_failed_and_was_retried_ends_as_if_it_had_not(
    plan: list[Line], fails: list[int], order: Any
) -> None:
    smooth = RunDriver(orders(plan))
    complete_all(smooth, [], order)
    run = RunDriver(orders(plan))
    effects = complete_all(run, fails, order)
    for number in range(2, 20):
        if not isinstance(run.events[-1].event, ev.WorkflowFailed):
            break
        retry, run = retry_of(run, f"run-{number}")
        assert not retry.effects
        effects += complete_all(run, [], order)

    assert run.result == smooth.result
    assert sorted(effects) == list(range(1, len(effects) + 1)), "each once"
    assert_replays(run)


def complete_all(run: RunDriver, fails: list[int], order: Any) -> list[int]:
    """Complete activities in any order but those that fail; return what was done."""
    done = []
    run.activate()
    while run.activities and not run.is_closed:
        seq = order.choice(sorted(run.activities))
        if seq in fails:
            run.fail_activity(seq).activate()
        else:
            name = run.activities[seq].activity_type
            done.append(seq)
            run.complete_activity(seq, name).activate()
    return done
