"""What clients ask, and what is refused with which words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, RetryPolicy
from perdure.protocol.verbs import IdConflictPolicy, IdReusePolicy, RunStatus
from perdure_operator.engine.transitions import Transition
from perdure_operator.server.errors import VerbError
from perdure_operator.store.port import Outcome
from support.hosts import World, settle

pytestmark = pytest.mark.looptime
TARGET = {"namespace": "default", "workflow_id": "order-42"}
RESULT = Payload(metadata={"encoding": b"json/plain"}, data=b'"ok"')


async def test_the_same_start_twice_is_one_run() -> None:
    async with World() as world:
        first = await world.start(request_id="r1")
        assert await world.start(request_id="r1") == first


async def test_the_same_start_after_the_end_still_is_that_run() -> None:
    async with World() as world:
        first = await world.start(request_id="r1")
        await world.verbs.terminate(vb.TerminateRequest(**TARGET))
        assert await world.start(request_id="r1") == first


async def test_two_starts_at_once_make_one_run() -> None:
    async with World() as world:
        results = await asyncio.gather(world.start(), world.start(), return_exceptions=True)
        errors = [each for each in results if isinstance(each, VerbError)]
        assert len(errors) == 1
        assert errors[0].code == "AlreadyStarted"
        assert errors[0].run_id in results


async def test_the_same_request_twice_at_once_is_one_run() -> None:
    async with World() as world:
        one, two = await asyncio.gather(world.start(request_id="r"), world.start(request_id="r"))
        assert one == two


async def test_a_running_id_can_be_joined() -> None:
    async with World() as world:
        first = await world.start()
        second = await world.start(
            id_conflict_policy=IdConflictPolicy.USE_EXISTING, start_signal="hello"
        )
        assert second == first
        assert await world.names(first) == ["WorkflowStarted", "SignalReceived"]


async def test_a_running_id_can_be_replaced() -> None:
    async with World() as world:
        first = await world.start()
        second = await world.start(id_conflict_policy=IdConflictPolicy.TERMINATE_EXISTING)
        assert second != first
        assert (await world.names(first))[-1] == "WorkflowTerminated"


@pytest.mark.parametrize(
    ("policy", "end", "allowed"),
    [
        (IdReusePolicy.ALLOW_DUPLICATE, cmd.CompleteWorkflow(), True),
        (IdReusePolicy.REJECT_DUPLICATE, cmd.CancelWorkflow(), False),
        (IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, cmd.CompleteWorkflow(), False),
        (IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, cmd.CancelWorkflow(), True),
    ],
    ids=["any", "never", "failed-only-after-success", "failed-only-after-cancel"],
)
async def test_an_id_is_used_again_as_its_policy_says(
    policy: IdReusePolicy, end: cmd.Command, allowed: bool
) -> None:
    async with World() as world:
        worker = await world.worker()
        first = await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), end)
        if allowed:
            assert await world.start(id_reuse_policy=policy) != first
        else:
            with pytest.raises(VerbError, match="has run before"):
                await world.start(id_reuse_policy=policy)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"workflow_type": ""}, "Invalid", "workflow_type is empty"),
        ({"workflow_id": "x" * 1001}, "Invalid", "at most 1,000"),
        ({"kind": "thing"}, "Invalid", "it is `workflow` or `activity`"),
        ({"kind": "activity"}, "Invalid", "needs its options"),
        ({"retry_policy": RetryPolicy()}, "Invalid", "retries of a whole run are not supported"),
        (
            {"input": (Payload(data=b"x" * (MAX_PAYLOAD_BYTES + 1)),)},
            "TooLarge",
            "input of 'Order': value 1 takes 2,097,153 bytes",
        ),
    ],
    ids=[
        "empty",
        "long-id",
        "unknown-kind",
        "activity-without-options",
        "retries-of-a-run",
        "large-input",
    ],
)
async def test_a_bad_start_is_refused_and_nothing_recorded(
    options: dict[str, object], code: str, words: str
) -> None:
    async with World() as world:
        with pytest.raises(VerbError, match=words) as caught:
            await world.start(**options)
        assert caught.value.code == code
        assert world.store.commits == 0


async def test_a_full_disk_is_told_and_the_server_lives_on() -> None:
    async with World() as world:
        world.store.failing = True
        with pytest.raises(VerbError, match=r"Nothing was recorded; .*the disk is full") as caught:
            await world.start()
        assert caught.value.code == "Unavailable"
        world.store.failing = False
        assert await world.start()


@pytest.mark.parametrize("verb", ["signal", "cancel", "terminate", "describe", "result"])
async def test_what_is_not_there_is_not_found(verb: str) -> None:
    requests = {
        "signal": vb.SignalRequest(**TARGET, name="s"),
        "cancel": vb.CancelRequest(**TARGET),
        "terminate": vb.TerminateRequest(**TARGET),
        "describe": vb.DescribeRequest(**TARGET),
        "result": vb.ResultRequest(**TARGET),
    }
    async with World() as world:
        with pytest.raises(VerbError, match="no run of 'order-42' in namespace 'default'") as it:
            await getattr(world.verbs, verb)(requests[verb])
        assert it.value.status == 404


async def test_a_run_of_another_namespace_is_not_found() -> None:
    async with World() as world:
        run_id = await world.start()
        request = vb.DescribeRequest(namespace="other", workflow_id="order-42", run_id=run_id)
        with pytest.raises(VerbError, match="in namespace 'other'"):
            await world.verbs.describe(request)


async def test_a_result_is_waited_for() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        waiting = asyncio.create_task(world.verbs.result(vb.ResultRequest(**TARGET, wait=20_000)))
        await settle()
        assert not waiting.done()
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.CompleteWorkflow(result=RESULT))
        answer = await waiting
        assert (answer.status, answer.result) == (RunStatus.COMPLETED, RESULT)


async def test_a_long_poll_ends_by_itself() -> None:
    async with World() as world:
        await world.start()
        answer = await world.verbs.result(vb.ResultRequest(**TARGET, wait=5_000))
        assert answer.status is RunStatus.RUNNING
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)


async def test_history_is_followed_page_by_page() -> None:
    async with World() as world:
        await world.start()
        for n in range(5):
            await world.verbs.signal(vb.SignalRequest(**TARGET, name=f"s{n}"))
        page = await world.verbs.history(vb.HistoryRequest(**TARGET, after=2, limit=2))
        assert [each.id for each in page.events] == [3, 4]
        assert (page.last_event, page.closed) == (6, False)
        follow = asyncio.create_task(
            world.verbs.history(vb.HistoryRequest(**TARGET, after=6, wait=20_000))
        )
        await settle()
        await world.verbs.signal(vb.SignalRequest(**TARGET, name="late"))
        assert [each.id for each in (await follow).events] == [7]


async def test_a_short_history_comes_whole_with_the_description_of_a_run() -> None:
    async with World() as world:
        await world.start()
        await world.verbs.signal(vb.SignalRequest(**TARGET, name="s"))
        bare = await world.verbs.describe(vb.DescribeRequest(**TARGET))
        assert (bare.history, bare.outcome) == ((), None)

        told = await world.verbs.describe(vb.DescribeRequest(**TARGET, whole_history=100_000))
        assert [each.id for each in told.history] == [1, 2]
        assert told.outcome is None, "it goes on"


async def test_of_a_long_history_the_end_comes_and_how_the_run_ended() -> None:
    async with World() as world:
        run_id = await world.start()
        for n in range(5):
            await world.verbs.signal(vb.SignalRequest(**TARGET, name=f"s{n}"))
        await world.verbs.terminate(vb.TerminateRequest(**TARGET, reason="enough"))
        asked = vb.DescribeRequest(**TARGET, whole_history=10, last_events=2)
        told = await world.verbs.describe(asked)
        assert [each.id for each in told.history] == [6, 7]
        assert told.outcome is not None
        assert (told.outcome.run_id, told.outcome.status) == (run_id, RunStatus.TERMINATED)
        assert told.outcome.failure is not None
        assert told.outcome.failure.message == "enough"


async def test_runs_are_listed_page_by_page_newest_first() -> None:
    async with World() as world:
        for n in range(5):
            await world.start(f"order-{n}")
            await asyncio.sleep(1)
        first = await world.verbs.list(vb.ListRequest(namespace="default", limit=3))
        assert [run.workflow_id for run in first.runs] == ["order-4", "order-3", "order-2"]
        rest = await world.verbs.list(vb.ListRequest(limit=3, page=first.next_page))
        assert [run.workflow_id for run in rest.runs] == ["order-1", "order-0"]
        assert rest.next_page == ""


@pytest.mark.parametrize(
    "request_", [{"status": "Sleeping"}, {"page": "3"}], ids=["status", "page"]
)
async def test_a_bad_list_is_refused(request_: dict[str, str]) -> None:
    async with World() as world:
        with pytest.raises(VerbError) as caught:
            await world.verbs.list(vb.ListRequest(**request_))
        assert caught.value.code == "Invalid"


async def test_watched_runs_tell_each_change_once() -> None:
    async with World() as world:
        await world.start("a", watched=True)
        await world.start("b")
        first = await world.verbs.watch(vb.WatchRequest(cursor=0))
        assert [change.workflow_id for change in first.changes] == ["a"]
        waiting = asyncio.create_task(
            world.verbs.watch(vb.WatchRequest(cursor=first.cursor, wait=20_000))
        )
        await settle()
        assert not waiting.done()
        request = vb.TerminateRequest(namespace="default", workflow_id="a")
        await world.verbs.terminate(request)
        assert [change.status for change in (await waiting).changes] == [RunStatus.TERMINATED]


async def test_queues_tell_backlog_and_workers() -> None:
    async with World() as world:
        await world.start()
        await settle()
        told = await world.verbs.queues(vb.QueuesRequest())
        assert [(q.task_queue, q.backlog, q.workers) for q in told.queues] == [("q", 1, ())]
        waiting = asyncio.create_task(
            world.verbs.queues(vb.QueuesRequest(version=told.version, wait=20_000))
        )
        await settle()
        assert not waiting.done()
        await world.worker()
        queue = (await waiting).queues[0]
        assert (queue.backlog, queue.held, len(queue.workers)) == (0, 1, 1)


# --- queries -------------------------------------------------------------------------------------


async def ask(world: World, **options: object) -> asyncio.Task[vb.QueryResponse]:
    task = asyncio.create_task(
        world.verbs.query(vb.QueryRequest(**TARGET, name="state", **options))
    )
    await settle()
    return task


async def test_a_query_is_answered_from_the_workers_cache() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        before = world.store.commits
        waiting = await ask(world)
        asked = await worker.take(msg.AskQuery)
        assert not asked.complete
        await worker.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        assert (await waiting).result == RESULT
        assert world.store.commits == before


async def test_a_query_of_a_closed_run_goes_to_any_worker_with_the_history() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await world.start()
        await worker.progress(await worker.take(msg.WorkflowTask), cmd.CompleteWorkflow())
        worker.disconnect()
        other = await world.worker("w2")
        waiting = await ask(world)
        asked = await other.take(msg.AskQuery)
        assert asked.complete
        assert [each.id for each in asked.events] == [1, 2, 3]
        await other.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        assert (await waiting).result == RESULT


async def test_a_query_waits_until_the_code_has_been_told_all() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        waiting = await ask(world)
        assert not await worker.has(msg.AskQuery)
        await worker.progress(task, cmd.StartTimer(seq=1, delay=10**6))
        asked = await worker.take(msg.AskQuery)
        await worker.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        await waiting


async def test_a_query_waits_until_what_the_code_was_told_is_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with World() as world:
        worker = await world.worker()
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        written, commit = asyncio.Event(), world.store.commit

        async def commit_late(transitions: Sequence[Transition]) -> list[Outcome]:
            await written.wait()
            return await commit(transitions)

        monkeypatch.setattr(world.store, "commit", commit_late)
        await worker.progress(task)
        await worker.say(msg.RunEvicted(run_id=run_id))
        waiting = await ask(world)
        assert not await worker.has(msg.AskQuery)
        written.set()
        asked = await worker.take(msg.AskQuery)
        assert isinstance(asked.events[-1].event, ev.WorkflowTaskCompleted)
        await worker.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        assert (await waiting).result == RESULT


async def test_a_query_outlives_a_commit_that_fails() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        waiting = await ask(world)
        world.store.failing = True
        await worker.progress(task, cmd.StartTimer(seq=1, delay=10**6))
        world.store.failing = False
        await asyncio.sleep(2)
        again = await worker.take(msg.WorkflowTask)
        await worker.progress(again, cmd.StartTimer(seq=1, delay=10**6))
        asked = await worker.take(msg.AskQuery)
        await worker.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        assert (await waiting).result == RESULT


async def test_a_query_counts_as_backlog_until_a_worker_comes() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        worker.disconnect()
        waiting = await ask(world)
        assert world.host.dispatcher.backlog == 1
        other = await world.worker("w2")
        asked = await other.take(msg.AskQuery)
        await other.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        await waiting
        assert world.host.dispatcher.backlog == 0


async def test_a_query_without_a_worker_says_so() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        worker.disconnect()
        with pytest.raises(VerbError, match="no worker of task queue 'q'"):
            await world.verbs.query(vb.QueryRequest(**TARGET, name="state", timeout=1_000))
        assert world.host.dispatcher.backlog == 0


async def test_a_query_of_failing_code_says_so() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        failure = msg.Failure(message="KeyError: 'x'")
        await worker.say(msg.TaskFailed(task=task.task, cause="WorkflowError", failure=failure))
        with pytest.raises(VerbError, match=r"keeps failing .*KeyError: 'x'"):
            await world.verbs.query(vb.QueryRequest(**TARGET, name="state"))


async def test_a_query_goes_to_another_worker_when_the_asked_one_is_gone() -> None:
    async with World() as world:
        worker = await world.worker("w1")
        await world.start()
        await worker.progress(
            await worker.take(msg.WorkflowTask), cmd.StartTimer(seq=1, delay=10**6)
        )
        other = await world.worker("w2")
        waiting = await ask(world)
        await worker.take(msg.AskQuery)
        worker.disconnect()
        await settle()
        asked = await other.take(msg.AskQuery)
        await other.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        await waiting


async def test_a_suspended_run_answers_from_where_it_was_held() -> None:
    async with World() as world:
        worker = await world.worker()
        await world.start()
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.StartTimer(seq=1, delay=10**6))
        await world.verbs.suspend(vb.SuspendRequest(**TARGET))
        await world.verbs.signal(vb.SignalRequest(**TARGET, name="late"))
        waiting = await ask(world)
        asked = await worker.take(msg.AskQuery)
        assert asked.complete
        await worker.say(msg.QueryAnswer(query=asked.query, result=RESULT))
        assert (await waiting).result == RESULT
