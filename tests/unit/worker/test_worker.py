import asyncio
import os
import signal
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.exceptions import UsageError
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.failures import ApplicationInfo
from perdure.protocol.messages import (
    ActivityReport,
    ActivityTask,
    AttemptRef,
    Drain,
    Refused,
    ReportAccepted,
    RunEvicted,
    TaskProgress,
    WorkflowTask,
)
from perdure.worker import Worker, WorkerRefusedError
from perdure.worker import guards as worker_guards
from support.stream_server import RUN, FakeClient, History, StreamServer

REF = AttemptRef("run-1", 1, 1)
seen: list[object] = []


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()
    yield
    worker_guards.uninstall()


@workflow.defn
class Done:
    @workflow.run
    async def run(self) -> str:
        return "done"


@workflow.defn
class TakesAStep:
    @workflow.run
    async def run(self) -> None:
        await workflow.step(wait_in_step)


async def wait_in_step() -> None:
    await asyncio.Event().wait()


@activity.defn
async def wait_for_shutdown() -> str:
    seen.append("waiting")
    await activity.wait_for_worker_shutdown()
    return "saw it"


@activity.defn
async def reply() -> str:
    await asyncio.sleep(0.02)
    seen.append(activity.is_worker_shutdown())
    return "done"


@activity.defn
async def ignore_shutdown() -> str:
    seen.append("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        seen.append(activity.cancellation_details())
    return "never"


@activity.defn
async def be_stubborn() -> None:
    seen.append("waiting")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("ignored")
            if len(seen) > 2:
                return


@pytest.fixture
async def server():
    async with StreamServer() as made:
        yield made


@pytest.fixture
def make(server):
    def make_worker(**options) -> Worker:
        values = {
            "task_queue": "orders",
            "workflows": [Done, TakesAStep],
            "activities": [wait_for_shutdown, ignore_shutdown, be_stubborn],
            "graceful_shutdown_timeout": timedelta(0),
        }
        return Worker(FakeClient(server.address), **{**values, **options})

    return make_worker


def activity_task(type_: str) -> ActivityTask:
    return ActivityTask(
        attempt=REF,
        namespace="default",
        workflow_id="order-42",
        workflow_type="Order",
        activity_id="1",
        activity_type=type_,
        task_queue="orders",
        scheduled=1,
        started=1,
    )


def workflow_task(type_: str) -> WorkflowTask:
    history = History()
    started = ev.WorkflowStarted(workflow_type=type_, task_queue="orders", run_id=RUN.run_id)
    return WorkflowTask(task=1, run=RUN, started=1, events=history.add(started), complete=True)


async def until_seen(count: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(seen) < count:
            await asyncio.sleep(0)


async def test_a_worker_introduces_itself_and_works(make, server):
    async with make(identity="me", build_id="v1", max_concurrent_activities=7) as worker:
        peer = await server.accept()
        assert worker.is_running
        assert worker.task_queue == "orders"
        hello = peer.hello
        assert (hello.identity, hello.build_id, hello.namespace) == ("me", "v1", "default")
        assert hello.workflow_types == ("Done", "TakesAStep")
        assert hello.activity_types == ("wait_for_shutdown", "ignore_shutdown", "be_stubborn")
        assert (hello.workflow_slots, hello.activity_slots) == (100, 7)
        await peer.say(workflow_task("Done"))
        report = await peer.hear(TaskProgress)
        assert isinstance(report.commands[0], cmd.CompleteWorkflow)
        await peer.hear(RunEvicted)
    assert worker.is_shutdown
    assert not worker.is_running
    await peer.hear(Drain)
    async with asyncio.timeout(20):
        await peer.is_closed.wait()


async def test_run_returns_when_the_worker_was_shut_down(make, server):
    worker = make()
    running = asyncio.create_task(worker.run())
    await server.accept()
    await worker.shutdown()
    await running
    assert worker.is_shutdown


async def test_a_worker_that_was_shut_down_before_it_ran_leaves_at_once(make, server):
    worker = make()
    await worker.shutdown()
    await worker.run()


async def test_a_worker_runs_once(make, server):
    worker = make()
    async with worker:
        with pytest.raises(UsageError, match="make a new Worker"):
            await worker.run()


async def test_sigterm_lets_the_worker_leave(make, server):
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    running = asyncio.create_task(make().run())
    await server.accept()
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_sigterm_is_left_to_who_listens_to_it(make, server):
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("mine"))
    try:
        worker = make()
        running = asyncio.create_task(worker.run())
        await server.accept()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert heard == ["mine"]
        await worker.shutdown()
        await running
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def test_cancelling_run_shuts_down_and_stays_a_cancellation(make, server):
    worker = make()
    running = asyncio.create_task(worker.run())
    peer = await server.accept()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await peer.hear(Drain)
    assert worker.is_shutdown


async def test_a_refused_worker_raises_and_tells_whoever_asked():
    told = []

    async def note(error: BaseException) -> None:
        told.append(error)

    async with StreamServer(first=Refused(reason="too old")) as server:
        worker = Worker(
            FakeClient(server.address), task_queue="q", workflows=[Done], on_fatal_error=note
        )
        with pytest.raises(WorkerRefusedError, match="too old"):
            await worker.run()
    assert isinstance(told[0], WorkerRefusedError)


async def test_a_refused_worker_ends_the_block_that_needs_it():
    async with StreamServer(first=Refused(reason="too old")) as server:
        with pytest.raises(WorkerRefusedError, match="too old"):
            async with Worker(FakeClient(server.address), task_queue="q", workflows=[Done]):
                await asyncio.Event().wait()


async def test_a_worker_that_has_nothing_to_do_leaves_by_itself(make, server):
    running = asyncio.create_task(make(idle_after=timedelta(milliseconds=20)).run())
    peer = await server.accept()
    await running
    await peer.hear(Drain)


async def test_a_worker_for_one_activity_leaves_when_its_report_is_on_disk(make, server):
    running = asyncio.create_task(make(once=True, activities=[reply]).run())
    peer = await server.accept()
    assert (peer.hello.workflow_slots, peer.hello.activity_slots) == (0, 1)
    await peer.say(activity_task("reply"))
    await peer.hear(Drain)
    report = await peer.hear(ActivityReport)
    assert report.failure is None
    done, _ = await asyncio.wait({running}, timeout=0.08)
    assert done == set()
    await peer.say(ReportAccepted(attempt=REF))
    await running
    assert seen == [False], "the activity must not be told that its worker shuts down"


async def test_a_worker_for_one_activity_waits_for_one_until_it_is_idle(make, server):
    running = asyncio.create_task(make(once=True, idle_after=timedelta(milliseconds=200)).run())
    peer = await server.accept()
    await running
    await peer.hear(Drain)


async def test_a_worker_for_one_activity_leaves_when_it_does_not_know_it(make, server):
    running = asyncio.create_task(make(once=True).run())
    peer = await server.accept()
    await peer.say(activity_task("nothing-like-it"))
    report = await peer.hear(ActivityReport)
    assert "not registered" in report.failure.message
    await peer.say(ReportAccepted(attempt=REF))
    await running


async def test_an_activity_may_finish_while_the_worker_leaves(make, server):
    worker = make(graceful_shutdown_timeout=timedelta(seconds=10))
    async with worker:
        peer = await server.accept()
        await peer.say(activity_task("wait_for_shutdown"))
        await until_seen()
        stopping = asyncio.create_task(worker.shutdown())
        await peer.hear(Drain)
        report = await peer.hear(ActivityReport)
        assert report.failure is None
        assert not stopping.done()
        await peer.say(ReportAccepted(attempt=REF))
        await stopping


async def test_an_activity_that_does_not_finish_is_cancelled_and_tried_again_at_once(make, server):
    worker = make()
    async with worker:
        peer = await server.accept()
        await peer.say(activity_task("ignore_shutdown"))
        await until_seen()
        stopping = asyncio.create_task(worker.shutdown())
        await peer.hear(Drain)
        report = await peer.hear(ActivityReport)
        assert report.failure.info == ApplicationInfo(type="WorkerShutdown", next_retry_delay=0)
        assert seen[1] == activity.ActivityCancellationDetails(worker_shutdown=True)
        await peer.say(ReportAccepted(attempt=REF))
        await stopping


async def test_an_activity_that_will_not_stop_is_given_up(make, server, monkeypatch, caplog):
    monkeypatch.setattr("perdure.worker._service._LAST_WORDS", 0.02)
    async with make() as worker:
        peer = await server.accept()
        await peer.say(activity_task("be_stubborn"))
        await until_seen()
        stopping = asyncio.create_task(worker.shutdown())
        await peer.hear(Drain)
        report = await peer.hear(ActivityReport)
        assert report.failure.info.type == "WorkerShutdown"
        await stopping
    assert "did not stop when it was asked to" in caplog.text


async def test_a_task_that_waits_for_a_step_is_given_back(make, server):
    worker = make()
    async with worker:
        peer = await server.accept()
        await peer.say(workflow_task("TakesAStep"))
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(worker.shutdown())
        await peer.hear(Drain)
        assert (await peer.hear(RunEvicted)).run_id == RUN.run_id
        await stopping


async def test_a_worker_leaves_although_no_server_is_there():
    async with StreamServer() as server:
        address = server.address
    worker = Worker(
        FakeClient(address),
        task_queue="q",
        workflows=[Done],
        idle_after=timedelta(milliseconds=5),
    )
    await worker.run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"task_queue": ""}, "needs a task queue", id="queue"),
        pytest.param({"workflows": [], "activities": []}, "nothing to do", id="nothing"),
        pytest.param(
            {"max_concurrent_activities": 0}, "max_concurrent_activities is 0", id="slots"
        ),
        pytest.param({"max_cached_workflows": -1}, "max_cached_workflows is -1", id="cache"),
        pytest.param({"idle_after": timedelta(0)}, "idle_after is 0:00:00", id="idle"),
        pytest.param(
            {"graceful_shutdown_timeout": timedelta(-1)},
            "graceful_shutdown_timeout is -1 day",
            id="grace",
        ),
    ],
)
def test_a_mistake_is_told_when_the_worker_is_made(options, message):
    values = {"task_queue": "q", "workflows": [Done]}
    with pytest.raises(UsageError, match=message):
        Worker(FakeClient(), **{**values, **options})


def test_a_worker_has_an_identity_of_its_own():
    worker = Worker(FakeClient(identity=""), task_queue="q", workflows=[Done])
    assert worker._options.identity.startswith(f"{os.getpid()}@")


def test_the_environment_can_ask_for_debugging(monkeypatch):
    monkeypatch.setenv("PERDURE_DEBUG", "1")
    assert Worker(FakeClient(), task_queue="q", workflows=[Done])._options.debug_mode
