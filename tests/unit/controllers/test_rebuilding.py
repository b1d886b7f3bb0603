"""The store is lost: what becomes of Workflows whose runs were in it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import zstandard

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol.verbs import ImportRequest, ImportResponse, RunStatus, StartRequest
from perdure_operator.cluster import ACTIVITIES, WORKFLOWS
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.histories import MAX_UNPACKED_BYTES
from support.hosts import World
from support.operator_scene import Scene, a_pool, a_workflow, an_activity, ref
from support.real_server import RealServer

NAME = "order-42"


@pytest.fixture
async def scene() -> Scene:
    """A Workflow that runs, has a signal and was looked at."""
    scene = Scene()
    scene.apply(a_pool(), a_workflow(signals=[{"id": "a1", "name": "approve"}]))
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["checkpoint"]["events"] == 2
    return scene


def lose_store(scene: Scene) -> None:
    scene.server.runs.clear()
    scene.server.calls.clear()


def edit_status(scene: Scene, **fields: Any) -> None:
    status = scene.body(WORKFLOWS, NAME)["status"]
    status.update(fields)


def says_lost(scene: Scene) -> str:
    assert scene.conditions(WORKFLOWS, NAME) == {
        "Ready": ("False", "StateLost"),
        "Stalled": ("True", "StateLost"),
    }
    return scene.message(WORKFLOWS, NAME, "Stalled")


# --- activities --------------------------------------------------------------------------------


async def test_an_activity_is_rebuilt_from_its_checkpoint_and_not_started_anew() -> None:
    scene = Scene()
    scene.apply(a_pool(), an_activity())
    await scene.look(ACTIVITIES, "resize-1")
    before = scene.server.run
    lose_store(scene)
    await scene.look(ACTIVITIES, "resize-1")

    (request,) = scene.server.asked(ImportRequest)
    assert (request.run_id, request.events) == (before.run_id, tuple(before.events))
    assert request.workflow_id == "activity/resize-1"
    assert not scene.server.asked(StartRequest)


async def test_an_activity_without_a_checkpoint_is_said_to_be_lost() -> None:
    scene = Scene()
    scene.apply(a_pool(), an_activity())
    await scene.look(ACTIVITIES, "resize-1")
    scene.body(ACTIVITIES, "resize-1")["status"].pop("checkpoint")
    lose_store(scene)
    await scene.look(ACTIVITIES, "resize-1")

    assert not scene.server.calls or not scene.server.asked(StartRequest)
    message = scene.message(ACTIVITIES, "resize-1", "Stalled")
    assert "its history was too long for a checkpoint" in message
    assert "delete the Activity and apply it again" in message


# --- complete ----------------------------------------------------------------------------------


async def test_a_run_with_a_complete_checkpoint_is_imported_and_goes_on(scene: Scene) -> None:
    before = scene.server.run
    status = scene.status(WORKFLOWS, NAME)
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)

    (request,) = scene.server.asked(ImportRequest)
    assert request.run_id == before.run_id
    assert request.events == tuple(before.events)
    assert f"sha256:{request.digest}" == status["history"]["digest"]
    assert request.watched
    assert scene.status(WORKFLOWS, NAME) == status
    assert not scene.server.asked(StartRequest)
    assert scene.server.run.signals == [], "the signal is in the history and not sent again"

    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"


async def test_it_is_imported_once(scene: Scene) -> None:
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.asked(ImportRequest)) == 1


async def test_what_the_spec_wants_meanwhile_is_told_afterwards(scene: Scene) -> None:
    scene.cluster.edit(WORKFLOWS, ref(NAME), cancel=True)
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)

    assert scene.server.run.cancel_requested


async def test_a_finished_workflow_and_one_that_is_deleted_are_left_alone(scene: Scene) -> None:
    lose_store(scene)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)
    assert not scene.exists(WORKFLOWS, NAME)

    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)
    assert scene.server.calls == []


async def test_while_the_server_is_away_nothing_is_done(scene: Scene) -> None:
    status = scene.status(WORKFLOWS, NAME)
    lose_store(scene)
    scene.server.is_away = True

    assert (await scene.look(WORKFLOWS, NAME)).blocked
    assert scene.status(WORKFLOWS, NAME) == status
    assert not scene.server.calls


# --- not complete ------------------------------------------------------------------------------


def packed(data: bytes) -> str:
    return base64.b64encode(zstandard.ZstdCompressor().compress(data)).decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"data": "!"}, "cannot be read", id="no-base64"),
        pytest.param({"data": "AAAA"}, "cannot be read", id="not-compressed"),
        pytest.param({"data": packed(b"\xc1")}, "cannot be read", id="no-events"),
        pytest.param({"data": packed(b"\x90")}, "has 0 of 2 events", id="empty"),
        pytest.param(
            {"data": packed(bytes(MAX_UNPACKED_BYTES + 1))}, "larger than any", id="a-bomb"
        ),
        pytest.param({"encoding": "lz4"}, "its encoding is 'lz4'", id="of-a-later-version"),
    ],
)
async def test_a_checkpoint_that_cannot_be_read_is_said_and_nothing_is_started_anew(
    scene: Scene, change: dict[str, str], words: str
) -> None:
    edit_status(scene, checkpoint={**scene.status(WORKFLOWS, NAME)["checkpoint"], **change})
    lose_store(scene)
    plan = await scene.look(WORKFLOWS, NAME)

    assert words in says_lost(scene)
    assert plan.again is not None
    assert not scene.server.asked(StartRequest)
    assert not scene.server.asked(ImportRequest)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_without_a_checkpoint_a_lost_run_is_said(scene: Scene) -> None:
    scene.server.run.history_bytes = 10**6
    await scene.look(WORKFLOWS, NAME)
    lose_store(scene)
    scene.body(WORKFLOWS, NAME)["status"].pop("checkpoint", None)
    await scene.look(WORKFLOWS, NAME)

    assert "its history was too long for a checkpoint" in says_lost(scene)
    assert not scene.server.runs


async def test_a_checkpoint_that_lacks_events_rebuilds_nothing(scene: Scene) -> None:
    history = {**scene.status(WORKFLOWS, NAME)["history"], "events": 9}
    edit_status(scene, history=history)
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)

    assert "its checkpoint has 2 of 9 events" in says_lost(scene)


@pytest.mark.parametrize("which", ["runId", "uid"])
async def test_the_checkpoint_of_another_run_rebuilds_nothing(scene: Scene, which: str) -> None:
    if which == "runId":
        edit_status(scene, runId="run-9")
    else:
        scene.body(WORKFLOWS, NAME)["metadata"]["uid"] = "another"
    lose_store(scene)
    await scene.look(WORKFLOWS, NAME)

    assert "its checkpoint is that of another run" in says_lost(scene)


@pytest.mark.parametrize("code", ["Invalid", "NotFound", "TooLarge", "AlreadyStarted"])
async def test_an_import_that_is_refused_is_said(scene: Scene, code: str) -> None:
    lose_store(scene)
    scene.server.refusal = (code, "not this one")
    await scene.look(WORKFLOWS, NAME)

    assert "does not take its checkpoint: not this one" in says_lost(scene)
    assert not scene.server.runs

    scene.server.refusal = None
    await scene.look(WORKFLOWS, NAME)
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.RUNNING


async def test_a_run_that_does_not_come_back_is_not_imported_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_store(scene)
    answer = ImportResponse(run_id="r1", imported=False)
    monkeypatch.setattr(scene.server, "_import", lambda _request: answer)
    plan = await scene.look(WORKFLOWS, NAME)

    assert "has no run all the same" in says_lost(scene)
    assert not plan.blocked


async def test_an_object_that_cannot_be_read_keeps_what_its_status_tells(scene: Scene) -> None:
    before = dict(scene.status(WORKFLOWS, NAME))
    scene.cluster.edit(WORKFLOWS, ref(NAME), deletionPolicy="Forget")
    await scene.look(WORKFLOWS, NAME)
    after = scene.status(WORKFLOWS, NAME)
    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "InvalidSpec")
    kept = before.keys() - {"conditions", "observedGeneration"}
    assert {"runId", "checkpoint", "history", "phase", "deliveredSignals"} <= kept
    assert {each: after[each] for each in kept} == {each: before[each] for each in kept}
    writes = list(scene.cluster.writes)
    await scene.look(WORKFLOWS, NAME)
    assert scene.cluster.writes == writes


# --- with the real server ----------------------------------------------------------------------


@pytest.mark.looptime
async def test_what_the_status_holds_is_enough_for_another_server_to_go_on() -> None:
    scene, hello = Scene(), {"namespace": "shop", "task_queue": "orders"}
    async with World() as old, World() as new:
        server = RealServer(old)
        object.__setattr__(scene.world, "server", server)
        object.__setattr__(scene.world, "applier", Applier(scene.cluster, server))
        scene.apply(a_pool(), a_workflow())
        await scene.look(WORKFLOWS, NAME)
        worker = await old.worker(**hello)
        task = await worker.take(msg.WorkflowTask)
        charge = cmd.ScheduleActivity(
            seq=1, activity_id="1", activity_type="charge", start_to_close_timeout=60_000
        )
        await worker.progress(task, charge)
        attempt = (await worker.take(msg.ActivityTask)).attempt
        await worker.say(msg.ActivityReport(attempt=attempt))
        await scene.look(WORKFLOWS, NAME)
        run_id = scene.status(WORKFLOWS, NAME)["runId"]

        server.world = new
        await scene.look(WORKFLOWS, NAME)
        assert await new.history(run_id) == await old.history(run_id)
        worker = await new.worker("w2", **hello)
        task = await worker.take(msg.WorkflowTask)
        assert ev.ActivityCompleted(seq=1) in [each.event for each in task.events]
        assert not await worker.has(msg.ActivityTask), "it was charged already"
        await worker.progress(task, cmd.CompleteWorkflow())
        await scene.look(WORKFLOWS, NAME)
        assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"
