from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from perdure.protocol import events as ev
from perdure.replay import WorkflowTaskError
from support.histories import CONVERTER, RunDriver, assert_replays, replay


@workflow.defn
class Inbox:
    def __init__(self) -> None:
        self.got: list[object] = []

    @workflow.run
    async def run(self) -> list[object]:
        self.got.append("run")
        await workflow.wait_condition(lambda: "end" in self.got)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.got

    @workflow.signal
    def put(self, value: str) -> None:
        self.got.append(value)

    @workflow.signal(name="slow-put")
    async def put_slowly(self, value: str) -> None:
        await asyncio.sleep(1)
        self.got.append(value)

    @workflow.signal
    async def put_count(self, first: int, second: int = 7) -> None:
        self.got.append(first + second)


def test_signals_are_handled_in_the_order_of_history() -> None:
    run = RunDriver(Inbox).play()
    run.signal("put", "a").signal("put", "b").signal("put", "end").play()

    assert run.result == ["run", "a", "b", "end"]
    assert_replays(run)


def test_signals_of_the_first_activation_are_handled_before_run_begins() -> None:
    run = RunDriver(Inbox).signal("put", "early").signal("put", "end").play()

    assert run.result == ["early", "end", "run"]
    assert_replays(run)


def test_an_async_handler_may_wait() -> None:
    run = RunDriver(Inbox).play()
    run.signal("slow-put", "slow").signal("put", "end").play()

    assert run.result == ["run", "end", "slow"]
    assert_replays(run)


def test_defaults_of_a_handler_fill_in_missing_arguments() -> None:
    run = RunDriver(Inbox).signal("put_count", 1).signal("put_count", 1, 1).signal("put", "end")

    assert run.play().result == [8, 2, "end", "run"]


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("not a number",), id="wrong-type"),
        pytest.param((), id="too-few"),
        pytest.param((1, 2, 3), id="too-many"),
    ],
)
def test_a_signal_that_cannot_be_decoded_is_dropped_with_a_word(
    args: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDriver(Inbox).signal("put_count", *args).signal("put", "end").play()

    assert run.result == ["end", "run"]
    assert "signal 'put_count' is dropped" in caplog.text


def test_a_signal_without_handler_waits_until_there_is_one() -> None:
    @workflow.defn
    class Late:
        @workflow.run
        async def run(self) -> list[str]:
            got: list[str] = []
            await asyncio.sleep(1)
            assert workflow.get_signal_handler("word") is None
            workflow.set_signal_handler("word", got.append)
            await workflow.wait_condition(lambda: len(got) == 3)
            workflow.set_signal_handler("word", None)
            return got

    run = RunDriver(Late).signal("word", "a").signal("word", "b").play()
    run.signal("word", "c").play()

    assert run.result == ["a", "b", "c"]
    assert_replays(run)


def test_a_handler_set_by_hand_goes_before_the_method_of_that_name() -> None:
    @workflow.defn
    class Sets:
        def __init__(self) -> None:
            self.got: list[str] = []
            workflow.set_signal_handler("word", lambda word: self.got.append(f"by hand {word}"))

        @workflow.run
        async def run(self) -> list[str]:
            await workflow.wait_condition(lambda: bool(self.got))
            return self.got

        @workflow.signal
        def word(self, word: str) -> None:
            self.got.append(word)

    assert RunDriver(Sets).signal("word", "a").play().result == ["by hand a"]


def test_a_dynamic_handler_gets_the_name_and_the_raw_arguments() -> None:
    @workflow.defn
    class Dynamic:
        def __init__(self) -> None:
            self.got: list[str] = []

        @workflow.run
        async def run(self) -> list[str]:
            await workflow.wait_condition(lambda: len(self.got) == 3)
            return self.got

        @workflow.signal
        def known(self) -> None:
            self.got.append("known")

        @workflow.signal(dynamic=True)
        async def any(self, name: str, args: Sequence[RawValue]) -> None:
            values = CONVERTER.from_payloads([each.payload for each in args])
            self.got.append(f"{name}{values}")

    run = RunDriver(Dynamic).signal("x", 1, 2).signal("known").signal("y").play()

    assert run.result == ["x[1, 2]", "known", "y[]"]
    assert_replays(run)


def test_setting_a_dynamic_handler_flushes_every_kept_signal() -> None:
    @workflow.defn
    class Late:
        @workflow.run
        async def run(self) -> list[str]:
            got: list[str] = []

            def handle(name: str, _args: Sequence[RawValue]) -> None:
                got.append(name)

            workflow.set_dynamic_signal_handler(handle)
            assert workflow.get_dynamic_signal_handler() is handle
            await asyncio.sleep(0)
            return got

    assert RunDriver(Late).signal("b").signal("a").play().result == ["b", "a"]


def test_a_failure_in_a_handler_fails_the_run() -> None:
    @workflow.defn
    class Fails:
        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(lambda: False)

        @workflow.signal
        def fail(self) -> None:
            raise ApplicationError("no", type="No")

        @workflow.signal
        async def break_(self) -> None:
            raise KeyError("bug")

    run = RunDriver(Fails).play()
    broken = RunDriver(Fails).signal("break_")

    assert run.signal("fail").play().failure.message == "no"
    with pytest.raises(WorkflowTaskError, match="WorkflowError: 'bug'"):
        broken.activate()


def cut_off(policy: workflow.HandlerUnfinishedPolicy) -> RunDriver:
    @workflow.defn
    class Cut:
        @workflow.run
        async def run(self) -> str:
            await asyncio.sleep(1)
            assert not workflow.all_handlers_finished()
            return "done"

        @workflow.signal(unfinished_policy=policy)
        async def slow(self) -> None:
            await asyncio.sleep(100)

    run = RunDriver(Cut).signal("slow")
    run.activate()
    return run.advance(1)


def test_a_run_that_cuts_off_a_handler_warns_once_and_not_on_replay() -> None:
    run = cut_off(workflow.HandlerUnfinishedPolicy.WARN_AND_ABANDON)

    with pytest.warns(workflow.UnfinishedSignalHandlersWarning, match="'wf'.*: slow"):
        run.activate()
    assert run.result == "done"
    replay(run)  # a warning would be an error here


def test_a_handler_may_be_meant_to_be_cut_off() -> None:
    run = cut_off(workflow.HandlerUnfinishedPolicy.ABANDON)
    run.activate()

    assert run.result == "done"
    assert_replays(run)


def test_signals_after_the_end_of_the_same_activation_change_nothing() -> None:
    @workflow.defn
    class Ends:
        @workflow.run
        async def run(self) -> str:
            return "done"

        @workflow.signal
        async def work(self) -> None:
            await asyncio.sleep(1)
            await asyncio.sleep(1)

    run = RunDriver(Ends).play()
    run.record(ev.SignalReceived(name="work"))

    # Cannot be: nothing follows the end. Told all the same, it asks for nothing.
    assert run.activate().commands == []
