"""An Activity that is a batch: what is asked for, and what its status says while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.events import (
    BatchCompleted,
    BatchFailed,
    BatchItemsClosed,
    ItemResult,
    WorkflowFailed,
    WorkflowTerminated,
)
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.verbs import (
    CancelRequest,
    DescribeRequest,
    PendingBatch,
    RunStatus,
    StartRequest,
)
from perdure_operator.cluster import ACTIVITIES
from perdure_operator.controllers.keys import Key
from support.operator_scene import Scene, a_pool, an_activity, ref

NAME = "resize-1"
DONE = ItemResult(0)
FAILED = ItemResult(1, failure=Failure(message="disk full", info=ApplicationInfo(type="OSError")))
ITEMS = [["a"], ["b", 1], []]


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    return scene


async def started(scene: Scene, **spec: object) -> None:
    scene.apply(an_activity(**{"items": ITEMS, **spec}))
    await scene.look(ACTIVITIES, NAME)


def so_far(total: int = 3, **fields: Any) -> tuple[PendingBatch, ...]:
    return (
        PendingBatch(
            seq=1, activity_id=NAME, activity_type="resize", total=total, scheduled=0, **fields
        ),
    )


def items(status: dict[str, Any]) -> dict[str, Any]:
    """Return what a status says of the batch."""
    return {name: value for name, value in status.items() if name.startswith(("items", "progr"))}


async def test_a_batch_is_started_as_the_spec_says(scene: Scene) -> None:
    await started(scene, parallelism=2, toleratedFailures=1, timeouts={"startToClose": "5m"})

    (request,) = scene.server.asked(StartRequest)
    assert (request.kind, request.input) == ("activity", ())
    assert request.activity is not None
    sent = [[each.data for each in arguments] for arguments in request.activity.items]
    assert sent == [[b'"a"'], [b'"b"', b"1"], []]
    assert (request.activity.parallelism, request.activity.tolerated_failures) == (2, 1)
    assert request.activity.start_to_close_timeout == 300_000


async def test_bounds_that_are_not_given_are_left_to_the_server(scene: Scene) -> None:
    await started(scene)

    (request,) = scene.server.asked(StartRequest)
    assert request.activity is not None
    assert (request.activity.parallelism, request.activity.tolerated_failures) == (0, 0)


async def test_a_batch_waits_then_runs_and_says_how_far_it_is(scene: Scene) -> None:
    await started(scene)
    scene.server.run.batches = so_far()
    await scene.look(ACTIVITIES, NAME)
    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == "Pending"
    assert items(status) == {
        "itemsTotal": 3, "itemsSucceeded": 0, "itemsFailed": 0, "itemsRunning": 0,
        "progress": "0/3",
    }  # fmt: skip

    scene.server.run.batches = so_far(running=2)
    await scene.look(ACTIVITIES, NAME)
    assert scene.status(ACTIVITIES, NAME)["itemsRunning"] == 2

    boom = Failure(message="disk full", info=ApplicationInfo(type="OSError"))
    scene.server.run.batches = so_far(
        succeeded=1, failed=1, failed_indexes="2", running=1, last_failure=boom
    )
    await scene.look(ACTIVITIES, NAME)
    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == "Running"
    assert scene.conditions(ACTIVITIES, NAME)["Ready"] == ("False", "Running")
    assert (status["progress"], status["itemsRunning"]) == ("2/3", 1)
    assert (status["itemsSucceeded"], status["itemsFailed"]) == (1, 1)
    assert status["lastFailure"]["message"] == "disk full"
    assert status["failedIndexes"] == "2"


async def test_progress_is_written_in_steps_of_a_hundredth(scene: Scene) -> None:
    await started(scene, items=[[number] for number in range(1000)])
    written = []
    for succeeded in range(1, 41):
        scene.server.run.batches = so_far(1000, succeeded=succeeded, running=5)
        await scene.look(ACTIVITIES, NAME)
        written.append(scene.status(ACTIVITIES, NAME)["progress"])
    assert list(dict.fromkeys(written)) == [f"{n}/1000" for n in (1, 10, 20, 30, 40)]


async def test_a_batch_that_ended_says_how_many_did_how(scene: Scene) -> None:
    await started(scene, toleratedFailures=1)
    scene.server.run.record(BatchItemsClosed(seq=1, items=(DONE, FAILED)))
    scene.server.run.record(BatchCompleted(seq=1, succeeded=2, failed=1, failed_indexes="1"))
    scene.server.run.complete()
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == "Succeeded"
    assert items(status) == {
        "itemsTotal": 3, "itemsSucceeded": 2, "itemsFailed": 1, "itemsRunning": 0,
        "progress": "3/3",
    }  # fmt: skip
    assert scene.conditions(ACTIVITIES, NAME)["Complete"] == ("True", "Succeeded")
    said = scene.message(ACTIVITIES, NAME, "Complete")
    assert said == "2 succeeded, 1 failed"
    assert status["failedIndexes"] == "1"
    assert status["lastFailure"]["message"] == "disk full"


async def test_a_batch_that_was_terminated_says_how_far_it_came(scene: Scene) -> None:
    await started(scene)
    scene.server.run.batches = so_far(succeeded=1, running=2)
    await scene.look(ACTIVITIES, NAME)
    run = scene.server.run
    run.batches = ()
    run.record(BatchItemsClosed(seq=1, items=(DONE, FAILED)))
    run.status = RunStatus.TERMINATED
    run.record(WorkflowTerminated())
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert status["phase"] == "Canceled"
    assert items(status) == {
        "itemsTotal": 3, "itemsSucceeded": 1, "itemsFailed": 1, "itemsRunning": 0,
        "progress": "2/3",
    }  # fmt: skip
    assert status["failedIndexes"] == "1"


async def test_a_batch_with_too_many_failures_has_failed_and_says_why(scene: Scene) -> None:
    await started(scene)
    first = Failure(message="disk full", info=ApplicationInfo(type="OSError"))
    failure = Failure(message="1 of 3 items failed", cause=first)
    scene.server.run.record(BatchFailed(seq=1, failure=failure, succeeded=1, failed=1))
    scene.server.run.fail(failure)
    await scene.look(ACTIVITIES, NAME)

    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["progress"], status["itemsFailed"]) == ("Failed", "2/3", 1)
    assert "1 of 3 items failed" in scene.message(ACTIVITIES, NAME, "Failed")
    assert "disk full" in status["lastFailure"]["cause"]


async def test_a_batch_that_somebody_retried_is_followed(scene: Scene) -> None:
    await started(scene)
    failure = Failure(message="2 of 3 items failed")
    scene.server.run.record(
        BatchFailed(seq=1, failure=failure, succeeded=1, failed=2, failed_indexes="1-2")
    )
    scene.server.run.fail(failure)
    await scene.look(ACTIVITIES, NAME)
    assert scene.status(ACTIVITIES, NAME)["failedIndexes"] == "1-2"

    again = scene.server.follow(scene.server.run, "run-2")
    again.batches = so_far(succeeded=1, running=2)
    scene.world.roster.suspect(Key(ACTIVITIES, ref(NAME)))
    await scene.look(ACTIVITIES, NAME)
    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["runId"], status["progress"]) == ("Running", "run-2", "1/3")
    assert not {"failedIndexes", "completionTime"} & status.keys()

    again.batches = ()
    again.record(BatchCompleted(seq=1, succeeded=3))
    again.complete()
    await scene.look(ACTIVITIES, NAME)
    status = scene.status(ACTIVITIES, NAME)
    assert (status["phase"], status["progress"]) == ("Succeeded", "3/3")


async def test_a_canceled_batch_is_asked_to_end_once(scene: Scene) -> None:
    await started(scene)
    scene.server.run.batches = so_far(succeeded=1, running=1)
    scene.cluster.edit(ACTIVITIES, ref(NAME), cancel=True)
    await scene.look(ACTIVITIES, NAME)
    await scene.look(ACTIVITIES, NAME)
    assert len(scene.server.asked(CancelRequest)) == 1


async def test_a_look_at_a_batch_of_large_results_reads_its_last_events_only(scene: Scene) -> None:
    await started(scene)
    run = scene.server.run
    for _ in range(30):
        run.record(WorkflowFailed(failure=Failure()))  # stands for any
    run.record(BatchCompleted(seq=1, succeeded=3))
    run.complete()
    run.history_bytes = 32 * 1024 * 1024
    await scene.look(ACTIVITIES, NAME)

    asked = scene.server.asked(DescribeRequest)[-1]
    told = await scene.server.call(asked)
    assert len(told.history) == 3
    assert scene.status(ACTIVITIES, NAME)["progress"] == "3/3"
