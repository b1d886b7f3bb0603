from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import workflow
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import Activation
from perdure.replay import WorkflowTaskError
from support.histories import EPOCH, RunDriver, new_instance


def echo(value: Any) -> Any:
    return value


@workflow.defn
class Mixed:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.step(echo, 1)
        await workflow.wait_condition(lambda: len(self.words) == 2)
        return self.words

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)


def test_an_activation_says_what_it_was_told_and_when() -> None:
    run = RunDriver(Mixed)
    instance = new_instance(run)
    told = instance.activate(tuple(run.events), started=EPOCH + 5, complete=True)

    assert told.activations == [Activation(1, EPOCH + 5, 1)]
    assert [each.name for each in told.start_steps] == ["echo"]
    assert (told.commands, told.cancel_steps, told.closed) == ([], [], False)
    instance.close()


def test_what_holds_no_news_is_no_activation() -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.record(ev.WorkflowTaskFailed(cause="x", failure=ev.Failure()))
    assert run.instance is not None

    told = run.instance.activate(tuple(run.events[1:]), started=EPOCH)

    assert told.activations == []
    assert told.start_steps == []


def test_an_activation_that_asks_for_nothing_is_reported_all_the_same() -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.signal("say", "one")

    assert run.activate().activations == [Activation(2, EPOCH, 1)]
    run.finish_steps().signal("say", "two").play()
    assert run.result == ["one", "two"]
    assert run.kinds() == [
        "WorkflowStarted",
        "SignalReceived",
        "WorkflowTaskCompleted",
        "WorkflowTaskCompleted",
        "StepCompleted",
        "SignalReceived",
        "WorkflowTaskCompleted",
        "WorkflowCompleted",
    ]


def test_recorded_activations_are_not_reported_again() -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.finish_steps()
    run.activate()
    run.evict()
    told = run.signal("say", "one").activate()

    assert told.activations == [Activation(len(run.events) - 1, EPOCH, 1)]
    assert told.start_steps == []


@pytest.mark.parametrize("first", [3, 6], ids=["again", "left-out"])
def test_events_that_do_not_follow_are_refused(first: int) -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.finish_steps().signal("say", "a").activate()
    assert run.instance is not None
    assert run.instance.last_event == 4
    event = HistoryEvent(first, EPOCH, ev.SignalReceived(name="say"))

    with pytest.raises(WorkflowTaskError, match="expected event 5 next") as raised:
        run.instance.activate((event,), started=EPOCH)

    assert raised.value.task_cause == "HistoryGap"


def test_a_whole_history_must_begin_at_its_beginning() -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.finish_steps()
    instance = new_instance(run)

    with pytest.raises(WorkflowTaskError, match="expected event 1 next, got event 2"):
        instance.activate(tuple(run.events[1:]), started=EPOCH, complete=True)


def test_activations_with_more_than_one_event_are_replayed_in_the_same_portions() -> None:
    portions: list[int] = []

    @workflow.defn
    class Portions:
        def __init__(self) -> None:
            self.count = 0

        @workflow.run
        async def run(self) -> None:
            seen = 0
            while seen < 6:
                await workflow.wait_condition(lambda: self.count > seen)  # noqa: B023 - asked now
                portions.append(self.count - seen)
                seen = self.count

        @workflow.signal
        def add(self) -> None:
            self.count += 1

    run = RunDriver(Portions).play()
    for size in (1, 3, 2):
        for _ in range(size):
            run.signal("add")
        run.play()
    assert portions == [1, 3, 2]

    portions.clear()
    run.evict()
    run.instance = new_instance(run)
    run.instance.activate(tuple(run.events), started=EPOCH, complete=True)

    assert portions == [1, 3, 2]


def test_boundaries_without_news_are_harmless() -> None:
    run = RunDriver(Mixed)
    run.activate()
    run.finish_steps()
    run.activate()
    run.record(ev.WorkflowTaskCompleted(through=2, started=EPOCH + 99))
    run.evict()
    run.signal("say", "a").signal("say", "b").play()

    assert run.result == ["a", "b"]


def test_random_numbers_come_from_the_run_id() -> None:
    @workflow.defn
    class Random:
        @workflow.run
        async def run(self) -> list[Any]:
            first = [workflow.random().random(), str(workflow.uuid4())]
            await asyncio.sleep(1)
            return [*first, workflow.random().randint(1, 1000)]

    one = RunDriver(Random).play().result
    again = RunDriver(Random, cached=False).play().result
    other = RunDriver(Random, run_id="run-2").play().result

    assert one == again
    assert one != other
    assert one[1][14] == "4"
