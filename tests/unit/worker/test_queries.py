import pytest

from perdure import workflow
from perdure.protocol import events as ev
from perdure.protocol.messages import (
    AskQuery,
    QueryAnswer,
    RunEvicted,
    TaskProgress,
    WorkflowTask,
)
from support.stream_server import RUN, History


@workflow.defn
class Counts:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self) -> None:
        self.count = 1
        await workflow.wait_condition(lambda: self.count == 10)

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.query
    def counted(self) -> int:
        return self.count

    @workflow.query
    def spin(self) -> int:
        raise ValueError("no")


@pytest.fixture
async def worker(wire):
    return wire(workflows=[Counts])


@pytest.fixture
def begun(history):
    history.add(ev.WorkflowStarted(workflow_type="Counts", task_queue="orders", run_id=RUN.run_id))
    history.add(ev.WorkflowTaskCompleted(through=1, started=1_001_005))
    return history


def ask(name="counted", *, query=1, events=(), complete=False) -> AskQuery:
    return AskQuery(query=query, run=RUN, name=name, events=tuple(events), complete=complete)


def first_task(history) -> WorkflowTask:
    return WorkflowTask(
        task=1, run=RUN, started=history.now, events=tuple(history.events), complete=True
    )


async def test_a_cached_run_answers(worker, begun, converter):
    worker.say(first_task(begun))
    assert worker.say(ask()) == [QueryAnswer(query=1, result=converter.to_payload(1))]


async def test_a_run_is_built_from_its_history_to_answer_and_kept(worker, begun, converter):
    answer = QueryAnswer(query=1, result=converter.to_payload(1))
    assert worker.say(ask(events=begun.events, complete=True)) == [answer]
    assert worker.say(ask(events=begun.events, complete=True)) == [answer]
    assert worker.say(ask()) == [answer]


async def test_what_a_query_brings_is_told_with_the_next_task(worker, begun, converter):
    signal = ev.SignalReceived(name="add", input=converter.to_payloads([9]))
    begun.add(signal)
    answer = QueryAnswer(query=1, result=converter.to_payload(1))
    assert worker.say(ask(events=begun.events, complete=True)) == [answer]

    report, _ = worker.say(WorkflowTask(task=1, run=RUN, started=2_000_000, events=()))
    assert isinstance(report, TaskProgress)
    assert report.activations[0].through == 3
    assert report.done


async def test_an_error_of_the_handler_is_the_answer(worker, begun):
    worker.say(first_task(begun))
    (answer,) = worker.say(ask("spin"))
    assert answer.failure.message == "no"


async def test_a_query_that_nobody_handles_is_answered_so(worker, begun):
    worker.say(first_task(begun))
    (answer,) = worker.say(ask("countd"))
    assert "countd" in answer.failure.message


async def test_a_run_that_was_dropped_meanwhile_is_asked_for_whole(worker):
    assert worker.say(ask()) == [RunEvicted(run_id=RUN.run_id)]


async def test_a_type_that_is_not_registered_is_answered_so(worker):
    history = History()
    history.add(ev.WorkflowStarted(workflow_type="Other", task_queue="q", run_id=RUN.run_id))
    (answer,) = worker.say(ask(events=history.events, complete=True))
    assert "'Other' is not registered" in answer.failure.message


async def test_a_history_that_does_not_fit_the_code_is_answered_so(worker, begun):
    begun.add(ev.TimerStarted(seq=1, delay=5, fires=5))
    evicted, answer = worker.say(ask(events=begun.events, complete=True))
    assert evicted == RunEvicted(run_id=RUN.run_id)
    assert "number 1" in answer.failure.message
    assert len(worker.runs) == 0


async def test_a_held_run_answers_from_where_it_is(worker, begun, converter):
    worker.say(first_task(begun))
    (run,) = worker.runs
    from perdure.worker._runs import HeldTask

    worker.runs.assign(run, HeldTask(id=5))
    answers = worker.say(ask(events=begun.events, complete=True))
    assert answers == [QueryAnswer(query=1, result=converter.to_payload(1))]
    assert run.task is not None


async def test_without_a_cache_the_run_is_dropped_after_the_answer(wire, begun):
    worker = wire(workflows=[Counts], max_cached_workflows=0)
    answer, evicted = worker.say(ask(events=begun.events, complete=True))
    assert isinstance(answer, QueryAnswer)
    assert evicted == RunEvicted(run_id=RUN.run_id)
