import pytest

from perdure import activity, workflow
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import PayloadTooLargeError
from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure
from perdure.protocol.messages import (
    ActivityHeartbeat,
    ActivityReport,
    ActivityTask,
    AskQuery,
    AttemptRef,
    EvictRun,
    Ping,
    QueryAnswer,
    ReportAccepted,
    RunEvicted,
    TaskEvents,
    TaskFailed,
    TaskProgress,
    WorkflowTask,
)
from perdure.protocol.payloads import Payload
from perdure.worker import Worker, guards
from perdure.worker._codec import CodecBorder
from support.stream_server import RUN, FakeClient, History, StreamServer

REF = AttemptRef("run-1", 1, 1)


class Backwards(PayloadCodec):
    """Writes everything backwards; its own mark tells what it has written."""

    async def encode(self, payloads):
        return [Payload({"encoding": b"backwards"}, each.data[::-1]) for each in payloads]

    async def decode(self, payloads):
        return [self._decoded(each) for each in payloads]

    def _decoded(self, payload):
        if payload.metadata["encoding"] != b"backwards":
            raise ValueError("not written backwards")
        return Payload({"encoding": b"json/plain"}, payload.data[::-1])


CONVERTER = DataConverter(payload_codec=Backwards())


def encoded(text: bytes) -> Payload:
    return Payload({"encoding": b"backwards"}, text[::-1])


def plain(text: bytes) -> Payload:
    return Payload({"encoding": b"json/plain"}, text)


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, word: str) -> str:
        return word


@activity.defn
async def shout(word: str) -> str:
    activity.heartbeat(word)
    return word.upper()


@pytest.fixture(autouse=True)
def _unguarded():
    yield
    guards.uninstall()


async def test_every_payload_of_a_message_is_put_through_the_codec():
    failure = Failure(
        message="m",
        info=ApplicationInfo(details=(plain(b"1"),)),
        cause=Failure(info=CanceledInfo(details=(plain(b"2"),))),
    )
    message = TaskProgress(
        task=1,
        number=1,
        commands=(
            cmd.ScheduleActivity(
                seq=1, activity_id="1", activity_type="a", headers={"h": plain(b"3")}
            ),
            cmd.FailWorkflow(failure=failure),
        ),
    )
    border = CodecBorder(CONVERTER)
    changed = await border.encode(message)
    assert changed.commands[0].headers == {"h": encoded(b"3")}
    assert changed.commands[1].failure.info.details == (encoded(b"1"),)
    assert changed.commands[1].failure.cause.info.details == (encoded(b"2"),)
    assert await border.decode(changed) == message


async def test_a_batch_and_its_results_are_put_through_the_codec():
    border = CodecBorder(CONVERTER)
    command = cmd.ScheduleBatch(
        seq=1, activity_id="1", activity_type="a", items=((plain(b"1"),), (), (plain(b"2"),))
    )
    sent = await border.encode(TaskProgress(task=1, number=1, commands=(command,)))
    assert sent.commands[0].items == ((encoded(b"1"),), (), (encoded(b"2"),))

    failure = Failure(message="m", info=ApplicationInfo(details=(encoded(b"3"),)))
    items = (ev.ItemResult(1, 2, failure=failure), ev.ItemResult(0, 1, encoded(b"4")))
    told = TaskEvents(task=1, events=History().add(ev.BatchItemsClosed(seq=1, items=items)))
    first, second = (await border.decode(told)).events[0].event.items
    assert first.failure.info.details == (plain(b"3"),)
    assert (first.index, first.attempt, second.result) == (1, 2, plain(b"4"))


async def test_a_message_without_payloads_is_left_as_it_is():
    border, message = CodecBorder(CONVERTER), EvictRun(run_id="x")
    assert await border.decode(message) is message
    assert await border.encode(Ping()) == Ping()


async def test_a_worker_with_a_codec_meets_plain_values_only():
    history = History()
    started = ev.WorkflowStarted(
        workflow_type="Echo", task_queue="q", run_id=RUN.run_id, input=(encoded(b'"hello"'),)
    )
    async with StreamServer() as server:
        client = FakeClient(server.address, data_converter=CONVERTER)
        async with Worker(client, task_queue="q", workflows=[Echo], activities=[shout]):
            peer = await server.accept()
            await peer.say(
                WorkflowTask(
                    task=1, run=RUN, started=1, events=history.add(started), complete=True
                ),
                activity_task(encoded(b'"hello"')),
            )
            report = await peer.hear(TaskProgress)
            assert report.commands[0].result == encoded(b'"hello"')
            await peer.hear(RunEvicted)
            assert (await peer.hear(ActivityHeartbeat)).details == (encoded(b'"hello"'),)
            assert (await peer.hear(ActivityReport)).result == encoded(b'"HELLO"')
            await peer.say(ReportAccepted(attempt=REF))


async def test_what_the_codec_cannot_decode_fails_that_task_and_nothing_else():
    async with StreamServer() as server:
        client = FakeClient(server.address, data_converter=CONVERTER)
        async with Worker(client, task_queue="q", activities=[shout]):
            peer = await server.accept()
            await peer.say(activity_task(plain(b'"hello"')))
            failure = (await peer.hear(ActivityReport)).failure
            assert failure.message == "not written backwards"
            assert failure.info == ApplicationInfo(type="CodecError")
            await peer.say(ReportAccepted(attempt=REF))


def activity_task(payload: Payload) -> ActivityTask:
    return ActivityTask(
        attempt=REF,
        namespace="default",
        workflow_id="w",
        workflow_type="W",
        activity_id="1",
        activity_type="shout",
        task_queue="q",
        input=(payload,),
        scheduled=1,
        started=1,
    )


UNREADABLE = Failure(message="no key", info=ApplicationInfo(type="CodecError"))


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(
            WorkflowTask(task=3, run=RUN, started=1, events=()),
            [TaskFailed(task=3, cause="CodecError", failure=UNREADABLE)],
            id="workflow-task",
        ),
        pytest.param(
            activity_task(plain(b"1")),
            [ActivityReport(attempt=REF, failure=UNREADABLE)],
            id="activity-task",
        ),
        pytest.param(
            AskQuery(query=5, run=RUN, name="q"),
            [QueryAnswer(query=5, failure=UNREADABLE)],
            id="query",
        ),
        pytest.param(TaskEvents(task=9), [], id="events-of-nobody"),
        pytest.param(EvictRun(run_id="x"), [], id="without-payloads"),
    ],
)
async def test_what_cannot_be_read_is_answered(wire, message, answer):
    worker = wire(workflows=[Echo])
    worker.service._session.unreadable(message, ValueError("no key"))
    assert worker.take() == answer


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_events_that_cannot_be_read_give_the_task_back(wire, history):
    worker = wire(workflows=[Waits])
    started = ev.WorkflowStarted(workflow_type="Waits", task_queue="q", run_id=RUN.run_id)
    worker.say(WorkflowTask(task=1, run=RUN, started=1, events=history.add(started), complete=True))
    worker.service._session.unreadable(TaskEvents(task=1), ValueError("no key"))
    assert worker.take() == [RunEvicted(run_id=RUN.run_id)]


TOO_LARGE = PayloadTooLargeError(3, 2, "it")
UNSENT = Failure(
    message=str(TOO_LARGE), info=ApplicationInfo(type="PayloadTooLarge", non_retryable=True)
)
DESCRIBED = Failure(message="m", stack_trace="t", info=ApplicationInfo(details=(plain(b"1"),)))


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(
            TaskProgress(task=3, number=1),
            [TaskFailed(task=3, cause="PayloadTooLarge", failure=UNSENT)],
            id="progress",
        ),
        pytest.param(
            ActivityReport(attempt=REF),
            [ActivityReport(attempt=REF, failure=UNSENT)],
            id="activity-report",
        ),
        pytest.param(
            ActivityHeartbeat(attempt=REF, details=(plain(b"1"),)),
            [ActivityHeartbeat(attempt=REF)],
            id="heartbeat",
        ),
        pytest.param(
            QueryAnswer(query=5), [QueryAnswer(query=5, failure=UNSENT)], id="query-answer"
        ),
        pytest.param(
            TaskFailed(task=3, cause="WorkflowError", failure=DESCRIBED),
            [
                TaskFailed(
                    task=3,
                    cause="WorkflowError",
                    failure=Failure(message="m", stack_trace="t"),
                )
            ],
            id="task-failed",
        ),
        pytest.param(Ping(), [], id="without-payloads"),
    ],
)
async def test_what_cannot_be_sent_is_said_instead(wire, message, answer):
    worker = wire(workflows=[Echo])
    worker.service._session.unsendable(message, TOO_LARGE)
    assert worker.take() == answer


async def test_a_run_whose_report_cannot_be_sent_is_dropped(wire, history):
    worker = wire(workflows=[Waits])
    started = ev.WorkflowStarted(workflow_type="Waits", task_queue="q", run_id=RUN.run_id)
    worker.say(WorkflowTask(task=1, run=RUN, started=1, events=history.add(started), complete=True))
    worker.service._session.unsendable(TaskProgress(task=1, number=1), TOO_LARGE)
    assert len(worker.runs) == 0
