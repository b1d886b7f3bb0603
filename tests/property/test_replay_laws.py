"""Law 1 of the engine, on the side of the code: replaying yields the commands that made a history.

Random programs meet random happenings. Whatever comes of it must replay from any prefix, and must
be the same when every task is a full replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from perdure.protocol import events as ev
from perdure.protocol.failures import Failure
from support.histories import RunDriver, assert_replays, open_drivers, replay
from support.programs import Happening, Program, happenings, programs, workflow_of
from support.stories import happen

checked = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def close_runs() -> Iterator[None]:
    yield
    while open_drivers:
        open_drivers.pop().evict()


def live(program: Program, story: Sequence[Happening], *, cached: bool) -> RunDriver:
    """Run a program through a story, and then to its end as far as it goes."""
    run = RunDriver(workflow_of(program), cached=cached)
    for happening in story:
        if run.is_closed:
            return run
        happen(run, happening)
    if not run.is_closed:
        run.play({"act": lambda _: "activity"})
    return run


def without_stacks(run: RunDriver) -> list[Any]:
    return [(each.id, each.time, _stackless(each.event)) for each in run.events]


def _stackless(event: Any) -> Any:
    failure = getattr(event, "failure", None)
    if not isinstance(failure, Failure):
        return event
    return msgspec.structs.replace(event, failure=_bare(failure))


def _bare(failure: Failure | None) -> Failure | None:
    if failure is None:
        return None
    return msgspec.structs.replace(failure, stack_trace="", cause=_bare(failure.cause))


@checked
@given(programs, happenings)
def test_a_history_replays_from_any_prefix(program: Program, story: list[Happening]) -> None:
    run = live(program, story, cached=True)

    assert_replays(run)
    assert replay(run).commands == [] or not run.is_closed


@checked
@given(programs, happenings)
def test_full_replays_make_the_same_history_as_a_cached_run(
    program: Program, story: list[Happening]
) -> None:
    cached = live(program, story, cached=True)
    replayed = live(program, story, cached=False)

    assert without_stacks(cached) == without_stacks(replayed)


@checked
@given(programs, happenings)
def test_a_history_has_one_end_and_every_number_is_asked_for_once(
    program: Program, story: list[Happening]
) -> None:
    run = live(program, story, cached=True)
    events = [each.event for each in run.events]

    assert all(not isinstance(each, ev.CLOSING_EVENTS) for each in events[:-1])
    asked = [
        each.seq
        for each in events
        if isinstance(each, (ev.TimerStarted, ev.ActivityScheduled, ev.BatchScheduled))
    ]
    assert len(asked) == len(set(asked))
    assert asked == sorted(asked)


@checked
@given(programs, happenings)
def test_a_query_sees_the_same_on_every_worker(program: Program, story: list[Happening]) -> None:
    run = live(program, story, cached=True)
    if run.instance is None or len(run.events) > run.sent or not run.told:
        return
    here = run.query("seen")
    run.evict()

    assert run.query("seen") == here
