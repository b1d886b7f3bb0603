import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.activity._context import Context, Flag, current_context
from perdure.converter import DataConverter
from perdure.testing import ActivityEnvironment


@pytest.fixture
def context():
    heard = []
    made = Context(
        info=ActivityEnvironment.default_info,
        heartbeat=lambda *details: heard.append(details),
        shutdown=Flag(),
    )
    made.heard = heard
    token = current_context.set(made)
    yield made
    current_context.reset(token)


def test_functions_say_where_they_work_when_there_is_no_activity():
    assert not activity.in_activity()
    with pytest.raises(RuntimeError, match="Not in activity context"):
        activity.info()


def test_an_activity_finds_itself(context):
    assert activity.in_activity()
    assert activity.info().activity_id == "test"
    assert activity.info() is activity.info()


def test_heartbeats_are_passed_on(context):
    activity.heartbeat(1, "two")
    assert context.heard == [(1, "two")]


def test_the_first_reason_for_a_cancellation_stays(context):
    assert activity.cancellation_details() is None
    assert context.cancel(ActivityCancellationDetails(cancel_requested=True))
    assert not context.cancel(ActivityCancellationDetails(worker_shutdown=True))
    assert activity.is_cancelled()
    assert activity.cancellation_details() == ActivityCancellationDetails(cancel_requested=True)


async def test_a_coroutine_can_wait_for_cancellation(context):
    waiting = asyncio.create_task(activity.wait_for_cancelled())
    await asyncio.sleep(0)
    assert not waiting.done()
    context.cancel(ActivityCancellationDetails(cancel_requested=True))
    await waiting
    await activity.wait_for_cancelled()


async def test_a_waiting_coroutine_that_was_cancelled_is_not_woken(context):
    waiting = asyncio.create_task(activity.wait_for_cancelled())
    await asyncio.sleep(0)
    waiting.cancel()
    context.cancel(ActivityCancellationDetails(cancel_requested=True))
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_thread_can_wait_for_cancellation(context):
    activity.wait_for_cancelled_sync(timedelta(0))
    assert not activity.is_cancelled()
    threading.Thread(
        target=context.cancel, args=(ActivityCancellationDetails(timed_out=True),)
    ).start()
    activity.wait_for_cancelled_sync()
    assert activity.is_cancelled()


async def test_the_workers_end_can_be_waited_for(context):
    assert not activity.is_worker_shutdown()
    activity.wait_for_worker_shutdown_sync(0.0)
    waiting = asyncio.create_task(activity.wait_for_worker_shutdown())
    await asyncio.sleep(0)
    context.shutdown.set()
    await waiting
    activity.wait_for_worker_shutdown_sync()
    assert activity.is_worker_shutdown()


def test_without_a_thread_a_shield_does_nothing(context):
    with activity.shield_thread_cancel_exception():
        context.cancel(ActivityCancellationDetails(cancel_requested=True))


def test_what_an_attempt_was_not_given_is_said(context):
    with pytest.raises(RuntimeError, match="no payload converter"):
        activity.payload_converter()
    with pytest.raises(RuntimeError, match="async def"):
        activity.client()


def test_an_attempt_has_a_converter_and_a_client():
    converter, client = DataConverter.default.payload_converter, object()
    token = current_context.set(
        Context(
            info=ActivityEnvironment.default_info,
            heartbeat=print,
            shutdown=Flag(),
            payload_converter=lambda: converter,
            client=client,
        )
    )
    assert activity.payload_converter() is converter
    assert activity.client() is client
    current_context.reset(token)


def test_the_logger_says_which_attempt_speaks(context, caplog):
    caplog.set_level(logging.INFO)
    activity.logger.info("charged", extra={"amount": 3})
    record = caplog.records[0]
    assert record.message.startswith("charged ({'activity_id': 'test'")
    assert record.perdure_activity["attempt"] == 1
    assert record.amount == 3


def test_the_loggers_details_can_be_chosen(context, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(activity.logger, "activity_info_on_message", False)
    monkeypatch.setattr(activity.logger, "activity_info_on_extra", False)
    monkeypatch.setattr(activity.logger, "full_activity_info_on_extra", True)
    activity.logger.info("charged")
    assert caplog.records[0].message == "charged"
    assert caplog.records[0].activity_info is activity.info()
    assert not hasattr(caplog.records[0], "perdure_activity")


def test_outside_an_activity_the_logger_adds_nothing(caplog):
    caplog.set_level(logging.INFO)
    activity.logger.info("plain")
    assert caplog.records[0].message == "plain"
    assert activity.logger.base_logger.name == "perdure.activity"


def test_info_knows_whether_a_workflow_asked():
    assert ActivityEnvironment.default_info().in_workflow
