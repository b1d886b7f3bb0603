"""A worker that drops a run while something for it is on its way."""

from __future__ import annotations

import asyncio

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import messages as msg
from perdure.protocol.verbs import QueryRequest
from support.hosts import World

pytestmark = pytest.mark.looptime


async def test_a_task_that_crosses_the_drop_begins_anew_with_the_whole_history() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=5))
        await asyncio.sleep(0.01)
        crossed = await worker.take(msg.WorkflowTask)
        assert not crossed.complete
        await worker.say(msg.RunEvicted(run_id=run_id))
        anew = await worker.take(msg.WorkflowTask)
        assert anew.complete
        assert [each.id for each in anew.events] == [1, 2, 3, 4]
        await worker.progress(anew, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_a_leaving_worker_gives_its_task_to_another() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await world.start()
        assert await worker.has(msg.WorkflowTask)
        other = await world.worker("w2")
        await worker.say(msg.Drain())
        await worker.say(msg.RunEvicted(run_id=run_id))
        assert (await other.take(msg.WorkflowTask)).complete


async def test_only_the_holder_can_give_a_task_back() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        other = await world.worker("w2")
        await other.say(msg.RunEvicted(run_id=run_id))
        await worker.progress(task, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"


async def test_a_query_that_crosses_the_drop_is_asked_again_with_the_whole_history() -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask))
        request = QueryRequest(namespace="default", workflow_id="order-42", name="state")
        asking = asyncio.create_task(world.verbs.query(request))
        assert not (await worker.take(msg.AskQuery)).complete
        await worker.say(msg.RunEvicted(run_id=run_id))
        again = await worker.take(msg.AskQuery)
        assert again.complete
        await worker.say(msg.QueryAnswer(query=again.query))
        assert (await asking).failure is None
