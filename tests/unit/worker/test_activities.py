import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.common import RawValue
from perdure.exceptions import ApplicationError, ApplicationErrorCategory
from perdure.protocol.failures import ApplicationInfo, CanceledInfo, TimeoutInfo, TimeoutKind
from perdure.protocol.items import item_key
from perdure.protocol.messages import (
    ActivityHeartbeat,
    ActivityReport,
    ActivityTask,
    AttemptRef,
    CancelActivity,
    Drain,
    Ping,
    Pong,
    ReportAccepted,
)

REF = AttemptRef("run-1", 3, 2)
began: list[object] = []


@pytest.fixture(autouse=True)
def _fresh():
    began.clear()


def task(type_: str, *payloads, ref=REF, **fields) -> ActivityTask:
    values = {
        "namespace": "default",
        "workflow_id": "order-42",
        "workflow_type": "Order",
        "activity_id": "3",
        "task_queue": "orders",
        "scheduled": 1_000,
        "started": 2_000,
    }
    return ActivityTask(attempt=ref, activity_type=type_, input=payloads, **{**values, **fields})


@activity.defn
async def greet(name: str, greeting: str = "hello") -> str:
    return f"{greeting} {name}"


@activity.defn
def greet_in_thread(name: str) -> str:
    return f"hello {name} from {threading.current_thread().name}"


@activity.defn
async def look_at_itself() -> None:
    began.append(activity.info())


@activity.defn
async def wait_for_ever() -> None:
    began.append("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        began.append(activity.cancellation_details())


@activity.defn
def spin_for_ever() -> None:
    began.append("spinning")
    while True:
        pass


@activity.defn(no_thread_cancel_exception=True)
def wait_politely() -> str:
    began.append("waiting")
    activity.wait_for_cancelled_sync()
    return "stopped by itself"


@activity.defn
async def fail_with(kind: str) -> None:
    errors = {
        "value": ValueError("bad"),
        "benign": ApplicationError("as usual", category=ApplicationErrorCategory.BENIGN),
        "exit": SystemExit(2),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
    }
    raise errors[kind]


@activity.defn
async def beat_and_fail() -> None:
    activity.heartbeat("first")
    activity.heartbeat("last")
    raise ValueError("after two heartbeats")


@activity.defn
async def return_too_much() -> bytes:
    return bytes(3 * 2**20)


@activity.defn
async def return_something_odd() -> object:
    return object()


@activity.defn
async def beat_oddly() -> None:
    activity.heartbeat(object())


@activity.defn(dynamic=True)
async def anything(args: Sequence[RawValue]) -> str:
    values = activity.payload_converter().from_payloads([each.payload for each in args])
    return f"{activity.info().activity_type}{values}"


EVERY = [
    greet,
    greet_in_thread,
    look_at_itself,
    wait_for_ever,
    spin_for_ever,
    wait_politely,
    fail_with,
    beat_and_fail,
    return_too_much,
    return_something_odd,
    beat_oddly,
]


@pytest.fixture
async def worker(wire):
    return wire(activities=EVERY)


async def until_it_has_begun() -> None:
    while not began:
        await asyncio.sleep(0)


async def test_a_result_is_reported(worker, converter):
    worker.say(task("greet", converter.to_payload("Ada")))
    assert await worker.hear(ActivityReport) == ActivityReport(
        attempt=REF, result=converter.to_payload("hello Ada")
    )


async def test_a_sync_activity_runs_in_a_thread(worker, converter):
    worker.say(task("greet_in_thread", converter.to_payload("Ada")))
    report = await worker.hear(ActivityReport)
    assert "from perdure-activity" in converter.from_payload(report.result)


async def test_a_sync_activity_runs_in_the_threads_that_are_given(wire, converter):
    with ThreadPoolExecutor(4, thread_name_prefix="mine") as threads:
        worker = wire(activities=[greet_in_thread], activity_executor=threads)
        worker.say(task("greet_in_thread", converter.to_payload("Ada")))
        report = await worker.hear(ActivityReport)
    assert "from mine" in converter.from_payload(report.result)


async def test_an_attempt_of_a_retried_run_has_the_key_that_the_server_says(worker):
    worker.say(task("look_at_itself", idempotency_key="run-0:3"))
    await worker.hear(ActivityReport)
    (info,) = began
    assert info.idempotency_key == "run-0:3"


async def test_an_attempt_knows_itself(worker, converter):
    worker.say(
        task(
            "look_at_itself",
            heartbeat_timeout=5_000,
            start_to_close_timeout=60_000,
            heartbeat_details=(converter.to_payload(7),),
        )
    )
    await worker.hear(ActivityReport)
    (info,) = began
    assert info.idempotency_key == "run-1:3"
    assert info.item is None
    assert "item" not in info.log_details
    assert (info.attempt, info.activity_id, info.activity_type) == (2, "3", "look_at_itself")
    assert (info.workflow_id, info.workflow_run_id) == ("order-42", "run-1")
    assert info.heartbeat_details == [7]
    assert info.heartbeat_timeout == timedelta(seconds=5)
    assert info.started_time - info.scheduled_time == timedelta(seconds=1)
    assert not info.is_local
    assert info.activity_run_id is None


async def test_an_item_of_a_batch_knows_which_it_is(worker):
    worker.say(task("look_at_itself", ref=AttemptRef("run-1", item_key(3, 17), 1), item=17))
    await worker.hear(ActivityReport)
    (info,) = began
    assert info.item == 17
    assert info.idempotency_key == "run-1:3.17"
    assert info.log_details["item"] == 17


async def test_a_standalone_activity_has_no_workflow(worker):
    worker.say(task("look_at_itself", standalone=True))
    await worker.hear(ActivityReport)
    (info,) = began
    assert not info.in_workflow
    assert info.workflow_run_id is info.workflow_type is None
    assert info.activity_run_id == "run-1"


async def test_a_dynamic_activity_gets_what_nobody_else_is_registered_for(wire, converter):
    worker = wire(activities=[greet, anything])
    worker.say(task("surprise", converter.to_payload(1), converter.to_payload("b")))
    report = await worker.hear(ActivityReport)
    assert converter.from_payload(report.result) == "surprise[1, 'b']"


async def test_an_unknown_type_fails_so_that_it_is_tried_again(wire, caplog):
    worker = wire(activities=[greet, greet_in_thread])
    (report,) = worker.say(task("gret"))
    assert report.failure.info == ApplicationInfo(type="NotFoundError")
    assert "'gret' is not registered" in report.failure.message
    assert "registered are: greet, greet_in_thread" in report.failure.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param([7], "argument 1 (name: str) of activity greet", id="wrong-type"),
        pytest.param(
            [], "activity greet takes 1 to 2 arguments (name, greeting), but was given 0", id="few"
        ),
        pytest.param(["a", "b", "c"], "was given 3", id="many"),
    ],
)
async def test_input_that_does_not_fit_is_final(worker, converter, values, message):
    worker.say(task("greet", *converter.to_payloads(values)))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.info == ApplicationInfo(type="InvalidInput", non_retryable=True)
    assert message in failure.message


async def test_a_result_over_the_limit_is_final(worker):
    worker.say(task("return_too_much"))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.info == ApplicationInfo(type="PayloadTooLarge", non_retryable=True)
    assert "the result of activity return_too_much takes 3,145,728 bytes" in failure.message


async def test_a_result_that_cannot_be_written_is_final(worker):
    worker.say(task("return_something_odd"))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.info == ApplicationInfo(type="InvalidResult", non_retryable=True)


async def test_an_error_is_reported_with_the_users_part_of_the_trace(worker, converter, caplog):
    worker.say(task("fail_with", converter.to_payload("value")))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.message == "bad"
    assert failure.info == ApplicationInfo(type="ValueError")
    assert "test_activities.py" in failure.stack_trace
    assert "perdure/worker" not in failure.stack_trace
    assert caplog.records[0].levelno == logging.WARNING
    assert "activity fail_with (id 3, attempt 2, of order-42) failed" in caplog.text


async def test_a_benign_error_makes_no_noise(worker, converter, caplog):
    worker.say(task("fail_with", converter.to_payload("benign")))
    await worker.hear(ActivityReport)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("kind", "type_"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")]
)
async def test_an_activity_cannot_end_the_worker(worker, converter, caplog, kind, type_):
    worker.say(task("fail_with", converter.to_payload(kind)))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.info == ApplicationInfo(type=type_)
    assert caplog.records[0].levelno == logging.ERROR


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(worker, converter):
    worker.say(task("fail_with", converter.to_payload("cancelled")))
    failure = (await worker.hear(ActivityReport)).failure
    assert failure.info == ApplicationInfo(type="CancelledError")
    assert "nobody had asked" in failure.message


async def test_an_async_activity_is_cancelled_without_heartbeats(worker):
    worker.say(task("wait_for_ever"))
    await until_it_has_begun()
    worker.say(CancelActivity(attempt=REF, reason="cancel_requested"))
    report = await worker.hear(ActivityReport)
    assert report.failure.info == CanceledInfo()
    assert began[1] == ActivityCancellationDetails(cancel_requested=True)


async def test_an_activity_that_is_cancelled_before_it_begins_does_not_begin(worker):
    worker.say(task("wait_for_ever"), CancelActivity(attempt=REF, reason="cancel_requested"))
    assert (await worker.hear(ActivityReport)).failure.info == CanceledInfo()
    assert began == []


async def test_a_thread_is_cancelled_without_heartbeats(worker):
    worker.say(task("spin_for_ever"))
    await until_it_has_begun()
    worker.say(CancelActivity(attempt=REF, reason="cancel_requested"))
    assert (await worker.hear(ActivityReport)).failure.info == CanceledInfo()


async def test_a_thread_that_opted_out_ends_by_itself_and_has_its_result(worker, converter):
    worker.say(task("wait_politely"))
    await until_it_has_begun()
    worker.say(CancelActivity(attempt=REF, reason="cancel_requested"))
    report = await worker.hear(ActivityReport)
    assert report.result == converter.to_payload("stopped by itself")


async def test_an_attempt_that_the_server_gave_up_is_stopped(worker, caplog):
    worker.say(task("wait_for_ever"))
    await until_it_has_begun()
    worker.say(CancelActivity(attempt=REF, reason="timed_out"))
    report = await worker.hear(ActivityReport)
    assert report.failure.info == TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)
    worker.say(ReportAccepted(attempt=REF, accepted=False))
    (record,) = caplog.records
    assert record.message.endswith("is stopped: the server says timed_out")


async def test_cancelling_what_is_over_does_nothing(worker):
    assert worker.say(CancelActivity(attempt=REF, reason="not_found")) == []


@pytest.mark.looptime
async def test_an_attempt_is_stopped_although_the_server_cannot_say_so(worker):
    worker.say(task("wait_for_ever", start_to_close_timeout=5_000))
    report = await worker.hear(ActivityReport)
    assert report.failure.info == TimeoutInfo(timeout=TimeoutKind.START_TO_CLOSE)
    assert asyncio.get_running_loop().time() == 6


async def test_the_last_heartbeat_goes_before_the_failure(worker, converter):
    worker.say(task("beat_and_fail", heartbeat_timeout=10_000))
    for details in ("first", "last"):
        beat = await worker.hear(ActivityHeartbeat)
        assert beat.details == (converter.to_payload(details),)
    assert (await worker.hear(ActivityReport)).failure.message == "after two heartbeats"


async def test_details_that_cannot_be_sent_do_not_stop_the_sign_of_life(worker, caplog):
    worker.say(task("beat_oddly"))
    assert (await worker.hear(ActivityHeartbeat)).details == ()
    await worker.hear(ActivityReport)
    assert "only the sign of life is" in caplog.text


async def test_a_report_is_kept_until_it_is_on_disk_and_repeated(worker, converter):
    worker.say(task("greet", converter.to_payload("Ada")))
    report = await worker.hear(ActivityReport)
    worker.disconnect()
    worker.connect()
    assert worker.hello.held == (REF,)
    assert await worker.hear(ActivityReport) == report
    worker.say(ReportAccepted(attempt=REF))
    worker.disconnect()
    worker.connect()
    assert worker.hello.held == ()
    assert worker.take() == []


async def test_what_runs_goes_on_over_a_broken_connection(worker):
    worker.say(task("wait_for_ever"))
    await until_it_has_begun()
    worker.disconnect()
    worker.connect()
    assert worker.hello.held == (REF,)
    worker.say(task("wait_for_ever"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert began == ["waiting"]
    worker.say(CancelActivity(attempt=REF, reason="cancel_requested"))
    await worker.hear(ActivityReport)


async def test_what_ends_while_there_is_no_connection_is_reported_afterwards(worker):
    worker.say(task("wait_for_ever"))
    await until_it_has_begun()
    worker.disconnect()
    worker.service._activities.cancel(CancelActivity(attempt=REF, reason="cancel_requested"))
    await worker.service._activities.wait_until_ended()
    worker.connect()
    assert (await worker.hear(ActivityReport)).attempt == REF


async def test_a_report_that_comes_too_late_is_dropped_and_said(worker, converter, caplog):
    worker.say(task("greet", converter.to_payload("Ada")))
    await worker.hear(ActivityReport)
    worker.say(ReportAccepted(attempt=REF, accepted=False))
    assert worker.service._activities.held == ()
    assert "came too late and is dropped" in caplog.text
    worker.say(ReportAccepted(attempt=REF, accepted=False))


async def test_the_worker_is_idle_when_nothing_runs_and_all_is_on_disk(worker, converter):
    assert worker.service._session.is_idle
    worker.say(task("greet", converter.to_payload("Ada")))
    assert not worker.service._session.is_idle
    await worker.hear(ActivityReport)
    assert not worker.service._session.is_idle
    worker.say(ReportAccepted(attempt=REF))
    assert worker.service._session.is_idle


async def test_a_worker_that_comes_back_while_it_leaves_asks_for_nothing(worker):
    session = worker.service._session
    draining = asyncio.create_task(session.drain())
    await asyncio.sleep(0)
    assert worker.take() == [Drain(), Ping()]
    worker.disconnect()
    worker.connect()
    assert (worker.hello.workflow_slots, worker.hello.activity_slots) == (0, 0)
    assert worker.take() == [Drain(), Ping()]
    worker.say(Pong())
    await draining


async def test_only_the_answer_behind_the_drain_says_that_nothing_is_on_its_way(worker):
    session = worker.service._session
    session.ping()
    draining = asyncio.create_task(session.drain())
    await asyncio.sleep(0)
    worker.say(Pong())
    assert not session._drained.is_set()
    worker.say(Pong())
    await draining
