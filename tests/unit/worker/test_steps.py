import asyncio
import threading
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.failures import (
    ApplicationInfo,
    Failure,
    TimeoutInfo,
    TimeoutKind,
)
from perdure.protocol.messages import (
    Activation,
    RunEvicted,
    TaskEvents,
    TaskProgress,
    TaskRefused,
    WorkflowTask,
)
from perdure.protocol.payloads import RetryPolicy as Policy
from perdure.replay._asked import StepInvocation
from perdure.worker._steps import Step, retry_delay
from support.stream_server import RUN

calls: list[object] = []
gates: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()


async def add(left: int, right: int) -> int:
    calls.append((left, right))
    return left + right


@workflow.defn
class AddsUp:
    """Takes two steps, one after the other."""

    @workflow.run
    async def run(self) -> int:
        three = await workflow.step(add, 1, 2)
        return await workflow.step(add, three, 4)


def told(history, *events, task=1, number=0) -> TaskEvents:
    return TaskEvents(task=task, number=number, events=history.add(*events))


def begin(worker, history, type_, task=1):
    if not history.events:
        history.add(ev.WorkflowStarted(workflow_type=type_, task_queue="orders", run_id=RUN.run_id))
    return worker.say(
        WorkflowTask(
            task=task,
            run=RUN,
            started=history.now + 5,
            events=tuple(history.events),
            complete=True,
        )
    )


async def test_a_step_is_reported_with_the_activation_that_asked_for_it(wire, history, converter):
    worker = wire(workflows=[AddsUp])
    assert begin(worker, history, "AddsUp") == []
    report = await worker.hear(TaskProgress)
    assert report.activations == (Activation(1, history.now + 5, 1),)
    assert [(step.seq, step.name, step.result) for step in report.steps] == [
        (1, "add", converter.to_payload(3))
    ]
    assert report.commands == ()
    assert not report.done


async def test_the_code_goes_on_only_when_the_result_is_on_disk(wire, history, converter):
    worker = wire(workflows=[AddsUp])
    begin(worker, history, "AddsUp")
    await worker.hear(TaskProgress)
    assert calls == [(1, 2)]

    result = converter.to_payload(3)
    worker.say(told(history, ev.StepCompleted(seq=1, name="add", result=result, through=1)))
    report = await worker.hear(TaskProgress)
    assert calls == [(1, 2), (3, 4)]
    assert (report.number, report.activations) == (2, (Activation(2, history.now, 2),))

    result = converter.to_payload(7)
    answers = worker.say(told(history, ev.StepCompleted(seq=2, name="add", result=result)))
    assert answers == [
        TaskProgress(
            task=1,
            number=3,
            activations=(Activation(3, history.now, 2),),
            commands=(cmd.CompleteWorkflow(result=result),),
            done=True,
        ),
        RunEvicted(run_id=RUN.run_id),
    ]


@workflow.defn
class Together:
    """Waits for steps and a signal."""

    @workflow.run
    async def run(self) -> list[int]:
        self.word = ""
        steps = [workflow.step(add, number, number) for number in range(3)]
        sums = list(await asyncio.gather(*steps))
        await workflow.wait_condition(lambda: self.word != "")
        return sums

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = word


async def test_steps_that_end_together_share_a_report(wire, history):
    worker = wire(workflows=[Together])
    begin(worker, history, "Together")
    report = await worker.hear(TaskProgress)
    assert [step.seq for step in report.steps] == [1, 2, 3]


async def test_a_task_is_given_back_when_its_steps_have_come_back(wire, history, converter):
    worker = wire(workflows=[Together])
    begin(worker, history, "Together")
    await worker.hear(TaskProgress)
    completed = [
        ev.StepCompleted(seq=seq, name="add", result=converter.to_payload(seq)) for seq in (1, 2, 3)
    ]
    assert worker.say(told(history, *completed[:2])) == []
    (report,) = worker.say(told(history, completed[2]))
    assert report.done
    assert report.activations == (
        Activation(3, history.now - 1_000, 3),
        Activation(4, history.now, 3),
    )


@workflow.defn
class StepAndTimer:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(workflow.step(wait_at_gate), workflow.sleep(60))


async def wait_at_gate() -> None:
    await gates[-1].wait()


@pytest.fixture
def open_gate():
    gates.append(asyncio.Event())
    return gates[-1].set


async def test_commands_leave_at_once_while_steps_run(wire, history, open_gate):
    worker = wire(workflows=[StepAndTimer])
    (report,) = begin(worker, history, "StepAndTimer")
    assert [type(command) for command in report.commands] == [cmd.StartTimer]
    assert not report.done

    open_gate()
    report = await worker.hear(TaskProgress)
    assert (report.number, report.activations) == (2, ())
    assert [step.seq for step in report.steps] == [1]


@workflow.defn
class LooksAtItself:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(look_at_itself)


def look_at_itself() -> None:
    calls.append(activity.info())
    activity.heartbeat("ignored")


async def test_a_sync_step_runs_in_a_thread_with_an_activitys_context(wire, history):
    worker = wire(workflows=[LooksAtItself])
    begin(worker, history, "LooksAtItself")
    await worker.hear(TaskProgress)
    (info,) = calls
    assert info.is_local
    assert info.idempotency_key == "run-1:1"
    assert (info.activity_type, info.workflow_type, info.attempt) == (
        "look_at_itself",
        "LooksAtItself",
        1,
    )


@workflow.defn
class LambdaAroundACoroutine:
    @workflow.run
    async def run(self) -> int:
        return await workflow.step(lambda: add(3, 4))


async def test_a_lambda_may_return_a_coroutine(wire, history, converter):
    worker = wire(workflows=[LambdaAroundACoroutine])
    begin(worker, history, "LambdaAroundACoroutine")
    report = await worker.hear(TaskProgress)
    assert report.steps[0].result == converter.to_payload(7)


@workflow.defn
class Retries:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(
            fail_twice,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2)),
        )


async def fail_twice() -> str:
    calls.append(asyncio.get_running_loop().time())
    if len(calls) < 3:
        raise ValueError("not yet")
    return "at last"


@pytest.mark.looptime
async def test_a_failing_step_is_tried_again_with_growing_delays(wire, history, converter, caplog):
    worker = wire(workflows=[Retries])
    begin(worker, history, "Retries")
    report = await worker.hear(TaskProgress)
    assert [calls[1] - calls[0], calls[2] - calls[1]] == [2, 4]
    assert report.steps[0].attempt == 3
    assert report.steps[0].result == converter.to_payload("at last")
    assert caplog.text.count("is tried again in") == 2


@workflow.defn
class FailsForGood:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(refuse)


async def refuse() -> None:
    raise ApplicationError("no card", type="NoCard", non_retryable=True)


async def test_an_error_that_is_final_is_reported_after_one_attempt(wire, history):
    worker = wire(workflows=[FailsForGood])
    begin(worker, history, "FailsForGood")
    step = (await worker.hear(TaskProgress)).steps[0]
    assert step.failure.message == "no card"
    assert step.failure.info == ApplicationInfo(type="NoCard", non_retryable=True)
    assert step.attempt == 1
    assert "perdure/worker" not in step.failure.stack_trace


@workflow.defn
class Slow:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(wait_at_gate, timeout=5, retry_policy=RetryPolicy(maximum_attempts=2))


@pytest.mark.looptime
async def test_an_attempt_that_takes_too_long_is_stopped(wire, history, open_gate):
    worker = wire(workflows=[Slow])
    begin(worker, history, "Slow")
    step = (await worker.hear(TaskProgress)).steps[0]
    assert step.failure.info == TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)
    assert step.attempt == 2
    assert asyncio.get_running_loop().time() == pytest.approx(5 + 1 + 5)


@workflow.defn
class GivesUpWaiting:
    @workflow.run
    async def run(self) -> None:
        try:
            await asyncio.wait_for(workflow.step(wait_at_gate), 60)
        except TimeoutError:
            await workflow.wait_condition(lambda: False)


async def test_a_step_that_nobody_waits_for_is_cancelled_and_not_reported(wire, history, open_gate):
    worker = wire(workflows=[GivesUpWaiting])
    begin(worker, history, "GivesUpWaiting")
    (run,) = worker.runs
    (step,) = run.steps.values()
    worker.say(told(history, ev.WorkflowTaskCompleted(through=1, started=1)))
    started = ev.TimerStarted(seq=1, delay=60_000, fires=1)
    (report,) = worker.say(told(history, started, ev.TimerFired(seq=1)))
    assert report.done
    assert report.activations == (Activation(4, history.now, 2),)
    assert run.steps == {}
    await asyncio.gather(step._task, return_exceptions=True)
    assert worker.take() == []


async def test_a_cancelled_step_that_returns_all_the_same_is_not_reported(wire, open_gate):
    settings = wire(workflows=[AddsUp]).service._workflows._steps
    ended = []

    async def ignore_cancellation() -> str:
        try:
            await wait_at_gate()
        except asyncio.CancelledError:
            return "all the same"
        return "waited"

    invocation = StepInvocation(
        seq=1, name="s", fn=ignore_cancellation, args=(), retry_policy=Policy(), timeout=None
    )
    step = Step(RUN, "W", invocation, settings, ended.append)
    await asyncio.sleep(0)
    step.cancel()
    await step._task
    assert ended == []


async def test_steps_of_a_refused_task_are_stopped(wire, history, open_gate):
    worker = wire(workflows=[StepAndTimer])
    begin(worker, history, "StepAndTimer")
    (run,) = worker.runs
    (step,) = run.steps.values()
    worker.say(TaskRefused(task=1, reason="lost"))
    await asyncio.gather(step._task, return_exceptions=True)
    open_gate()
    await asyncio.sleep(0)
    assert worker.take() == []


@workflow.defn
class RunsLocally:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(
            "greet", "Ada", start_to_close_timeout=timedelta(seconds=5)
        )


class Greeter:
    @activity.defn
    async def greet(self, name: str) -> str:
        return f"hello {name}"


async def test_a_local_activity_is_found_by_its_registered_name(wire, history, converter):
    worker = wire(workflows=[RunsLocally], activities=[Greeter().greet])
    begin(worker, history, "RunsLocally")
    assert (await worker.hear(TaskProgress)).steps[0].result == converter.to_payload("hello Ada")


@pytest.mark.looptime
async def test_a_local_activity_that_nobody_knows_is_tried_again(wire, history, caplog):
    worker = wire(workflows=[RunsLocally], activities=[add_up])
    begin(worker, history, "RunsLocally")
    await asyncio.sleep(2)
    assert "'greet' is not registered on this worker; registered are: add_up" in caplog.text


@activity.defn
async def add_up() -> None: ...


@workflow.defn
class Exits:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(leave, retry_policy=RetryPolicy(maximum_attempts=1))


def leave() -> None:
    raise SystemExit(3)


async def test_a_step_that_exits_fails_and_the_worker_lives(wire, history):
    worker = wire(workflows=[Exits])
    begin(worker, history, "Exits")
    step = (await worker.hear(TaskProgress)).steps[0]
    assert step.failure.info == ApplicationInfo(type="SystemExit")


@workflow.defn
class ReturnsTooMuch:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(return_too_much)


async def return_too_much() -> bytes:
    return bytes(3 * 2**20)


async def test_a_result_over_the_limit_is_final(wire, history):
    worker = wire(workflows=[ReturnsTooMuch])
    begin(worker, history, "ReturnsTooMuch")
    step = (await worker.hear(TaskProgress)).steps[0]
    assert step.failure.info == ApplicationInfo(type="PayloadTooLarge", non_retryable=True)
    assert "the result of step return_too_much takes" in step.failure.message


@workflow.defn
class BlocksInAThread:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(spin, timeout=0.01, retry_policy=RetryPolicy(maximum_attempts=1))


spinning = threading.Event()


def spin() -> None:
    spinning.set()
    try:
        while True:
            pass
    finally:
        spinning.clear()


async def test_a_thread_that_takes_too_long_is_interrupted(wire, history):
    worker = wire(workflows=[BlocksInAThread])
    begin(worker, history, "BlocksInAThread")
    step = (await worker.hear(TaskProgress)).steps[0]
    assert isinstance(step.failure.info, TimeoutInfo)
    await asyncio.to_thread(worker.service._step_threads.shutdown)
    assert not spinning.is_set()


@pytest.mark.parametrize(
    ("policy", "failure", "attempt", "delay"),
    [
        pytest.param(Policy(), ApplicationInfo(), 1, 1_000, id="first"),
        pytest.param(Policy(), ApplicationInfo(), 3, 4_000, id="third"),
        pytest.param(Policy(), ApplicationInfo(), 5_000, 100_000, id="overflowing"),
        pytest.param(Policy(maximum_interval=1_500), ApplicationInfo(), 9, 1_500, id="capped"),
        pytest.param(Policy(maximum_attempts=2), ApplicationInfo(), 2, None, id="last"),
        pytest.param(Policy(), ApplicationInfo(non_retryable=True), 1, None, id="final"),
        pytest.param(
            Policy(non_retryable_error_types=("NoCard",)),
            ApplicationInfo(type="NoCard"),
            1,
            None,
            id="final-by-policy",
        ),
        pytest.param(Policy(), ApplicationInfo(next_retry_delay=0), 1, 0, id="asked-for"),
        pytest.param(
            Policy(non_retryable_error_types=("TemporalTimeout:StartToClose",)),
            TimeoutInfo(),
            1,
            None,
            id="final-timeout",
        ),
        pytest.param(Policy(), TimeoutInfo(), 1, 1_000, id="timeout"),
    ],
)
def test_the_delay_before_the_next_attempt(policy, failure, attempt, delay):
    assert retry_delay(policy, Failure(info=failure), attempt) == delay
