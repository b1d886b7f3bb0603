"""The verb ``retry``: a failed run is followed by one that goes on from what failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.retries import Effect, RetryPoint
from perdure.protocol.verbs import RunStatus
from perdure_operator.server.errors import VerbError
from support.hosts import ByHand, World
from support.runs import schedule_batch

pytestmark = pytest.mark.looptime

TARGET = {"namespace": "default", "workflow_id": "order-42"}
BROKEN = Failure(message="no stock", info=ApplicationInfo(non_retryable=True))


def charge(seq: int) -> cmd.ScheduleActivity:
    return cmd.ScheduleActivity(
        seq=seq, activity_id=str(seq), activity_type="charge", start_to_close_timeout=60_000
    )


def retry(**fields: Any) -> vb.RetryRequest:
    return vb.RetryRequest(**TARGET, **fields)


async def failed(world: World, *, refund: bool = False, **start: Any) -> ByHand:
    """Play an order that is charged and cannot be shipped; return its worker."""
    await world.start(**start)
    worker = await world.worker()
    await worker.progress(await worker.take(msg.WorkflowTask), charge(1))
    await end_attempt(worker)
    await worker.progress(await worker.take(msg.WorkflowTask), charge(2))
    await end_attempt(worker, BROKEN)
    if refund:
        await worker.progress(await worker.take(msg.WorkflowTask), charge(3))
        await end_attempt(worker)
    fail = cmd.FailWorkflow(failure=BROKEN, failed_seq=2)
    await worker.progress(await worker.take(msg.WorkflowTask), fail)
    return worker


async def end_attempt(worker: ByHand, failure: Failure | None = None) -> msg.ActivityTask:
    task = await worker.take(msg.ActivityTask)
    await worker.say(msg.ActivityReport(attempt=task.attempt, failure=failure))
    return task


async def look(worker: ByHand) -> msg.WorkflowTask:
    """Let the worker replay a retried run, in which there is nothing new to tell yet."""
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, through=0)
    return task


async def test_a_retried_run_goes_on_from_what_failed() -> None:
    async with World(lease=3_600_000) as world:
        worker = await failed(world, execution_timeout=600_000)
        await asyncio.sleep(400)
        answer = await world.verbs.retry(retry(reason="mended"))
        assert (answer.run_id, answer.retried_run_id, answer.retried) == ("run-2", "run-1", True)

        looked = await look(worker)
        assert (looked.run.run_id, looked.complete) == ("run-2", True)
        shipping = await end_attempt(worker)
        assert (shipping.attempt.seq, shipping.attempt.attempt) == (2, 1)
        assert shipping.idempotency_key == "run-1:2"
        assert not await worker.has(msg.ActivityTask), "charged again"
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, charge(3))
        assert (await end_attempt(worker)).idempotency_key == "run-2:3"
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())

        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert (described.run_id, described.status) == ("run-2", RunStatus.COMPLETED)
        assert described.retried is not None
        assert (described.retried.run_id, described.retried.event) == ("run-1", answer.event)
        assert described.retried.reason == "mended"


async def test_the_earlier_run_stays_as_it_was() -> None:
    async with World() as world:
        await failed(world)
        before = await world.history("run-1")
        answer = await world.verbs.retry(retry())
        assert await world.history("run-1") == before
        assert isinstance(before[answer.event - 1].event, ev.ActivityFailed)
        earlier = await world.verbs.describe(vb.DescribeRequest(**TARGET, run_id="run-1"))
        assert earlier.status is RunStatus.FAILED


async def test_its_timeouts_count_from_the_retry() -> None:
    async with World() as world:
        await failed(world, execution_timeout=600_000)
        await asyncio.sleep(500)
        await world.verbs.retry(retry())
        await asyncio.sleep(500)
        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert described.status is RunStatus.RUNNING
        await asyncio.sleep(101)
        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert (described.run_id, described.status) == ("run-2", RunStatus.TIMED_OUT)


async def test_a_retried_run_outlives_a_restart() -> None:
    async with World() as world:
        (await failed(world)).disconnect()
        await world.verbs.retry(retry())
        await world.restart()
        worker = await world.worker("w2")
        assert (await end_attempt(worker)).idempotency_key == "run-1:2"
        assert await worker.has(msg.WorkflowTask)


async def test_who_asks_is_told_what_the_earlier_run_did_afterwards() -> None:
    async with World() as world:
        await failed(world, refund=True)
        answer = await world.verbs.retry(retry(request_id="r-1"))
        refunded = [
            e for e in await world.history("run-1") if e.event == ev.ActivityCompleted(seq=3)
        ]
        assert answer.effects == (Effect(event=refunded[0].id, name="charge"),)
        assert (await world.verbs.retry(retry(request_id="r-1"))).effects == answer.effects


async def test_a_retry_from_the_start_does_all_of_it_again() -> None:
    async with World() as world:
        worker = await failed(world, memo={}, watched=True)
        answer = await world.verbs.retry(retry(point=RetryPoint.START))
        assert (answer.event, answer.effects) == (1, ())
        assert await world.names("run-2") == ["WorkflowStarted"]
        assert (await worker.take(msg.WorkflowTask)).run.run_id == "run-2"
        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert described.watched


async def test_a_standalone_activity_is_retried() -> None:
    async with World() as world:
        options = vb.ActivityOptions(start_to_close_timeout=60_000)
        await world.start(workflow_type="charge", kind="activity", activity=options)
        worker = await world.worker()
        await end_attempt(worker, BROKEN)
        await world.verbs.retry(retry())
        assert (await end_attempt(worker)).idempotency_key == "run-1:1"
        described = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert (described.run_id, described.status) == ("run-2", RunStatus.COMPLETED)


# --- again, and refused ------------------------------------------------------------------------


async def test_the_same_request_again_is_the_same_retry_whatever_has_happened_since() -> None:
    async with World() as world:
        worker = await failed(world)
        first = await world.verbs.retry(retry(request_id="r-1"))
        again = await world.verbs.retry(retry(request_id="r-1", run_id="run-1"))
        assert (again.run_id, again.event, again.retried) == (first.run_id, first.event, False)

        await look(worker)
        await end_attempt(worker, BROKEN)
        fail = cmd.FailWorkflow(failure=BROKEN, failed_seq=2)
        await worker.progress(await worker.take(msg.WorkflowTask), fail)
        second = await world.verbs.retry(retry(request_id="r-2"))
        assert second.retried_run_id == first.run_id
        assert (await world.verbs.retry(retry(request_id="r-1"))).run_id == first.run_id
        assert (await world.verbs.retry(retry(request_id="r-2"))).run_id == second.run_id


async def test_two_at_once_make_one_run() -> None:
    async with World() as world:
        await failed(world)
        request = retry(request_id="r-1")
        first, second = await asyncio.gather(world.verbs.retry(request), world.verbs.retry(request))
        assert first.run_id == second.run_id
        assert {first.retried, second.retried} == {True, False}


async def refused(world: World, request: vb.RetryRequest) -> VerbError:
    with pytest.raises(VerbError) as caught:
        await world.verbs.retry(request)
    return caught.value


async def test_an_open_run_is_not_retried() -> None:
    async with World() as world:
        await world.start()
        error = await refused(world, retry())
        assert (error.code, error.run_id) == ("Invalid", "run-1")
        assert "has not ended" in str(error)


async def test_a_completed_run_is_not_retried_but_from_the_start() -> None:
    async with World() as world:
        await world.start()
        worker = await world.worker()
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())
        assert "no step of it failed" in str(await refused(world, retry()))
        assert (await world.verbs.retry(retry(point=RetryPoint.START))).retried_run_id == "run-1"


async def test_a_run_that_was_followed_by_another_is_left() -> None:
    async with World() as world:
        worker = await failed(world)
        await world.verbs.retry(retry())
        error = await refused(world, retry(run_id="run-1"))
        assert (error.code, error.run_id) == ("AlreadyStarted", "run-2")

        await worker.take(msg.ActivityTask)
        await world.verbs.terminate(vb.TerminateRequest(**TARGET))
        error = await refused(world, retry(run_id="run-1"))
        assert (error.code, error.run_id) == ("Invalid", "run-2")
        assert "retry that one" in str(error)


async def test_there_must_be_a_run() -> None:
    async with World() as world:
        assert (await refused(world, retry())).code == "NotFound"


async def test_a_damaged_history_is_not_retried() -> None:
    async with World() as world:
        await failed(world)
        world.store._runs["run-1"].events.pop(3)
        await world.restart()
        error = await refused(world, retry())
        assert error.code == "Damaged"
        assert "so it cannot be retried" in str(error)


async def test_a_store_that_fails_has_retried_nothing() -> None:
    async with World() as world:
        await failed(world)
        world.store.failing = True
        assert (await refused(world, retry(request_id="r-1"))).code == "Unavailable"
        world.store.failing = False
        await asyncio.sleep(2)
        assert (await world.verbs.retry(retry(request_id="r-1"))).retried


async def test_of_a_failed_batch_only_the_failed_items_begin_anew_with_their_keys() -> None:
    async with World(lease=3_600_000) as world:
        await world.start()
        worker = await world.worker()
        await worker.progress(await worker.take(msg.WorkflowTask), schedule_batch(1, 4))
        done, broken, *_ = tasks = await worker.take_all(msg.ActivityTask)
        assert [task.item for task in tasks] == [0, 1, 2, 3]
        await worker.say(msg.ActivityReport(attempt=done.attempt))
        await worker.say(msg.ActivityReport(attempt=broken.attempt, failure=BROKEN))
        fail = cmd.FailWorkflow(failure=BROKEN, failed_seq=1)
        await worker.progress(await worker.take(msg.WorkflowTask), fail)

        await world.verbs.retry(retry())
        again = await worker.take_all(msg.ActivityTask)
        assert [task.item for task in again] == [1, 2, 3]
        assert [task.idempotency_key for task in again] == ["run-1:1.1", "run-1:1.2", "run-1:1.3"]
        await worker.say_at_once(*(msg.ActivityReport(attempt=task.attempt) for task in again))
        history = [each.event for each in await world.history("run-2")]
        assert history[-1] == ev.BatchCompleted(seq=1, succeeded=4)


@pytest.mark.parametrize("standalone", [False, True], ids=["of a workflow", "on its own"])
async def test_a_batch_of_a_terminated_run_goes_on_with_the_items_that_were_not_acknowledged(
    standalone: bool,
) -> None:
    async with World(lease=3_600_000) as world:
        worker = await world.worker()
        if standalone:
            await world.start(**batch_of(4))
        else:
            await world.start()
            await worker.progress(await worker.take(msg.WorkflowTask), schedule_batch(1, 4))
        first, *_ = await worker.take_all(msg.ActivityTask)
        await worker.say(msg.ActivityReport(attempt=first.attempt))
        await world.verbs.terminate(vb.TerminateRequest(**TARGET))
        await worker.take_all(msg.CancelActivity)

        await world.verbs.retry(retry())
        again = await worker.take_all(msg.ActivityTask)
        assert [task.item for task in again] == [1, 2, 3]
        await worker.say_at_once(*(msg.ActivityReport(attempt=task.attempt) for task in again))
        history = [each.event for each in await world.history("run-2")]
        assert ev.BatchCompleted(seq=1, succeeded=4) in history


def batch_of(items: int) -> dict[str, Any]:
    return {
        "kind": "activity",
        "workflow_type": "resize",
        "activity": vb.ActivityOptions(
            start_to_close_timeout=60_000, items=tuple(() for _ in range(items))
        ),
    }
