"""Following the server's long polls, and what they put into the work queue; in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from perdure.protocol.verbs import (
    QueueDescription,
    QueuesRequest,
    QueuesResponse,
    RunChange,
    RunStatus,
    WatchRequest,
    WatchResponse,
    WorkerDescription,
)
from perdure_operator.cluster import ACTIVITIES, WORKER_POOLS, WORKFLOWS
from perdure_operator.controllers.following import FIRST_STRAY_DELAY, Follower
from perdure_operator.controllers.keys import RUNS, Key
from perdure_operator.controllers.server import error_for
from perdure_operator.controllers.workqueue import Schedule, WorkQueue
from perdure_operator.model import WorkerPool
from support.operator_scene import NAMESPACE, Scene, a_pool, ref

pytestmark = pytest.mark.looptime

WORKFLOW = Key(WORKFLOWS, ref("order-42"))
POOL = Key(WORKER_POOLS, ref("orders"))


class Script:
    """A server whose answers are given in advance; then it keeps every poll."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def call(self, request: Any) -> Any:
        self.asked.append(request)
        if not self.answers:
            await asyncio.sleep(3600)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


AWAY = error_for("Unavailable", "no server answers")


def change(status: RunStatus = RunStatus.RUNNING, workflow_id: str = "order-42") -> RunChange:
    return RunChange(
        namespace=NAMESPACE, workflow_id=workflow_id, run_id="r1", status=status, events=2
    )


class Stage:
    """A follower on a scripted server."""

    def __init__(self, *answers: Any) -> None:
        scene = Scene()
        self.script = Script(*answers)
        self.world = scene.world
        object.__setattr__(self.world, "server", self.script)
        self.world.roster.put(WORKFLOW, "order-42")
        self.world.pools.put(POOL.ref, WorkerPool.from_manifest(a_pool()))
        self.queue: WorkQueue[Key] = WorkQueue(Schedule(spacing=1.0))
        self.heard: list[str] = []
        self.follower = Follower(self.world, self.queue, self.heard.append)

    async def run(self, what: str, seconds: float = 60.0) -> None:
        task = asyncio.create_task(getattr(self.follower, what)())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_run_that_went_on_has_its_workflow_looked_at() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(),)))
    await stage.run("follow_runs")

    assert await stage.queue.take() == WORKFLOW


async def test_it_is_told_whenever_the_server_has_answered() -> None:
    stage = Stage(WatchResponse(cursor=5), WatchResponse(cursor=9))
    await stage.run("follow_runs")

    assert stage.heard == ["runs", "runs"]


async def test_the_cursor_goes_along() -> None:
    stage = Stage(WatchResponse(cursor=5), WatchResponse(cursor=9))
    await stage.run("follow_runs")

    assert [request.cursor for request in stage.script.asked] == [0, 5, 9]
    assert all(isinstance(request, WatchRequest) for request in stage.script.asked)


async def test_closed_runs_that_belong_to_no_open_object_are_passed_over() -> None:
    gone = change(RunStatus.COMPLETED, workflow_id="long-gone")
    stage = Stage(WatchResponse(cursor=5, changes=(gone,)))
    await stage.run("follow_runs")

    assert len(stage.queue) == 0


async def test_an_open_run_that_code_started_is_looked_at_once_the_objects_are_known() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(workflow_id="of-code"),)))
    await stage.run("follow_runs", seconds=FIRST_STRAY_DELAY / 2)
    assert await stage.queue.take() == Key(WORKFLOWS, ref("of-code")), "it may be a retry"
    assert stage.queue.ready == 0

    await asyncio.sleep(FIRST_STRAY_DELAY / 2)
    assert await stage.queue.take() == Key(RUNS, ref("of-code"))


async def test_an_activity_that_is_shown_is_looked_at_whatever_its_workflow_shows() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(),)))
    shown = Key(ACTIVITIES, ref("order-42-1-abc"))
    stage.world.shown.put(shown, "r1", 1)
    stage.world.roster.saw(WORKFLOW, 2)
    await stage.run("follow_runs")

    assert await stage.queue.take() == shown
    assert len(stage.queue) == 0


async def test_an_open_run_of_an_object_that_is_over_may_be_its_retry() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(workflow_id="retried"),)))
    await stage.run("follow_runs")

    key = Key(WORKFLOWS, ref("retried"))
    assert await stage.queue.take() == key
    assert stage.world.roster.is_suspect(key)


async def test_an_open_run_of_an_activity_that_is_over_may_be_its_retry() -> None:
    retried = msgspec.structs.replace(change(workflow_id="activity/resize-1"), kind="activity")
    of_code = msgspec.structs.replace(change(workflow_id="resize-2"), kind="activity")
    stage = Stage(WatchResponse(cursor=5, changes=(retried, of_code)))
    await stage.run("follow_runs", seconds=FIRST_STRAY_DELAY / 2)

    key = Key(ACTIVITIES, ref("resize-1"))
    assert await stage.queue.take() == key
    assert stage.world.roster.is_suspect(key)
    assert stage.queue.ready == 0, "no Activity has started the other"


async def test_what_the_status_tells_already_is_no_news() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(),)))
    stage.world.roster.saw(WORKFLOW, 2)
    await stage.run("follow_runs")
    assert len(stage.queue) == 0

    stage = Stage(WatchResponse(cursor=5, changes=(change(),)))
    stage.world.roster.saw(WORKFLOW, 1)
    await stage.run("follow_runs")
    assert len(stage.queue) == 1


async def test_the_start_that_we_asked_for_is_no_news() -> None:
    start = msgspec.structs.replace(change(), events=1)
    stage = Stage(WatchResponse(cursor=5, changes=(start,)))
    await stage.run("follow_runs")

    assert len(stage.queue) == 0


async def test_an_attempt_of_an_activity_is_news_though_it_is_no_event() -> None:
    attempt = msgspec.structs.replace(change(), kind="activity")
    stage = Stage(WatchResponse(cursor=5, changes=(attempt,)))
    stage.world.roster.saw(WORKFLOW, 2)
    await stage.run("follow_runs")

    assert len(stage.queue) == 1


async def test_the_end_of_a_run_is_not_made_to_wait() -> None:
    stage = Stage(WatchResponse(cursor=5, changes=(change(RunStatus.COMPLETED),)))
    stage.queue.add(WORKFLOW)
    await stage.queue.take()
    stage.queue.finish(WORKFLOW)
    await stage.run("follow_runs", seconds=0.1)

    assert stage.queue.ready == 1


async def test_after_an_outage_every_open_run_is_told_of_again() -> None:
    stage = Stage(WatchResponse(cursor=5), AWAY, AWAY, WatchResponse(cursor=3))
    await stage.run("follow_runs")

    assert [request.cursor for request in stage.script.asked] == [0, 5, 0, 0, 3]


async def test_after_an_outage_runs_that_a_lost_store_does_not_tell_of_are_looked_at() -> None:
    stage = Stage(WatchResponse(cursor=5), AWAY, WatchResponse(cursor=0))
    await stage.run("follow_runs", seconds=2)

    assert stage.script.asked[2] == WatchRequest(cursor=0, wait=0), "no news is waited for"
    assert await stage.queue.take() == WORKFLOW


async def test_an_outage_is_not_hammered() -> None:
    stage = Stage(*[AWAY] * 100)
    await stage.run("follow_runs", seconds=60)

    assert len(stage.script.asked) < 20


def told(version: int = 1, **facts: Any) -> QueuesResponse:
    description = QueueDescription(namespace=NAMESPACE, task_queue="orders", **facts)
    return QueuesResponse(version=version, queues=(description,) if facts else ())


async def test_work_has_its_pool_looked_at() -> None:
    stage = Stage(told(backlog=3))
    await stage.run("follow_queues")

    assert await stage.queue.take() == POOL
    known = stage.world.queues.find(NAMESPACE, "orders")
    assert known is not None
    assert known.backlog == 3


async def test_the_first_answer_has_every_pool_looked_at() -> None:
    stage = Stage(told())
    await stage.run("follow_queues")

    assert await stage.queue.take() == POOL


async def test_a_pool_from_zero_is_not_made_to_wait() -> None:
    stage = Stage(told(), told(2, backlog=1))
    stage.queue.add(POOL)
    await stage.queue.take()
    stage.queue.finish(POOL)
    await stage.run("follow_queues", seconds=0.5)

    assert stage.queue.ready == 1


async def test_a_busy_pool_is_looked_at_once_a_second() -> None:
    worker = WorkerDescription(worker_id="w", identity="w")
    answers = [told(number, backlog=number, workers=(worker,)) for number in range(1, 40)]
    stage = Stage(*answers)
    looks = 0

    async def work() -> None:
        nonlocal looks
        while True:
            key = await stage.queue.take()
            looks += 1
            stage.queue.finish(key)

    task = asyncio.create_task(work())
    await stage.run("follow_queues", seconds=4.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert looks <= 5


async def test_while_the_server_is_away_nothing_is_known_of_queues() -> None:
    stage = Stage(told(backlog=3), *[AWAY] * 50)
    await stage.run("follow_queues", seconds=5.0)

    assert stage.world.queues.find(NAMESPACE, "orders") is None
    assert stage.script.asked[-1] == QueuesRequest(version=0, wait=20_000)


async def test_another_store_is_noticed_though_no_poll_failed() -> None:
    stage = Stage(
        WatchResponse(cursor=7, store="one"),
        WatchResponse(cursor=7, store="two"),
        WatchResponse(cursor=1, store="two"),
    )
    await stage.run("follow_runs")

    assert await stage.queue.take() == WORKFLOW
    assert [asked.cursor for asked in stage.script.asked] == [0, 7, 0, 1]
