import asyncio
import logging

from perdure import workflow
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.messages import (
    Activation,
    EvictRun,
    RunEvicted,
    RunRef,
    TaskEvents,
    TaskFailed,
    TaskProgress,
    TaskRefused,
    WorkflowTask,
)
from support.stream_server import RUN, History


@workflow.defn
class Waits:
    """Ends when it is told to, with what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: "end" in self.said)
        return self.said

    @workflow.signal
    def say(self, word: str) -> None:
        self.said.append(word)


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(60)


@workflow.defn
class Broken:
    @workflow.run
    async def run(self) -> None:
        raise KeyError("no such thing")


def started(type_: str, **fields) -> ev.WorkflowStarted:
    return ev.WorkflowStarted(workflow_type=type_, task_queue="orders", run_id=RUN.run_id, **fields)


def signal(word: str, converter) -> ev.SignalReceived:
    return ev.SignalReceived(name="say", input=converter.to_payloads([word]))


def run_ref(number: int) -> RunRef:
    return RunRef("default", f"order-{number}", f"run-{number}")


def first_task(history, *, task=1, run=RUN) -> WorkflowTask:
    return WorkflowTask(
        task=task,
        run=run,
        started=history.now + 5,
        events=tuple(history.events),
        complete=True,
    )


async def test_commands_are_reported_with_their_activation_and_the_task_is_given_back(
    wire, history
):
    worker = wire(workflows=[Sleeps])
    history.add(started("Sleeps"))
    assert worker.say(first_task(history)) == [
        TaskProgress(
            task=1,
            number=1,
            activations=(Activation(1, history.now + 5, 1),),
            commands=(cmd.StartTimer(seq=1, delay=60_000),),
            done=True,
        )
    ]


async def test_an_activation_that_asks_for_nothing_is_reported_too(wire, history):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    (report,) = worker.say(first_task(history))
    assert report == TaskProgress(
        task=1, number=1, activations=(Activation(1, history.now + 5),), done=True
    )


async def test_a_cached_run_goes_on_with_the_new_events_only(wire, history, converter):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    history.add(ev.WorkflowTaskCompleted(through=1, started=1_001_005))
    history.add(signal("hello", converter))
    new = tuple(history.events[1:])
    (report,) = worker.say(WorkflowTask(task=2, run=RUN, started=2_000_000, events=new))
    assert report == TaskProgress(
        task=2, number=1, activations=(Activation(3, 2_000_000),), done=True
    )


async def test_a_run_that_ends_leaves_the_cache(wire, history, converter):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"), signal("end", converter))
    report, evicted = worker.say(first_task(history))
    assert report.commands == (cmd.CompleteWorkflow(result=converter.to_payload(["end"])),)
    assert report.done
    assert evicted == RunEvicted(run_id=RUN.run_id)
    assert len(worker.runs) == 0


async def test_a_run_is_replayed_when_its_whole_history_comes(wire, history, converter):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    history.add(ev.WorkflowTaskCompleted(through=1, started=1_001_005))
    history.add(signal("end", converter))
    report, _ = worker.say(first_task(history, task=7))
    assert report.activations == (Activation(3, history.now + 5),)
    assert isinstance(report.commands[0], cmd.CompleteWorkflow)


async def test_events_that_cross_the_last_report_are_told_with_the_next_task(
    wire, history, converter
):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    late = history.add(signal("first", converter))
    assert worker.say(TaskEvents(task=1, events=late)) == []

    history.add(ev.WorkflowTaskCompleted(through=1, started=1_001_005), signal("end", converter))
    new = tuple(history.events[2:])
    report, _ = worker.say(WorkflowTask(task=2, run=RUN, started=2_000_000, events=new))
    assert report.activations == (Activation(4, 2_000_000),)
    assert report.commands == (cmd.CompleteWorkflow(result=converter.to_payload(["first", "end"])),)


async def test_events_that_leave_a_gap_drop_the_run(wire, history, converter):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    history.add(signal("lost", converter))
    late = history.add(signal("end", converter))
    assert worker.say(TaskEvents(task=1, events=late)) == [RunEvicted(run_id=RUN.run_id)]


async def test_a_task_for_a_run_that_is_not_here_is_given_back(wire, history):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    incremental = WorkflowTask(task=1, run=RUN, started=1, events=tuple(history.events))
    assert worker.say(incremental) == [RunEvicted(run_id=RUN.run_id)]


async def test_a_task_that_crosses_the_drop_of_its_run_comes_again_unasked(wire, history):
    worker = wire(workflows=[Waits], max_cached_workflows=0)
    history.add(started("Waits"))
    _, evicted = worker.say(first_task(history))
    assert evicted == RunEvicted(run_id=RUN.run_id)
    assert worker.say(WorkflowTask(task=2, run=RUN, started=1, events=())) == []
    assert len(worker.say(first_task(history, task=3))) == 2


async def test_a_new_connection_knows_nothing_of_earlier_drops(wire, history):
    worker = wire(workflows=[Waits], max_cached_workflows=0)
    history.add(started("Waits"))
    worker.say(first_task(history))
    worker.disconnect()
    worker.connect()
    answers = worker.say(WorkflowTask(task=2, run=RUN, started=1, events=()))
    assert answers == [RunEvicted(run_id=RUN.run_id)]


async def test_only_so_many_drops_are_remembered(wire, monkeypatch):
    monkeypatch.setattr("perdure.worker._runs._REMEMBERED", 1)
    worker = wire(workflows=[Waits])
    for run_id in ("a", "b"):
        worker.runs.evict(run_id)
    assert list(worker.runs._told) == ["b"]


async def test_an_unknown_type_is_answered_with_the_known_ones(wire, history):
    worker = wire(workflows=[Waits, Sleeps])
    history.add(started("Orders"))
    (answer,) = worker.say(first_task(history))
    assert isinstance(answer, TaskFailed)
    assert answer.cause == "UnknownWorkflowType"
    assert "'Orders'" in answer.failure.message
    assert "Sleeps, Waits" in answer.failure.message


async def test_an_error_in_workflow_code_fails_the_task_and_drops_the_run(wire, history, caplog):
    worker = wire(workflows=[Broken])
    history.add(started("Broken"))
    (answer,) = worker.say(first_task(history))
    assert isinstance(answer, TaskFailed)
    assert answer.cause == "WorkflowError"
    assert answer.failure.message == "'no such thing'"
    assert len(worker.runs) == 0
    assert "is tried again" in caplog.text


async def test_an_error_type_can_be_made_one_that_fails_the_run(wire, history):
    worker = wire(workflows=[Broken], workflow_failures=(KeyError,))
    history.add(started("Broken"))
    report, _ = worker.say(first_task(history))
    assert isinstance(report.commands[0], cmd.FailWorkflow)


async def test_code_that_does_something_else_on_replay_is_told_so(wire, history):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    history.add(ev.WorkflowTaskCompleted(through=1, started=1_001_005))
    history.add(ev.TimerStarted(seq=1, delay=1, fires=1))
    (answer,) = worker.say(first_task(history))
    assert isinstance(answer, TaskFailed)
    assert answer.cause == "Nondeterminism"


async def test_a_fault_of_our_own_fails_one_task_and_not_the_worker(wire, history, caplog):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    (run,) = worker.runs
    run.instance.activate = None
    (answer,) = worker.say(WorkflowTask(task=2, run=RUN, started=1, events=()))
    assert answer.cause == "InternalError"
    assert "error of Perdure itself" in caplog.text


async def test_a_refused_task_drops_the_run(wire, history, caplog):
    caplog.set_level(logging.INFO)
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    assert worker.say(TaskRefused(task=1, reason="the lease passed")) == []
    assert len(worker.runs) == 0
    assert "the lease passed" in caplog.text
    assert worker.say(TaskRefused(task=1, reason="again")) == []


async def test_the_server_can_have_a_run_dropped(wire, history):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    assert worker.say(EvictRun(run_id=RUN.run_id), EvictRun(run_id="unknown")) == []
    assert len(worker.runs) == 0


async def test_events_of_a_task_that_nobody_has_are_ignored(wire, history):
    worker = wire(workflows=[Waits])
    assert worker.say(TaskEvents(task=9, events=history.add(started("Waits")))) == []


async def test_the_longest_unused_run_is_dropped_when_the_cache_is_full(wire):
    worker = wire(workflows=[Waits], max_cached_workflows=2)
    for number in (1, 2, 1, 3):
        history = History()
        history.add(started("Waits"))
        answers = worker.say(first_task(history, task=number * 10, run=run_ref(number)))
    assert answers[1:] == [RunEvicted(run_id="run-2")]
    assert {run.ref.run_id for run in worker.runs} == {"run-1", "run-3"}


@workflow.defn
class TakesAStep:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(asyncio.Event().wait)


async def test_a_held_run_is_not_dropped_however_full_the_cache_is(wire):
    worker = wire(workflows=[Waits, TakesAStep], max_cached_workflows=1)
    for number, type_ in enumerate(["TakesAStep", "Waits", "Waits"], 1):
        history = History()
        history.add(started(type_))
        answers = worker.say(first_task(history, task=number, run=run_ref(number)))
        assert RunEvicted(run_id="run-1") not in answers
    assert [run.ref.run_id for run in worker.runs] == ["run-1"]


async def test_without_a_cache_a_run_is_dropped_right_behind_its_report(wire, history):
    worker = wire(workflows=[Waits], max_cached_workflows=0)
    history.add(started("Waits"))
    report, evicted = worker.say(first_task(history))
    assert report.done
    assert evicted == RunEvicted(run_id=RUN.run_id)


async def test_a_broken_connection_empties_the_cache(wire, history):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    worker.disconnect()
    assert len(worker.runs) == 0
    worker.connect()
    assert worker.take() == []


async def test_a_run_that_cannot_be_torn_down_is_dropped_all_the_same(wire, history, caplog):
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    worker.say(first_task(history))
    (run,) = worker.runs

    close = run.instance.close

    def fail():
        close()
        raise ValueError("stubborn")

    run.instance.close = fail
    worker.say(EvictRun(run_id=RUN.run_id))
    assert len(worker.runs) == 0
    assert "stubborn" in caplog.text


async def test_nothing_is_awaited_while_a_task_is_run(wire, history):
    """A message is answered in the same turn of the loop: nothing else runs in between."""
    worker = wire(workflows=[Waits])
    history.add(started("Waits"))
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    assert len(worker.say(first_task(history))) == 1
    assert ran == []
