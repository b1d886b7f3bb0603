"""The tasks that look at objects: whatever goes wrong with one never stops the others."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from perdure_operator.cluster import (
    WORKFLOWS,
    ConflictError,
    NotFoundError,
    NotLeadingError,
    ObjectKind,
    UnavailableError,
)
from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.metrics import Metrics
from perdure_operator.controllers.reconciling import Dispatcher
from perdure_operator.controllers.server import ServerUnavailableError
from perdure_operator.controllers.workqueue import Backoff, Schedule, WorkQueue
from support.operator_scene import Scene, a_pool, a_workflow, ref

pytestmark = pytest.mark.looptime

KEY = Key(WORKFLOWS, ref("order-42"))
OTHER = Key(WORKFLOWS, ref("order-43"))


class Scripted:
    """A reconciler whose looks end as told; then they go well."""

    def __init__(self, *ends: Plan | Exception) -> None:
        self.ends = list(ends)
        self.looks: list[tuple[float, Key]] = []

    async def reconcile(self, key: Key) -> Plan:
        self.looks.append((asyncio.get_running_loop().time(), key))
        end = self.ends.pop(0) if self.ends and key == KEY else Plan()
        if isinstance(end, Exception):
            raise end
        return end

    def times(self, key: Key = KEY) -> list[int]:
        return [round(time) for time, looked in self.looks if looked == key]


class Shift:
    """A dispatcher with one task, for some seconds."""

    def __init__(self, *ends: Plan | Exception) -> None:
        self.reconciler = Scripted(*ends)
        self.metrics = Metrics()
        schedule: Schedule[Key] = Schedule(spacing=0.0, backoff=Backoff(first=1.0, most=8.0))
        self.queue = WorkQueue(schedule)
        table: dict[ObjectKind, Scripted] = {WORKFLOWS: self.reconciler}
        self.dispatcher = Dispatcher(self.queue, table, self.metrics)

    async def work(self, seconds: float) -> None:
        self.queue.add(KEY)
        self.queue.add(OTHER)
        task = asyncio.create_task(self.dispatcher.work())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def counted(self, result: str) -> float:
        prefix = f'perdure_operator_reconciles_total{{kind="Workflow",result="{result}"}} '
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        pytest.param(UnavailableError("get x", "503"), "error", id="api-server-away"),
        pytest.param(ServerUnavailableError("Unavailable", "away"), "error", id="server-away"),
        pytest.param(ConflictError("apply x", "modified"), "conflict", id="changed-meanwhile"),
        pytest.param(NotLeadingError("apply x", "not sent"), "not-leading", id="no-mandate-now"),
        pytest.param(ValueError("a bug"), "bug", id="bug"),
    ],
)
async def test_what_fails_is_tried_again_later_each_time_and_the_others_go_on(
    error: Exception, counted: str
) -> None:
    shift = Shift(error, error, error)
    await shift.work(60)

    assert shift.reconciler.times() == [0, 1, 3, 7]
    assert shift.reconciler.times(OTHER) == [0]
    assert shift.counted(counted) == 3
    assert shift.counted("done") == 2


async def test_a_bug_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    shift = Shift(ValueError("a bug"))
    with caplog.at_level(logging.ERROR):
        await shift.work(0.5)

    (record,) = caplog.records
    assert "order-42" in record.getMessage()
    assert record.exc_info


async def test_an_object_deleted_meanwhile_is_done_with() -> None:
    shift = Shift(NotFoundError("apply_status x", "not found"))
    await shift.work(60)

    assert shift.reconciler.times() == [0]
    assert shift.counted("gone") == 1


async def test_an_object_that_is_blocked_is_tried_again_later_each_time() -> None:
    shift = Shift(Plan(blocked="waits"), Plan(blocked="waits"))
    await shift.work(60)

    assert shift.reconciler.times() == [0, 1, 3]


async def test_an_object_is_looked_at_again_when_its_plan_says_so() -> None:
    shift = Shift(Plan(again=timedelta(seconds=30)))
    await shift.work(100)

    assert shift.reconciler.times() == [0, 30]


async def test_a_status_written_by_others_meanwhile_is_not_overwritten() -> None:
    scene = Scene()
    scene.apply(a_pool(), a_workflow())
    await scene.look(WORKFLOWS, "order-42")
    stale = await scene.cluster.get(WORKFLOWS, KEY.ref)
    assert stale is not None
    scene.cluster.set_status(WORKFLOWS, KEY.ref, {**stale["status"], "currentStep": "newer"})
    scene.world.latest.put(KEY, stale)
    scene.server.run.current_step = "older"

    with pytest.raises(ConflictError):
        await scene.look(WORKFLOWS, "order-42")
    assert scene.status(WORKFLOWS, "order-42")["currentStep"] == "newer"


async def test_metrics_tell_calls_and_the_queue() -> None:
    shift = Shift()
    shift.metrics.api_call("get", "workflows", 200, 0.25)
    shift.metrics.server_call("start", "AlreadyStarted")
    with shift.metrics.acting(lambda: 3, lambda: 7, lambda: 1.5):
        text = shift.metrics.render().decode()

    assert 'api_requests_total{code="200",kind="workflows",verb="get"} 1.0' in text
    assert 'server_requests_total{code="AlreadyStarted",verb="start"} 1.0' in text
    assert "workqueue_depth 3.0" in text
    assert "workqueue_scheduled 7.0" in text
    assert "workqueue_oldest_seconds 1.5" in text
    assert 'api_request_duration_seconds_sum{verb="get"} 0.25' in text


async def test_a_look_is_timed() -> None:
    shift = Shift()
    await shift.work(seconds=1)
    text = shift.metrics.render().decode()

    assert 'reconcile_duration_seconds_count{kind="Workflow"} 2.0' in text


def test_the_age_of_what_is_followed_begins_anew_with_each_answer() -> None:
    now = 100.0
    metrics = Metrics(clock=lambda: now)
    with metrics.acting(lambda: 0, lambda: 0, lambda: 0):
        now = 130.0
        metrics.heard("queues")
        now = 135.0
        text = metrics.render().decode()

    assert 'follow_age_seconds{what="runs"} 35.0' in text
    assert 'follow_age_seconds{what="queues"} 5.0' in text


def test_an_operator_that_stands_by_is_never_behind() -> None:
    now = 100.0
    metrics = Metrics(clock=lambda: now)
    now = 400.0
    before = metrics.render().decode()
    with metrics.acting(lambda: 3, lambda: 7, lambda: 90):
        pass
    now = 900.0
    after = metrics.render().decode()

    for text in (before, after):
        assert 'follow_age_seconds{what="runs"} 0.0' in text
    for name in ("depth", "scheduled", "oldest_seconds"):
        assert f"workqueue_{name} 0.0" in after


def test_what_has_never_happened_is_counted_as_none() -> None:
    text = Metrics().render().decode()

    # Prometheus knows no increase of a series that was not there before.
    assert 'reconciles_total{kind="WorkerPool",result="bug"} 0.0' in text
    assert 'notices_total{result="failed"} 0.0' in text
