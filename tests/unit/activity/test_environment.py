import asyncio
import dataclasses
import threading

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.exceptions import CancelledError
from perdure.testing import ActivityEnvironment


@activity.defn
async def report_progress(upto: int) -> str:
    for number in range(upto):
        activity.heartbeat(number)
    return activity.info().idempotency_key


@activity.defn
def spin_until_cancelled(began: threading.Event) -> None:
    began.set()
    while True:
        activity.heartbeat()


@activity.defn(no_thread_cancel_exception=True)
def wait_politely(began: threading.Event) -> str:
    began.set()
    activity.wait_for_cancelled_sync()
    return "stopped"


async def test_an_async_activity_runs_in_its_context():
    environment = ActivityEnvironment()
    heard = []
    environment.on_heartbeat = heard.append
    assert await environment.run(report_progress, 2) == "test-run:1"
    assert heard == [0, 1]
    assert not activity.in_activity()


def test_a_sync_activity_runs_in_its_context():
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=3)
    assert environment.run(lambda: activity.info().attempt) == 3
    assert not activity.in_activity()


async def test_an_async_activity_can_be_cancelled():
    environment = ActivityEnvironment()
    task = asyncio.ensure_future(environment.run(_sleep_for_ever))
    await asyncio.sleep(0)
    environment.cancel()
    environment.cancel(ActivityCancellationDetails(timed_out=True))
    with pytest.raises(asyncio.CancelledError):
        await task


async def _sleep_for_ever():
    try:
        await asyncio.Event().wait()
    finally:
        assert activity.cancellation_details() == ActivityCancellationDetails(cancel_requested=True)


async def test_an_activity_that_begins_cancelled_is_cancelled_where_it_first_waits():
    environment = ActivityEnvironment()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await environment.run(_sleep_for_ever)


async def test_a_sync_activity_is_interrupted_in_its_thread():
    environment, began = ActivityEnvironment(), threading.Event()
    running = asyncio.create_task(asyncio.to_thread(environment.run, spin_until_cancelled, began))
    await asyncio.to_thread(began.wait)
    environment.cancel()
    with pytest.raises(CancelledError):
        await running


async def test_a_sync_activity_may_opt_out_of_interruption():
    environment, began = ActivityEnvironment(), threading.Event()
    running = asyncio.create_task(asyncio.to_thread(environment.run, wait_politely, began))
    await asyncio.to_thread(began.wait)
    environment.cancel()
    assert await running == "stopped"


async def test_an_activity_sees_the_worker_leave():
    environment = ActivityEnvironment()
    waiting = asyncio.ensure_future(environment.run(activity.wait_for_worker_shutdown))
    await asyncio.sleep(0)
    environment.worker_shutdown()
    await waiting


async def test_the_client_is_there_in_async_activities_only():
    client = object()
    environment = ActivityEnvironment(client=client)

    async def ask():
        return activity.client()

    assert await environment.run(ask) is client
    with pytest.raises(RuntimeError):
        environment.run(activity.client)
