"""When a worker leaves by itself, in virtual time."""

import asyncio
from datetime import timedelta

import pytest

from perdure import activity
from perdure.protocol.messages import ActivityReport, ActivityTask, AttemptRef, ReportAccepted

pytestmark = pytest.mark.looptime

TASK = ActivityTask(
    attempt=AttemptRef("run-1", 1, 1),
    namespace="default",
    workflow_id="order-42",
    workflow_type="Order",
    activity_id="1",
    activity_type="linger",
    task_queue="orders",
    scheduled=1_000,
    started=2_000,
)
IDLE = 20.0
LONG = 110.0


@activity.defn
async def linger() -> None:
    await asyncio.sleep(LONG)


async def test_a_worker_that_has_nothing_to_do_leaves(wire, looptime):
    worker = wire(activities=[linger], idle_after=timedelta(seconds=IDLE))
    await worker.service._wait_until_idle()
    assert looptime == IDLE


async def test_a_worker_does_not_leave_while_it_holds_something(wire, looptime):
    worker = wire(activities=[linger], idle_after=timedelta(seconds=IDLE))
    leaving = asyncio.create_task(worker.service._wait_until_idle())
    await asyncio.sleep(IDLE - 1)
    worker.say(TASK)
    await asyncio.sleep(IDLE * 3)
    assert not leaving.done()

    await asyncio.sleep(LONG - IDLE * 3)
    await worker.hear(ActivityReport)
    worker.say(ReportAccepted(attempt=TASK.attempt))
    await leaving
    assert looptime == IDLE - 1 + LONG + IDLE
