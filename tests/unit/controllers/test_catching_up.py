"""The store is put back to an older backup: what becomes of runs that were ahead of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.verbs import RunStatus
from perdure_operator.cluster import ACTIVITIES, WORKFLOWS
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.keys import Key
from support.hosts import ByHand, World
from support.operator_scene import Scene, a_pool, a_workflow, an_activity, ref
from support.real_server import RealServer

pytestmark = pytest.mark.looptime

NAME = "order-42"
HELLO = {"namespace": "shop", "task_queue": "orders"}
CHARGE = cmd.ScheduleActivity(
    seq=1, activity_id="1", activity_type="charge", start_to_close_timeout=60_000
)


@dataclass
class Stage:
    """An operator, the server that it knew, and one with an older backup of its store."""

    scene: Scene
    server: RealServer
    old: World
    new: World

    async def exported(self, workflow_id: str = NAME) -> vb.ImportRequest:
        target = {"namespace": "shop", "workflow_id": workflow_id}
        described = await self.old.verbs.describe(vb.DescribeRequest(**target))
        page = await self.old.verbs.history(vb.HistoryRequest(**target, run_id=described.run_id))
        return vb.ImportRequest(**target, run_id=described.run_id, events=page.events, watched=True)

    async def put_back(self, events: int, workflow_id: str = NAME) -> vb.ImportRequest:
        """Have the operator find a store in which the run has only so many events."""
        request = await self.exported(workflow_id)
        await self.new.verbs.import_(replace(request, events=request.events[:events]))
        self.server.world = self.new
        return request

    async def described(self, workflow_id: str = NAME) -> vb.RunDescription:
        request = vb.DescribeRequest(namespace="shop", workflow_id=workflow_id)
        return await self.new.verbs.describe(request)

    def status(self) -> dict[str, Any]:
        return self.scene.status(WORKFLOWS, NAME)

    def stalled(self) -> str:
        assert self.scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "StateBehind")
        return self.scene.message(WORKFLOWS, NAME, "Stalled")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    scene = Scene()
    async with World() as old, World() as new:
        server = RealServer(old)
        object.__setattr__(scene.world, "server", server)
        object.__setattr__(scene.world, "applier", Applier(scene.cluster, server))
        scene.apply(a_pool())
        yield Stage(scene, server, old, new)


async def charge(world: World, *, then: cmd.Command | None = None) -> ByHand:
    """Have a worker charge, and then end the run if that is wanted."""
    worker = await world.worker(**HELLO)
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, CHARGE)
    attempt = (await worker.take(msg.ActivityTask)).attempt
    await worker.say(msg.ActivityReport(attempt=attempt))
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, *([then] if then else []))
    return worker


@pytest.fixture
async def charged(stage: Stage) -> Stage:
    """The order is charged, and its Workflow says so."""
    stage.scene.apply(a_workflow())
    await stage.scene.look(WORKFLOWS, NAME)
    await charge(stage.old)
    await stage.scene.look(WORKFLOWS, NAME)
    return stage


async def test_the_run_is_brought_forward_to_what_the_status_tells_of(charged: Stage) -> None:
    before = charged.status()
    request = await charged.put_back(3)
    await charged.scene.look(WORKFLOWS, NAME)

    assert await charged.new.history(request.run_id) == list(request.events)
    assert charged.status() == before
    worker = await charged.new.worker("w2", **HELLO)
    assert not await worker.has(msg.ActivityTask), "charged again"


async def test_what_has_ended_is_not_done_again(stage: Stage) -> None:
    stage.scene.apply(a_workflow())
    await stage.scene.look(WORKFLOWS, NAME)
    await charge(stage.old, then=cmd.CompleteWorkflow())
    await stage.scene.look(WORKFLOWS, NAME)
    before = stage.status()
    assert before["phase"] == "Succeeded"
    await stage.put_back(3)

    stage.scene.world.roster.suspect(Key(WORKFLOWS, ref(NAME)))
    await stage.scene.look(WORKFLOWS, NAME)
    assert stage.status() == before
    assert (await stage.described()).status is RunStatus.COMPLETED


async def test_an_activity_that_has_ended_is_not_done_again(stage: Stage) -> None:
    stage.scene.apply(an_activity(type="charge"))
    await stage.scene.look(ACTIVITIES, "resize-1")
    worker = await stage.old.worker(**HELLO)
    await worker.say(msg.ActivityReport(attempt=(await worker.take(msg.ActivityTask)).attempt))
    await stage.scene.look(ACTIVITIES, "resize-1")
    before = stage.scene.status(ACTIVITIES, "resize-1")
    assert before["phase"] == "Succeeded"
    await stage.put_back(2, "activity/resize-1")

    stage.scene.world.roster.suspect(Key(ACTIVITIES, ref("resize-1")))
    await stage.scene.look(ACTIVITIES, "resize-1")
    assert stage.scene.status(ACTIVITIES, "resize-1") == before
    assert (await stage.described("activity/resize-1")).status is RunStatus.COMPLETED


async def went_another_way(stage: Stage) -> None:
    await stage.put_back(3)
    await stage.new.verbs.signal(vb.SignalRequest(namespace="shop", workflow_id=NAME, name="hurry"))
    await stage.scene.look(WORKFLOWS, NAME)


async def test_a_run_that_went_another_way_is_held_and_said(charged: Stage) -> None:
    before = charged.status()
    await went_another_way(charged)

    message = charged.stalled()
    assert f"the store has 5 events of run {before['runId']}" in message
    assert f"and {before['history']['events']} were recorded" in message
    assert "it went on in another way since then" in message
    assert "perdure resume order-42 -n shop" in message
    assert (await charged.described()).status is RunStatus.SUSPENDED
    after = charged.status()
    assert after["phase"] == "Suspended"
    kept = ("history", "checkpoint", "startTime", "runId")
    assert [after[each] for each in kept] == [before[each] for each in kept]
    worker = await charged.new.worker("w2", **HELLO)
    assert not await worker.has(msg.ActivityTask)
    assert not await worker.has(msg.WorkflowTask)


async def test_it_is_held_once_and_at_rest_then(charged: Stage) -> None:
    await went_another_way(charged)
    events, writes = (await charged.described()).events, list(charged.scene.cluster.writes)
    await charged.scene.look(WORKFLOWS, NAME)
    assert (await charged.described()).events == events
    assert charged.scene.cluster.writes == writes


async def test_who_resumes_it_has_it_go_on_from_there(charged: Stage) -> None:
    await went_another_way(charged)
    await charged.new.verbs.resume(
        vb.ResumeRequest(namespace="shop", workflow_id=NAME, identity="ann")
    )
    await charged.scene.look(WORKFLOWS, NAME)
    described = await charged.described()
    assert described.status is RunStatus.RUNNING
    assert charged.status()["history"]["events"] == described.events
    assert "Stalled" not in charged.scene.conditions(WORKFLOWS, NAME)


async def test_a_run_without_a_checkpoint_is_held_and_said(charged: Stage) -> None:
    charged.status().pop("checkpoint")
    await charged.put_back(3)
    await charged.scene.look(WORKFLOWS, NAME)
    assert "its history was too long for a checkpoint" in charged.stalled()
    assert (await charged.described()).status is RunStatus.SUSPENDED


async def test_a_newer_backup_lets_it_go_on(charged: Stage) -> None:
    before = charged.status()
    await went_another_way(charged)
    charged.server.world = charged.old
    await charged.scene.look(WORKFLOWS, NAME)
    after = charged.status()
    assert after["history"] == before["history"]
    assert after["phase"] == "Running"
    assert "Stalled" not in charged.scene.conditions(WORKFLOWS, NAME)


async def test_an_activity_that_went_another_way_is_said(stage: Stage) -> None:
    stage.scene.apply(an_activity(type="charge"))
    await stage.scene.look(ACTIVITIES, "resize-1")
    status = stage.scene.status(ACTIVITIES, "resize-1")
    status["checkpoint"] = {**status["checkpoint"], "events": 9}
    await stage.scene.look(ACTIVITIES, "resize-1")
    assert stage.scene.conditions(ACTIVITIES, "resize-1")["Stalled"] == ("True", "StateBehind")
    message = stage.scene.message(ACTIVITIES, "resize-1", "Stalled")
    assert "what was done since may be done again" in message
    assert stage.scene.status(ACTIVITIES, "resize-1")["checkpoint"]["events"] == 9


async def test_a_suspension_of_somebody_else_is_not_taken_for_the_operators(
    charged: Stage,
) -> None:
    target = {"namespace": "shop", "workflow_id": NAME}
    await charged.put_back(3)
    await charged.new.verbs.suspend(vb.SuspendRequest(**target, identity="ann"))
    await charged.new.verbs.resume(vb.ResumeRequest(**target, identity="ann"))
    await charged.scene.look(WORKFLOWS, NAME)
    described = await charged.described()
    assert described.status is RunStatus.SUSPENDED
    last = (await charged.new.history(described.run_id))[-1].event
    assert isinstance(last, ev.Suspended)
    assert last.identity == "perdure-operator"
