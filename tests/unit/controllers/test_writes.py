"""What a run costs: writes to the cluster and calls of the server, counted one by one.

Ten thousand Workflows are ten thousand times this, so each number here is pinned.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure.protocol import events as ev
from perdure.protocol.verbs import DescribeRequest, StartRequest
from perdure_operator.cluster import WORKFLOWS, ConflictError, Manifest, ObjectRef
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.lanes import Lanes
from perdure_operator.controllers.memories import LatestBodies, Started
from perdure_operator.controllers.workflows.planning import FIRST_STATUS
from perdure_operator.model import FINALIZER
from support.operator_scene import Scene, a_pool, a_workflow, ref

NAME = "order-42"
KEY = Key(WORKFLOWS, ref(NAME))


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool(), a_workflow())
    hear(scene)
    return scene


def hear(scene: Scene, event: str | None = "ADDED") -> Lanes:
    """Tell the operator of the Workflow as it is, and return what it is going to look at."""
    lanes = Lanes()
    Intake(scene.world, lanes).notice_run(WORKFLOWS, event, scene.body(WORKFLOWS, NAME))
    return lanes


async def reconcile(scene: Scene) -> timedelta | None:
    """Look once; return in how long the operator wants to look again soon."""
    return (await scene.reconcilers[WORKFLOWS].reconcile(KEY)).look_soon


def written(scene: Scene) -> list[str]:
    """Return the verbs of the writes since this was last asked."""
    verbs = [write.split()[0] for write in scene.cluster.writes if not write.startswith("add")]
    scene.cluster.writes.clear()
    return verbs


def asked(scene: Scene) -> list[type]:
    """Return what the server was asked since this was last asked."""
    types = [type(call) for call in scene.server.calls]
    scene.server.calls.clear()
    return types


async def test_a_run_that_is_over_quickly_costs_three_writes_and_two_calls(scene: Scene) -> None:
    assert await reconcile(scene) == FIRST_STATUS
    assert written(scene) == ["apply"], "the finalizer, before the start"
    scene.server.run.complete()
    assert await reconcile(scene) is None

    assert written(scene) == ["release", "apply_status"], "the finalizer goes, then how it ended"
    assert asked(scene) == [StartRequest, DescribeRequest]
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"
    assert FINALIZER not in scene.body(WORKFLOWS, NAME)["metadata"].get("finalizers", ())


async def test_a_run_that_lasts_costs_one_write_more(scene: Scene) -> None:
    await reconcile(scene)
    assert await reconcile(scene) is None
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"
    scene.server.run.complete()
    await reconcile(scene)

    assert written(scene) == ["apply", "apply_status", "release", "apply_status"]
    assert asked(scene) == [StartRequest, DescribeRequest, DescribeRequest]


async def test_a_run_that_waits_is_looked_at_without_a_write(scene: Scene) -> None:
    await reconcile(scene)
    await reconcile(scene)
    written(scene)
    for _ in range(3):
        scene.pass_time(hours=1)
        await reconcile(scene)

    assert written(scene) == []


async def test_what_we_wrote_is_not_asked_for_again(scene: Scene) -> None:
    scene.cluster.fail_with["get workflows"] = ConflictError("get", "the API server was asked")
    await reconcile(scene)
    await reconcile(scene)
    scene.server.run.complete()
    await reconcile(scene)

    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"


async def test_a_finished_workflow_is_not_even_looked_at(scene: Scene) -> None:
    await reconcile(scene)
    scene.server.run.complete()
    await reconcile(scene)

    assert len(hear(scene, event=None)) == 0
    assert len(scene.world.roster) == 0
    assert scene.world.latest.take(KEY) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"finalizers": [FINALIZER]}, "it is held"),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "it is being deleted"),
        ({"generation": 2}, "its spec was changed"),
    ],
    ids=["held", "being-deleted", "changed"],
)
async def test_a_finished_workflow_is_looked_at_when_there_is_something_to_do(
    scene: Scene, change: Manifest, why: str
) -> None:
    await reconcile(scene)
    scene.server.run.complete()
    await reconcile(scene)
    scene.body(WORKFLOWS, NAME)["metadata"].update(change)

    assert len(hear(scene, event=None)) == 1, why


@pytest.mark.parametrize(
    "spec",
    [{"ttlSecondsAfterFinished": 60}, {"retries": [{"id": "r1"}]}],
    ids=["time-to-live", "retries"],
)
async def test_what_is_still_to_come_of_a_finished_workflow_is_kept_after_a_restart(
    spec: Manifest,
) -> None:
    scene = Scene()
    scene.apply(a_pool(), a_workflow(**spec))
    await scene.look(WORKFLOWS, NAME)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)

    assert len(hear(scene, event=None)) == 1


async def test_the_end_is_not_written_over_what_somebody_changed_meanwhile(scene: Scene) -> None:
    await reconcile(scene)
    await reconcile(scene)
    scene.server.run.complete()
    # The operator still has the Workflow as it wrote it; its finalizer comes off all the same.
    scene.cluster.edit(WORKFLOWS, KEY.ref, suspend=True)
    with pytest.raises(ConflictError):
        await reconcile(scene)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"

    await reconcile(scene)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"
    assert scene.status(WORKFLOWS, NAME)["observedGeneration"] == 2


async def test_a_status_that_somebody_else_has_written_meanwhile_stays(scene: Scene) -> None:
    await reconcile(scene)
    await reconcile(scene)
    scene.server.run.complete()
    theirs = {**scene.status(WORKFLOWS, NAME), "currentStep": "ship"}
    scene.cluster.set_status(WORKFLOWS, KEY.ref, theirs)
    with pytest.raises(ConflictError):
        await reconcile(scene)
    assert scene.status(WORKFLOWS, NAME) == theirs


async def test_a_start_that_is_refused_is_said_at_once(scene: Scene) -> None:
    scene.server.refusal = ("Invalid", "no such type")
    assert await reconcile(scene) is None

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "InvalidSpec")


async def test_a_start_that_an_operator_forgot_is_asked_for_again_and_is_the_same(
    scene: Scene,
) -> None:
    await reconcile(scene)
    scene.world.roster.remove(KEY)
    assert await reconcile(scene) == FIRST_STATUS
    await reconcile(scene)

    assert asked(scene) == [StartRequest, StartRequest, DescribeRequest]
    assert len(scene.server.runs) == 1


async def test_a_run_of_an_object_of_that_name_before_is_not_taken_for_ours(scene: Scene) -> None:
    scene.world.roster.started(KEY, Started("another", "run-9"))
    assert await reconcile(scene) == FIRST_STATUS
    await reconcile(scene)

    assert asked(scene)[0] is StartRequest
    assert scene.status(WORKFLOWS, NAME)["runId"] == "run-1"


async def test_one_answer_tells_a_run_its_history_and_its_result(scene: Scene) -> None:
    await reconcile(scene)
    scene.server.run.record(ev.SignalReceived(name="go"))
    scene.server.run.complete(b'{"paid": true}')
    await reconcile(scene)

    status = scene.status(WORKFLOWS, NAME)
    assert status["result"] == {"paid": True}
    assert status["checkpoint"]["events"] == status["history"]["events"] == 3
    assert len(status["history"]["tail"]) == 3


def test_what_is_kept_of_our_writes_is_bounded_oldest_out_first() -> None:
    keys = [Key(WORKFLOWS, ObjectRef(namespace="shop", name=f"order-{n}")) for n in range(4)]
    body = {"metadata": {"resourceVersion": "7"}, "spec": {"input": ["x" * 100]}}
    latest = LatestBodies(kept_bytes=3 * 170)
    for key in keys:
        latest.wrote(key, body)

    assert [latest.take(key) for key in keys] == [None, body, body, body]
    assert latest.take(keys[1]) is None
    latest.wrote(keys[0], body)
    assert latest.take(keys[0]) == body, "what was taken has made room"
