"""The work queue: merged, spaced, repeated; on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_operator.controllers.workqueue import Backoff, Schedule, WorkQueue


def schedule(spacing: float = 1.0) -> Schedule[str]:
    return Schedule(spacing=spacing, backoff=Backoff(first=1.0, most=60.0))


def test_a_key_added_often_is_taken_once() -> None:
    queue = schedule()
    for _ in range(5):
        queue.add("a", now=0.0)

    assert queue.take(0.0) == "a"
    assert queue.take(0.0) is None


def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    queue = schedule()
    queue.add("late", now=0.0, delay=2.0)
    queue.add("early", now=0.0, delay=1.0)

    assert queue.take(0.5) is None
    assert [queue.take(3.0), queue.take(3.0)] == ["early", "late"]


def test_the_earliest_time_asked_for_wins() -> None:
    queue = schedule()
    queue.add("a", now=0.0, delay=100.0)
    queue.add("a", now=0.0, delay=5.0)
    queue.add("a", now=0.0, delay=50.0)

    assert queue.next_due() == 5.0
    assert queue.take(5.0) == "a"
    assert queue.take(200.0) is None


def test_a_key_being_worked_on_is_given_to_nobody_else() -> None:
    queue = schedule(spacing=0.0)
    queue.add("a", now=0.0)
    assert queue.take(0.0) == "a"
    queue.add("a", now=0.0)

    assert queue.take(1.0) is None
    assert queue.next_due() is None

    queue.finish("a", now=1.0)
    assert queue.take(1.0) == "a"


def test_looks_at_one_key_are_spaced_unless_urgent() -> None:
    queue = schedule(spacing=1.0)
    queue.add("a", now=10.0)
    queue.take(10.0)
    queue.finish("a", now=10.1)

    queue.add("a", now=10.2)
    assert queue.take(10.9) is None
    assert queue.next_due() == 11.0

    queue.add("a", now=10.3, urgent=True)
    assert queue.take(10.3) == "a"


def test_a_key_that_was_quiet_is_not_made_to_wait() -> None:
    queue = schedule(spacing=1.0)
    queue.add("a", now=0.0)
    queue.take(0.0)
    queue.finish("a", now=0.0)

    queue.add("a", now=7.0)
    assert queue.take(7.0) == "a"


def test_each_failure_in_a_row_doubles_the_wait_up_to_the_most() -> None:
    queue = schedule(spacing=0.0)
    queue.add("a", now=0.0)
    now, waits = 0.0, []
    for _ in range(8):
        assert queue.take(now) == "a"
        waits.append(queue.fail("a", now=now))
        assert queue.take(now + waits[-1] - 0.01) is None
        now += waits[-1]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_success_forgets_the_failures() -> None:
    queue = schedule(spacing=0.0)
    queue.add("a", now=0.0)
    queue.take(0.0)
    queue.fail("a", now=0.0)
    queue.take(1.0)
    queue.finish("a", now=1.0, again=1.0)
    queue.take(2.0)

    assert queue.fail("a", now=2.0) == 1.0


def test_a_look_that_was_asked_for_again_comes_at_its_time_but_not_after_an_earlier_one() -> None:
    queue = schedule(spacing=0.0)
    queue.add("a", now=0.0)
    queue.take(0.0)
    queue.finish("a", now=0.0, again=3600.0)
    queue.add("a", now=1.0)

    assert queue.take(1.0) == "a"
    queue.finish("a", now=1.0)
    assert queue.take(4000.0) is None


def test_a_failure_for_weeks_does_not_overflow() -> None:
    assert Backoff().delay(100_000) == 60.0


def test_quiet_keys_are_forgotten() -> None:
    queue = schedule(spacing=1.0)
    for number in range(100):
        queue.add(f"k{number}", now=0.0)
        queue.take(0.0)
        queue.finish(f"k{number}", now=0.0)
    queue.take(2.0)

    assert not queue._last
    assert not queue._recent
    assert not queue._heap


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.booleans()), min_size=1, max_size=30
    )
)
def test_whatever_is_added_is_taken_and_never_before_its_time(
    adds: list[tuple[str, float, bool]],
) -> None:
    queue, now = schedule(spacing=0.5), 0.0
    wanted: dict[str, float] = {}
    for key, delay, urgent in adds:
        queue.add(key, now=now, delay=delay, urgent=urgent)
        wanted[key] = min(wanted.get(key, now + delay), now + delay)
        now += 0.01
        taken = queue.take(now)
        if taken:
            assert wanted.pop(taken) <= now
            queue.finish(taken, now=now)

    taken_later = set()
    while (due := queue.next_due()) is not None:
        key = queue.take(due)
        assert key is not None
        taken_later.add(key)
        queue.finish(key, now=due)
    assert taken_later == set(wanted)
    assert len(queue) == 0


@pytest.mark.looptime
async def test_a_waiting_task_wakes_when_a_key_is_due() -> None:
    queue = WorkQueue(schedule())
    loop = asyncio.get_running_loop()
    began = loop.time()
    queue.add("a", delay=30.0)

    assert await queue.take() == "a"
    assert loop.time() - began == pytest.approx(30.0)


@pytest.mark.looptime
async def test_a_waiting_task_wakes_when_something_earlier_is_added() -> None:
    queue = WorkQueue(schedule())
    queue.add("late", delay=1000.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(5.0, queue.add, "now")

    assert await queue.take() == "now"
    assert loop.time() - began == pytest.approx(5.0)


@pytest.mark.looptime
async def test_each_key_goes_to_one_of_many_waiting_tasks() -> None:
    queue = WorkQueue(schedule())
    taken: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.take()
            taken.append(key)
            await asyncio.sleep(1.0)
            queue.finish(key)

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    for number in range(10):
        queue.add(f"k{number}")
    await asyncio.sleep(10.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert sorted(taken) == sorted(f"k{number}" for number in range(10))


def test_the_key_that_waits_longest_tells_how_far_behind_we_are() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.oldest(now=5) == 0
    schedule.add("a", now=10)
    schedule.add("b", now=12)
    schedule.add("later", now=10, delay=60)

    assert schedule.oldest(now=15) == 5
    schedule.take(now=15)
    assert schedule.oldest(now=15) == 3
