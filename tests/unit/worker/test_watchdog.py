import asyncio
import logging
import threading

import pytest

from perdure.worker import _watchdog
from perdure.worker._watchdog import DeadlockError, Watchdog, where_is


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watchdog(clock):
    return Watchdog(deadlock_timeout=2.0, clock=clock)


def spin_for_ever(began: threading.Event) -> None:
    began.set()
    while True:
        pass


def look_from_another_thread(watchdog, began: threading.Event, clock):
    def look() -> None:
        began.wait()
        clock.now += 2.5
        watchdog.look()

    looking = threading.Thread(target=look)
    looking.start()
    return looking


def test_what_returns_in_time_is_left_alone(watchdog, clock):
    assert watchdog.run("workflow w", lambda: 3) == 3
    clock.now += 100
    watchdog.look()


def test_an_error_passes_through(watchdog):
    with pytest.raises(KeyError):
        watchdog.run("workflow w", lambda: {}["x"])


def test_code_that_never_waits_is_interrupted_and_its_line_named(watchdog, clock):
    began = threading.Event()
    looking = look_from_another_thread(watchdog, began, clock)
    with pytest.raises(DeadlockError) as caught:
        watchdog.run("workflow order-42", lambda: spin_for_ever(began))
    looking.join()
    assert "workflow order-42 ran for 2.5 s" in str(caught.value)
    assert "test_watchdog.py" in str(caught.value)
    assert "in spin_for_ever" in str(caught.value)


def test_code_that_swallows_the_interruption_is_interrupted_again(watchdog, clock):
    struck = []

    def swallow() -> str:
        for _ in range(2):
            try:
                clock.now += 2.5
                watchdog.look()
                spin_for_ever(threading.Event())
            except BaseException as error:  # noqa: BLE001 - that is what is tested
                struck.append(error)
        return "survived"

    with pytest.raises(DeadlockError):
        watchdog.run("workflow w", swallow)
    assert [type(error) for error in struck] == [DeadlockError, DeadlockError]


def test_an_interruption_that_is_still_due_at_the_end_is_taken_back(watchdog, clock, monkeypatch):
    taken_back = []
    monkeypatch.setattr(_watchdog, "raise_in_thread", lambda *_: None)
    monkeypatch.setattr(_watchdog, "forget_raise", taken_back.append)

    def late() -> None:
        clock.now += 3
        watchdog.look()

    with pytest.raises(DeadlockError):
        watchdog.run("workflow w", late)
    assert taken_back == [threading.get_ident()]


def test_without_a_limit_code_may_take_any_time(clock):
    watchdog = Watchdog(deadlock_timeout=None, clock=clock)

    def slow() -> str:
        clock.now += 100
        watchdog.look()
        return "done"

    assert watchdog.run("workflow w", slow) == "done"


async def test_a_blocked_loop_is_told_with_the_culprit_and_the_line(watchdog, clock, caplog):
    watchdog.start()
    watchdog.stop()
    watchdog.beat(4.0)

    async def block() -> None:
        clock.now += 5
        watchdog.look()
        watchdog.look()

    await asyncio.create_task(block(), name="activity charge (of order-42)")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "blocked for 5.0 s by activity charge (of order-42), at" in record.message
    assert "in block" in record.message


async def test_a_loop_that_beats_is_not_blocked(watchdog, clock, caplog):
    watchdog.start()
    watchdog.stop()
    for _ in range(3):
        clock.now += 1.6
        watchdog.beat(4.0)
        watchdog.look()
    clock.now += 100
    watchdog.beat(None)
    clock.now += 100
    watchdog.look()
    assert caplog.records == []


async def test_a_callback_and_workflow_code_can_be_culprits_too(watchdog, clock, caplog):
    watchdog.start()
    watchdog.stop()
    watchdog.beat(1.0)

    def block() -> None:
        clock.now += 1.5
        watchdog.look()

    watchdog.run("workflow w", block)
    watchdog.beat(1.0)
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (block(), done.set()))
    await done.wait()
    assert "by workflow w, at" in caplog.records[0].message
    assert "by a callback, at" in caplog.records[1].message


def test_a_thread_that_is_gone_is_nowhere():
    assert where_is(1) == "an unknown place"


def test_where_nobody_of_the_users_is_the_innermost_place_counts():
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        assert thread.ident is not None
        assert "threading.py" in where_is(thread.ident)
    finally:
        waiting.set()
        thread.join()
