"""What becomes of the run when its Workflow is deleted."""

from __future__ import annotations

import pytest

from perdure.protocol.verbs import CancelRequest, RunStatus, TerminateRequest
from perdure_operator.cluster import WORKER_POOLS, WORKFLOWS
from perdure_operator.model import FINALIZER
from support.operator_scene import Scene, a_pool, a_workflow, ref

NAME = "order-42"


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    return scene


async def deleted(scene: Scene, **spec: object) -> None:
    """Start a Workflow, delete it, and have the operator look once."""
    scene.apply(a_workflow(**spec))
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    if scene.exists(WORKFLOWS, NAME):
        await scene.look(WORKFLOWS, NAME)


async def test_a_deleted_workflow_cancels_its_run_and_waits_for_its_end(scene: Scene) -> None:
    await deleted(scene)

    assert scene.server.run.cancel_requested
    assert scene.exists(WORKFLOWS, NAME)
    assert scene.conditions(WORKFLOWS, NAME)["Reconciling"] == ("True", "Deleting")

    scene.server.run.cancel()
    await scene.look(WORKFLOWS, NAME)
    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_cancellation_is_asked_for_once(scene: Scene) -> None:
    await deleted(scene)
    await scene.look(WORKFLOWS, NAME)

    (request,) = scene.server.asked(CancelRequest)
    assert "deleted" in request.reason


async def test_a_workflow_that_came_with_our_finalizer_is_let_go_as_any_other(scene: Scene) -> None:
    # Out of a backup, say, or by an admission policy.
    workflow = a_workflow()
    workflow["metadata"]["finalizers"] = ["example.com/theirs", FINALIZER]
    scene.apply(workflow)
    await scene.look(WORKFLOWS, NAME)
    assert not any(write.startswith("apply workflows") for write in scene.cluster.writes)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)
    scene.server.run.cancel()
    await scene.look(WORKFLOWS, NAME)

    assert scene.body(WORKFLOWS, NAME)["metadata"]["finalizers"] == ["example.com/theirs"]


async def test_a_suspended_run_is_let_go_on_to_clean_up(scene: Scene) -> None:
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.edit(WORKFLOWS, ref(NAME), suspend=True)
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)

    assert scene.server.run.cancel_requested
    assert scene.server.run.status is RunStatus.RUNNING


async def test_a_run_that_cleans_up_for_long_is_let_go_and_never_cut_short(scene: Scene) -> None:
    await deleted(scene)
    plan = await scene.look(WORKFLOWS, NAME)
    assert plan.again is not None
    assert plan.again.total_seconds() == 30

    scene.pass_time(seconds=31)
    await scene.look(WORKFLOWS, NAME)
    assert not scene.exists(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.RUNNING
    assert not scene.server.asked(TerminateRequest)


async def test_a_run_that_loses_its_own_workers_is_terminated_when_it_does_not_end() -> None:
    scene = Scene()
    await deleted(scene, worker={"image": "i", "modules": ["m"]})
    scene.pass_time(minutes=9)
    await scene.look(WORKFLOWS, NAME)
    assert scene.exists(WORKFLOWS, NAME)
    assert scene.cluster.all(WORKER_POOLS), "its workers may still clean up"

    scene.pass_time(minutes=2)
    await scene.look(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.TERMINATED
    assert not scene.exists(WORKFLOWS, NAME)
    assert not scene.cluster.all(WORKER_POOLS)


async def test_terminate_ends_the_run_at_once(scene: Scene) -> None:
    await deleted(scene, deletionPolicy="Terminate")

    assert scene.server.run.status is RunStatus.TERMINATED
    assert not scene.exists(WORKFLOWS, NAME)


async def test_an_orphan_goes_on_without_its_workflow(scene: Scene) -> None:
    await deleted(scene, deletionPolicy="Orphan")

    assert scene.server.run.status is RunStatus.RUNNING
    assert not scene.server.run.cancel_requested
    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_policy_changed_to_orphan_during_the_deletion_lets_go(scene: Scene) -> None:
    await deleted(scene)
    scene.cluster.edit(WORKFLOWS, ref(NAME), deletionPolicy="Orphan")
    await scene.look(WORKFLOWS, NAME)

    assert not scene.exists(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.RUNNING


async def test_a_workflow_that_is_over_goes_at_once(scene: Scene) -> None:
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))

    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_run_the_server_does_not_know_holds_up_nothing(scene: Scene) -> None:
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.server.runs.clear()
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)

    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_server_that_is_away_is_waited_for_but_not_for_ever(scene: Scene) -> None:
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.server.is_away = True
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    plan = await scene.look(WORKFLOWS, NAME)
    assert plan.blocked
    assert scene.exists(WORKFLOWS, NAME)

    scene.pass_time(minutes=11)
    await scene.look(WORKFLOWS, NAME)
    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_run_nobody_wrote_down_is_found_and_ended(scene: Scene) -> None:
    scene.apply(a_workflow(deletionPolicy="Terminate"))
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.set_status(WORKFLOWS, ref(NAME), {"phase": "Pending"})
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)

    assert scene.server.run.status is RunStatus.TERMINATED
    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_run_of_somebody_elses_is_left_alone(scene: Scene) -> None:
    scene.apply(a_workflow("first", workflowId="order"))
    await scene.look(WORKFLOWS, "first")
    await deleted(scene, workflowId="order", deletionPolicy="Terminate")

    assert scene.server.run.status is RunStatus.RUNNING
    assert not scene.exists(WORKFLOWS, NAME)


async def test_a_workflow_deleted_before_its_first_look_starts_nothing(scene: Scene) -> None:
    body = a_workflow()
    body["metadata"]["finalizers"] = ["somebody/else"]
    scene.apply(body)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await scene.look(WORKFLOWS, NAME)

    assert not scene.server.runs
    assert "status" not in scene.body(WORKFLOWS, NAME)


async def test_why_a_deletion_waits_for_the_server_is_said_beside_what_is_known_of_the_run(
    scene: Scene,
) -> None:
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, NAME)
    scene.server.is_away = True
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    known = scene.status(WORKFLOWS, NAME)
    await scene.look(WORKFLOWS, NAME)

    assert scene.conditions(WORKFLOWS, NAME)["Reconciling"] == ("True", "Deleting")
    assert "is let go at 00:10:00Z" in scene.message(WORKFLOWS, NAME, "Reconciling")
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"
    assert scene.status(WORKFLOWS, NAME)["runId"] == known["runId"]
    writes = len(scene.cluster.writes)
    scene.pass_time(minutes=1)
    await scene.look(WORKFLOWS, NAME)
    assert scene.cluster.writes[writes:] == []
