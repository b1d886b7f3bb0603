"""An Activity's life: what becomes of it at each look."""

from __future__ import annotations

import pytest

from perdure.protocol.events import ActivityStarted
from perdure.protocol.failures import ApplicationInfo, Failure, TimeoutInfo
from perdure.protocol.verbs import CancelRequest, PendingActivity, StartRequest
from perdure_operator.cluster import ACTIVITIES
from support.operator_scene import Scene, a_pool, an_activity, ref

NAME = "resize-1"


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    return scene


async def started(scene: Scene, **spec: object) -> None:
    scene.apply(an_activity(**spec))
    await scene.look(ACTIVITIES, NAME)


def attempt(number: int, *, running: bool, failure: Failure | None = None) -> PendingActivity:
    return PendingActivity(
        seq=1,
        activity_id=NAME,
        activity_type="resize",
        state="Started" if running else "BackingOff",
        attempt=number,
        scheduled=0,
        started=1 if running else None,
        last_failure=failure,
        identity="w1@pod" if running else "",
    )


async def test_an_activity_is_started_as_the_spec_says(scene: Scene) -> None:
    await started(
        scene,
        input=["s3://a"],
        retryPolicy={"maximumAttempts": 5, "initialInterval": "2s"},
        timeouts={"startToClose": "5m", "heartbeat": "30s"},
    )

    (request,) = scene.server.asked(StartRequest)
    assert request.kind == "activity"
    assert request.workflow_id == "activity/resize-1"
    assert request.workflow_type == "resize"
    assert request.task_queue == "orders"
    assert request.input[0].data == b'"s3://a"'
    assert request.activity is not None
    assert request.activity.start_to_close_timeout == 300_000
    assert request.activity.heartbeat_timeout == 30_000
    assert request.activity.retry_policy.maximum_attempts == 5
    assert request.activity.retry_policy.initial_interval == 2000
    assert request.request_id == scene.body(ACTIVITIES, NAME)["metadata"]["uid"]


async def test_an_activity_that_waits_is_pending_and_one_with_a_worker_runs(scene: Scene) -> None:
    await started(scene)
    assert scene.status(ACTIVITIES, NAME)["phase"] == "Pending"

    scene.server.run.pending = (attempt(1, running=True),)
    await scene.look(ACTIVITIES, NAME)
    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["attempt"], status["worker"]) == ("Running", 1, "w1@pod")


async def test_a_failed_attempt_is_said_while_the_next_is_waited_for(scene: Scene) -> None:
    await started(scene)
    failure = Failure(message="disk full", info=ApplicationInfo(type="OSError"))
    scene.server.run.pending = (attempt(2, running=False, failure=failure),)
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == "Pending"
    assert status["attempt"] == 2
    assert status["lastFailure"]["message"] == "disk full"


@pytest.mark.parametrize(
    ("message", "stalled"),
    [
        pytest.param(
            "Activity 'resize' is not registered on this worker; registered are: greet",
            ("True", "TypeNotRegistered"),
            id="a-workers-refusal",
        ),
        pytest.param("there is no such photo", None, id="an-error-of-the-same-name"),
    ],
)
async def test_a_type_that_workers_do_not_know_is_said(
    scene: Scene, message: str, stalled: tuple[str, str] | None
) -> None:
    await started(scene)
    failure = Failure(message=message, info=ApplicationInfo(type="NotFoundError"))
    scene.server.run.pending = (attempt(2, running=False, failure=failure),)
    await scene.look(ACTIVITIES, NAME)

    assert scene.conditions(ACTIVITIES, NAME).get("Stalled") == stalled


async def test_an_activity_that_returned_is_complete(scene: Scene) -> None:
    await started(scene)
    scene.server.run.record(ActivityStarted(seq=1, attempt=3, started=0, identity="w1@pod"))
    scene.server.run.complete(b'"s3://small"')
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["attempt"]) == ("Succeeded", 3)
    assert status["result"] == "s3://small"
    assert scene.conditions(ACTIVITIES, NAME) == {
        "Ready": ("True", "Succeeded"),
        "Complete": ("True", "Succeeded"),
    }
    assert "finalizers" not in scene.body(ACTIVITIES, NAME)["metadata"]


@pytest.mark.parametrize(
    ("failure", "phase", "reason"),
    [
        pytest.param(Failure(message="no"), "Failed", "ExecutionFailed", id="raised"),
        pytest.param(
            Failure(message="late", info=TimeoutInfo()), "TimedOut", "TimedOut", id="timed-out"
        ),
    ],
)
async def test_an_activity_that_failed_for_good_says_why(
    scene: Scene, failure: Failure, phase: str, reason: str
) -> None:
    await started(scene)
    scene.server.run.fail(failure)
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == phase
    assert status["lastFailure"]["message"] == failure.message
    assert scene.conditions(ACTIVITIES, NAME)["Failed"] == ("True", reason)


async def test_an_activity_looked_at_often_is_started_once(scene: Scene) -> None:
    await started(scene)
    writes = len(scene.cluster.writes)
    for _ in range(3):
        await scene.look(ACTIVITIES, NAME)

    assert len(scene.server.runs) == 1
    assert len(scene.cluster.writes) == writes


async def test_a_missing_pool_is_said() -> None:
    scene = Scene()
    await started(scene)

    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "WorkerPoolNotFound")
    assert not scene.server.runs


async def test_a_canceled_activity_is_asked_to_end_once(scene: Scene) -> None:
    await started(scene)
    scene.cluster.edit(ACTIVITIES, ref(NAME), cancel=True)
    await scene.look(ACTIVITIES, NAME)
    await scene.look(ACTIVITIES, NAME)
    assert len(scene.server.asked(CancelRequest)) == 1

    scene.server.run.cancel()
    await scene.look(ACTIVITIES, NAME)
    assert scene.status(ACTIVITIES, NAME)["phase"] == "Canceled"


async def test_an_activity_applied_as_canceled_never_runs(scene: Scene) -> None:
    await started(scene, cancel=True)

    assert not scene.server.runs
    assert scene.status(ACTIVITIES, NAME)["phase"] == "Canceled"


async def test_a_deleted_activity_is_canceled_and_waited_for_a_while(scene: Scene) -> None:
    await started(scene)
    scene.cluster.ask_to_delete(ACTIVITIES, ref(NAME))
    await scene.look(ACTIVITIES, NAME)
    assert scene.server.run.cancel_requested
    assert scene.conditions(ACTIVITIES, NAME)["Reconciling"] == ("True", "Deleting")

    scene.pass_time(seconds=31)
    await scene.look(ACTIVITIES, NAME)
    assert not scene.exists(ACTIVITIES, NAME)


async def test_a_deleted_activity_does_not_wait_for_ever_for_a_server(scene: Scene) -> None:
    await started(scene)
    scene.server.is_away = True
    scene.cluster.ask_to_delete(ACTIVITIES, ref(NAME))
    assert (await scene.look(ACTIVITIES, NAME)).blocked

    scene.pass_time(minutes=11)
    await scene.look(ACTIVITIES, NAME)
    assert not scene.exists(ACTIVITIES, NAME)


async def test_an_id_in_use_and_a_wrong_request_are_told_apart(scene: Scene) -> None:
    scene.server.refusal = ("AlreadyStarted", "running already")
    scene.apply(an_activity())
    assert (await scene.look(ACTIVITIES, NAME)).blocked
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "WorkflowIdInUse")

    scene.server.refusal = ("Invalid", "a timeout is missing")
    assert not (await scene.look(ACTIVITIES, NAME)).blocked
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "InvalidSpec")


async def test_a_server_that_is_away_and_a_lost_store_are_said(scene: Scene) -> None:
    scene.server.is_away = True
    scene.apply(an_activity())
    assert (await scene.look(ACTIVITIES, NAME)).blocked
    assert scene.conditions(ACTIVITIES, NAME)["Reconciling"] == ("True", "ServerUnavailable")

    scene.server.is_away = False
    await scene.look(ACTIVITIES, NAME)
    del scene.body(ACTIVITIES, NAME)["status"]["checkpoint"]
    scene.server.runs.clear()
    await scene.look(ACTIVITIES, NAME)
    assert scene.conditions(ACTIVITIES, NAME)["Stalled"] == ("True", "StateLost")


async def test_an_activity_is_deleted_when_its_time_to_live_has_passed(scene: Scene) -> None:
    await started(scene, ttlSecondsAfterFinished=10)
    scene.server.run.complete()
    await scene.look(ACTIVITIES, NAME)
    assert scene.exists(ACTIVITIES, NAME)

    scene.pass_time(seconds=11)
    await scene.look(ACTIVITIES, NAME)
    assert not scene.exists(ACTIVITIES, NAME)


async def test_a_change_after_the_end_is_observed_by_the_conditions_too(scene: Scene) -> None:
    await started(scene)
    scene.server.run.complete()
    await scene.look(ACTIVITIES, NAME)
    scene.cluster.edit(ACTIVITIES, ref(NAME), ttlSecondsAfterFinished=60)
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert status["observedGeneration"] == 2
    assert {each["observedGeneration"] for each in status["conditions"]} == {2}
