import asyncio
import threading

import pytest

from perdure.worker._heartbeats import Heartbeats, throttle_interval

pytestmark = pytest.mark.looptime


@pytest.fixture
def sent():
    return []


@pytest.fixture
async def heartbeats(sent):
    loop = asyncio.get_running_loop()
    return Heartbeats(interval=8.0, send=lambda details: sent.append((loop.time(), details)))


async def test_the_first_is_sent_at_once_and_the_last_of_an_interval_at_its_end(heartbeats, sent):
    for number in range(5):
        heartbeats.beat(number)
    assert sent == [(0, (0,))]
    await asyncio.sleep(10)
    assert sent == [(0, (0,)), (8, (4,))]


async def test_after_a_silent_interval_the_next_is_sent_at_once(heartbeats, sent):
    heartbeats.beat("first")
    await asyncio.sleep(20)
    heartbeats.beat("second")
    assert sent == [(0, ("first",)), (20, ("second",))]


async def test_the_last_word_is_sent_when_the_attempt_fails(heartbeats, sent):
    heartbeats.beat("first")
    heartbeats.beat("last")
    heartbeats.finish(flush=True)
    assert sent == [(0, ("first",)), (0, ("last",))]
    await asyncio.sleep(20)
    assert len(sent) == 2


async def test_nothing_is_sent_when_it_is_over(heartbeats, sent):
    heartbeats.beat("first")
    heartbeats.beat("late")
    heartbeats.finish(flush=False)
    heartbeats.beat("later")
    await asyncio.sleep(20)
    assert sent == [(0, ("first",))]


@pytest.mark.looptime(False)
async def test_a_thread_wakes_the_loop_once_for_many(sent):
    heard = asyncio.Event()

    def send(details):
        sent.append(details)
        heard.set()

    heartbeats = Heartbeats(interval=8.0, send=send)

    def beat() -> None:
        for number in range(1_000):
            heartbeats.beat(number)

    thread = threading.Thread(target=beat)
    thread.start()
    thread.join()
    await heard.wait()
    heartbeats.finish(flush=True)
    assert sent == [(999,)]


@pytest.mark.parametrize(
    ("timeout", "interval"),
    [
        pytest.param(10_000, 8.0, id="four-fifths-of-the-timeout"),
        pytest.param(None, 30.0, id="no-timeout"),
        pytest.param(3_600_000, 60.0, id="never-longer-than-a-minute"),
    ],
)
def test_the_time_between_two_that_are_sent(timeout, interval):
    assert throttle_interval(timeout) == interval
