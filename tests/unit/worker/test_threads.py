import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from perdure.worker import _threads
from perdure.worker._threads import Interrupter


class StopError(Exception):
    """What the tests interrupt with."""


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def spin(began: threading.Event) -> None:
    began.set()
    while True:
        pass


def test_a_call_is_interrupted_where_it_is(thread):
    interrupter, began = Interrupter(), threading.Event()
    call = thread.submit(interrupter.run, lambda: spin(began))
    began.wait()
    interrupter.interrupt(StopError)
    assert isinstance(call.exception(), StopError)


def test_a_call_that_was_interrupted_before_it_began_ends_at_once(thread):
    interrupter = Interrupter()
    interrupter.interrupt(StopError)
    call = thread.submit(interrupter.run, lambda: spin(threading.Event()))
    assert isinstance(call.exception(), StopError)


def test_what_is_not_interrupted_returns(thread):
    assert thread.submit(Interrupter().run, lambda: 3).result() == 3


def test_a_thread_whose_call_is_over_is_left_alone(thread):
    interrupter = Interrupter()
    thread.submit(interrupter.run, lambda: None).result()
    interrupter.interrupt(StopError)
    assert thread.submit(sum, range(100_000)).result() == 4_999_950_000


def test_an_interruption_that_is_still_due_at_the_end_is_taken_back(thread, monkeypatch):
    taken_back = []
    monkeypatch.setattr(_threads, "raise_in_thread", lambda *_: None)
    monkeypatch.setattr(_threads, "forget_raise", taken_back.append)
    interrupter = Interrupter()

    def work() -> int:
        interrupter.interrupt(StopError)
        return threading.get_ident()

    assert thread.submit(interrupter.run, work).result() == taken_back[0]


def test_a_shield_holds_the_interruption_back_until_its_end(thread):
    interrupter, shielded, interrupted = Interrupter(), threading.Event(), threading.Event()
    reached = []

    def work() -> None:
        with interrupter.shield():
            with interrupter.shield():
                shielded.set()
                interrupted.wait()
            reached.append("end of the inner block")
        reached.append("behind the block")

    call = thread.submit(interrupter.run, work)
    shielded.wait()
    interrupter.interrupt(StopError)
    interrupter.interrupt(KeyError)
    interrupted.set()
    assert isinstance(call.exception(), StopError)
    assert reached == ["end of the inner block"]


def test_a_shield_that_nobody_interrupts_changes_nothing(thread):
    interrupter = Interrupter()

    def work() -> str:
        with interrupter.shield():
            return "done"

    assert thread.submit(interrupter.run, work).result() == "done"
