"""``spec.retries``: a Workflow that is over goes on, once for each id."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.retries import Effect, RetryPoint
from perdure.protocol.verbs import RetryRequest, SignalRequest
from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.keys import Key
from perdure_operator.model import FINALIZER
from support.operator_scene import NAMESPACE, Scene, a_pool, a_workflow, ref

NAME = "order-42"
KEY = Key(WORKFLOWS, ref(NAME))
BROKEN = Failure(message="no stock", info=ApplicationInfo(type="OutOfStock"))
A1, A2 = {"id": "a1"}, {"id": "a2"}


@pytest.fixture
async def scene() -> Scene:
    """A Workflow whose run has failed."""
    scene = Scene()
    scene.apply(a_pool())
    await begin(scene)
    scene.server.run.fail(BROKEN)
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"
    return scene


async def begin(scene: Scene, **spec: Any) -> None:
    scene.apply(a_workflow(**spec))
    await scene.look(WORKFLOWS, NAME)


async def edit(scene: Scene, **spec: Any) -> None:
    scene.cluster.edit(WORKFLOWS, ref(NAME), **spec)
    await scene.look(WORKFLOWS, NAME)


def records(scene: Scene) -> dict[str, str]:
    return {each["id"]: each["outcome"] for each in scene.status(WORKFLOWS, NAME)["retries"]}


async def test_a_new_id_retries_the_run_and_the_workflow_is_running_again(scene: Scene) -> None:
    await edit(scene, retries=[A1], ttlSecondsAfterFinished=0)

    uid = scene.body(WORKFLOWS, NAME)["metadata"]["uid"]
    (request,) = scene.server.asked(RetryRequest)
    assert (request.run_id, request.point) == ("run-1", RetryPoint.FAILED_STEP)
    assert request.request_id == f"{uid}/a1"
    status = scene.status(WORKFLOWS, NAME)
    assert (status["phase"], status["runId"]) == ("Running", f"retry-{uid}/a1")
    assert {"failure", "completionTime", "result"}.isdisjoint(status)
    assert scene.conditions(WORKFLOWS, NAME) == {
        "Ready": ("False", "Running"),
        "Reconciling": ("True", "Running"),
        "Retried": ("True", "RunRetried"),
    }
    assert status["retries"] == [
        {
            "id": "a1",
            "outcome": "Retried",
            "runId": status["runId"],
            "message": "goes on from event 2 of run run-1",
        }
    ]
    assert FINALIZER in scene.body(WORKFLOWS, NAME)["metadata"]["finalizers"]
    assert scene.world.roster.find(NAMESPACE, NAME) == KEY


async def test_a_retry_is_done_once_however_often_it_is_looked_at(scene: Scene) -> None:
    await edit(scene, retries=[A1])
    scene.server.runs[-1].fail(BROKEN)
    await scene.look(WORKFLOWS, NAME)
    writes = len(scene.cluster.writes)
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.runs) == 2
    assert len(scene.cluster.writes) == writes
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"
    assert scene.conditions(WORKFLOWS, NAME)["Failed"][0] == "True"
    assert FINALIZER not in scene.body(WORKFLOWS, NAME)["metadata"].get("finalizers", [])

    await edit(scene, retries=[A1, A2])
    assert records(scene) == {"a1": "Retried", "a2": "Retried"}
    scene.server.runs[-1].complete(b'"done"')
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"
    assert scene.status(WORKFLOWS, NAME)["result"] == "done"


async def test_an_operator_that_died_after_asking_finds_the_same_run(scene: Scene) -> None:
    await edit(scene, retries=[A1])
    made = scene.status(WORKFLOWS, NAME)["runId"]
    # As if the status had never been written, and the new run had failed meanwhile.
    body = scene.body(WORKFLOWS, NAME)
    body["status"] |= {"phase": "Failed", "runId": "run-1", "retries": []}
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.runs) == 2
    assert scene.status(WORKFLOWS, NAME)["runId"] == made
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_what_the_earlier_run_did_afterwards_is_said(scene: Scene) -> None:
    scene.server.effects = tuple(Effect(event=n, name=f"refund{n}") for n in range(7))
    await edit(scene, retries=[A1])

    message = scene.message(WORKFLOWS, NAME, "Retried")
    assert "which afterwards also did refund0, refund1" in message
    assert message.endswith("refund4 and 2 more")


async def test_a_run_that_succeeded_is_not_retried_and_stays_what_it_is() -> None:
    scene = Scene()
    scene.apply(a_pool())
    await begin(scene)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    await edit(scene, retries=[A1])

    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"
    assert records(scene) == {"a1": "Refused"}
    assert scene.conditions(WORKFLOWS, NAME)["Retried"] == ("False", "RetryRefused")
    assert scene.conditions(WORKFLOWS, NAME)["Complete"][0] == "True"
    assert "cannot be retried" in scene.message(WORKFLOWS, NAME, "Retried")
    assert len(scene.server.runs) == 1


async def test_an_id_that_is_there_before_the_end_is_not_needed() -> None:
    scene = Scene()
    scene.apply(a_pool())
    await begin(scene, retries=[A1])
    assert records(scene) == {"a1": "NotNeeded"}
    await edit(scene, retries=[A1, A2])
    assert records(scene) == {"a1": "NotNeeded", "a2": "NotNeeded"}
    assert "Retried" not in scene.conditions(WORKFLOWS, NAME)
    scene.server.run.fail(BROKEN)
    await scene.look(WORKFLOWS, NAME)

    assert scene.server.asked(RetryRequest) == []
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"


async def test_from_the_start_all_signals_are_sent_again() -> None:
    scene = Scene()
    scene.apply(a_pool())
    approve = {"id": "s1", "name": "approve"}
    await begin(scene, signals=[approve])
    scene.server.run.fail(BROKEN)
    await scene.look(WORKFLOWS, NAME)
    await edit(scene, retries=[{"id": "a1", "from": "Start"}])

    assert [each.run_id for each in scene.server.asked(SignalRequest)] == [
        "run-1",
        scene.status(WORKFLOWS, NAME)["runId"],
    ]
    assert scene.status(WORKFLOWS, NAME)["deliveredSignals"] == ["s1"]
    await scene.look(WORKFLOWS, NAME)
    assert len(scene.server.asked(SignalRequest)) == 2


async def test_from_the_failed_step_no_signal_is_sent_twice() -> None:
    scene = Scene()
    scene.apply(a_pool())
    await begin(scene, signals=[{"id": "s1", "name": "approve"}])
    scene.server.run.fail(BROKEN)
    await scene.look(WORKFLOWS, NAME)
    await edit(scene, retries=[A1])

    assert len(scene.server.asked(SignalRequest)) == 1


@pytest.mark.parametrize("field", ["cancel", "suspend"])
async def test_what_would_stop_the_new_run_at_once_holds_the_retry(
    scene: Scene, field: str
) -> None:
    await edit(scene, retries=[A1], **{field: True})
    assert scene.server.asked(RetryRequest) == []
    assert scene.conditions(WORKFLOWS, NAME)["Retried"] == ("False", "RetryHeld")
    assert f"spec.{field} is set" in scene.message(WORKFLOWS, NAME, "Retried")
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"

    await edit(scene, **{field: False})
    assert records(scene) == {"a1": "Retried"}


async def test_while_the_server_is_away_the_retry_waits(scene: Scene) -> None:
    scene.server.is_away = True
    scene.cluster.edit(WORKFLOWS, ref(NAME), retries=[A1])
    plan = await scene.look(WORKFLOWS, NAME)
    assert "no server answers" in plan.blocked
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"

    scene.server.is_away = False
    await scene.look(WORKFLOWS, NAME)
    assert records(scene) == {"a1": "Retried"}


async def test_a_workflow_that_never_had_a_run_cannot_be_retried() -> None:
    scene = Scene()
    scene.apply(a_pool())
    await begin(scene, cancel=True)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Canceled"
    await edit(scene, cancel=False, retries=[A1])

    assert scene.status(WORKFLOWS, NAME)["phase"] == "Canceled"
    assert records(scene) == {"a1": "Refused"}
    assert "before a run was started" in scene.message(WORKFLOWS, NAME, "Retried")


async def test_a_run_that_the_store_lost_is_rebuilt_first(scene: Scene) -> None:
    scene.server.runs.clear()
    body = scene.body(WORKFLOWS, NAME)
    imported: list[Any] = []
    real = scene.server._import

    def closed(request: Any) -> Any:
        answer = real(request)
        imported.append(request)
        scene.server.runs[-1].status = scene.server.runs[-1].status.FAILED
        return answer

    scene.server._import = closed  # type: ignore[method-assign]
    assert body["status"]["checkpoint"]
    await edit(scene, retries=[A1])

    assert [each.run_id for each in imported] == ["run-1"]
    assert records(scene) == {"a1": "Retried"}


async def test_a_run_that_is_lost_for_good_cannot_be_retried(scene: Scene) -> None:
    scene.server.runs.clear()
    del scene.body(WORKFLOWS, NAME)["status"]["checkpoint"]
    await edit(scene, retries=[A1])

    assert records(scene) == {"a1": "Refused"}
    assert "has no run run-1 any more" in scene.message(WORKFLOWS, NAME, "Retried")
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"


# --- retried by somebody else --------------------------------------------------------------------


async def test_a_run_that_somebody_else_retried_is_followed(scene: Scene) -> None:
    made = scene.server.follow(scene.server.run, "run-2")
    scene.world.roster.suspect(KEY)
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert (status["phase"], status["runId"]) == ("Running", "run-2")
    assert not scene.world.roster.is_suspect(KEY)
    made.complete()
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Succeeded"


async def test_a_retry_goes_on_from_what_somebody_else_retried_before(scene: Scene) -> None:
    scene.server.follow(scene.server.run, "run-2").fail(BROKEN)
    await edit(scene, retries=[A1])

    (request,) = scene.server.asked(RetryRequest)
    assert request.run_id == "run-2"
    assert records(scene) == {"a1": "Retried"}


async def test_somebody_else_may_be_faster_at_the_last_moment(scene: Scene) -> None:
    real = scene.server._retry

    def too_late(request: RetryRequest) -> Any:
        if len(scene.server.runs) == 1:
            scene.server.follow(scene.server.run, "run-2")
        return real(request)

    scene.server._retry = too_late  # type: ignore[method-assign]
    await edit(scene, retries=[A1])

    assert records(scene) == {"a1": "NotNeeded"}
    assert scene.status(WORKFLOWS, NAME)["runId"] == "run-2"


async def test_a_suspicion_that_is_wrong_changes_nothing(scene: Scene) -> None:
    writes = len(scene.cluster.writes)
    scene.world.roster.suspect(KEY)
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.cluster.writes) == writes
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Failed"
