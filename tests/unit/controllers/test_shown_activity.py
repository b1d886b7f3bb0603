"""Activities that show what a run scheduled: when they are made, what they say, when they go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.protocol.events import (
    BatchCanceled,
    BatchCompleted,
    BatchFailed,
    BatchItemsClosed,
    Event,
    ItemResult,
    TimerStarted,
    WorkflowTerminated,
)
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.payloads import Payload
from perdure.protocol.placements import Placement
from perdure.protocol.verbs import PendingActivity, PendingBatch, RunStatus, StartRequest
from perdure_operator.cluster import ACTIVITIES, JOBS, WORKFLOWS, InvalidError, Manifest
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.keys import RUNS, key_of
from perdure_operator.controllers.placements.names import job_name, shown_name
from perdure_operator.controllers.workqueue import Schedule, WorkQueue
from perdure_operator.model import WorkerPool
from support.fake_server import START, FakeRun
from support.operator_scene import NAMESPACE, Scene, a_pool, a_workflow, manifest, ref

ORDER = "order-42"
CONTAINER = Placement(container=True, template={"image": "busybox:1"})
OWN_POD = Placement(template={"resources": {"limits": {"memory": "1Gi"}}})


class Stage(Scene):
    """A scene in which the operator hears of Activities as it does from a watch."""

    def __init__(self) -> None:
        super().__init__()
        self.intake = Intake(self.world, WorkQueue(Schedule()))

    def hear(self) -> None:
        for body in self.cluster.all(ACTIVITIES):
            self.intake.notice_run(ACTIVITIES, "MODIFIED", body)

    async def look_at_workflow(self) -> None:
        await self.look(WORKFLOWS, ORDER)
        self.hear()

    async def look_at_shown(self) -> Manifest:
        """Look at the only Activity, and return it as it is then."""
        (body,) = self.cluster.all(ACTIVITIES)
        name = body["metadata"]["name"]
        await self.look(ACTIVITIES, name)
        self.hear()
        return self.cluster.objects.get(("activities", ref(name)), body)


@pytest.fixture
async def stage() -> Stage:
    """Return a stage with a Workflow whose run has been started."""
    stage = Stage()
    stage.apply(a_pool(), a_workflow(ORDER))
    await stage.look(WORKFLOWS, ORDER)
    return stage


def an_open_activity(run: FakeRun, **fields: Any) -> None:
    activity = PendingActivity(
        seq=7, activity_id="a7", activity_type="ship", state="Started", attempt=1,
        scheduled=START, started=START, identity="w1",
    )  # fmt: skip
    run.pending = (*run.pending, msgspec.structs.replace(activity, **fields))


async def test_an_activity_with_a_pod_is_shown_at_once_and_owned_by_its_workflow(
    stage: Stage,
) -> None:
    stage.server.run.place(CONTAINER, seq=3)
    await stage.look_at_workflow()

    (body,) = stage.cluster.all(ACTIVITIES)
    assert body["metadata"]["name"] == shown_name(ORDER, "run-1", 3)
    owner = body["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Workflow", ORDER, True)
    assert body["metadata"]["labels"]["perdure.dev/workflow"] == ORDER
    assert body["spec"]["scheduledBy"] == {"workflowId": ORDER, "runId": "run-1", "seq": 3}
    assert body["spec"]["template"] == {"image": "busybox:1"}
    assert "type" not in body["spec"]


async def test_a_workflow_that_its_run_outlives_does_not_take_the_pods_along() -> None:
    stage = Stage()
    stage.apply(a_pool(), a_workflow(ORDER, deletionPolicy="Orphan"))
    await stage.look(WORKFLOWS, ORDER)
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()

    (body,) = stage.cluster.all(ACTIVITIES)
    assert "ownerReferences" not in body["metadata"]


async def test_what_is_shown_is_not_made_again(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    writes = len(stage.cluster.writes)
    await stage.look_at_workflow()

    assert len(stage.cluster.writes) == writes


async def test_it_starts_no_run_and_runs_its_container(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    body = await stage.look_at_shown()

    assert len(stage.server.asked(StartRequest)) == 1, "the Workflow's"
    (job,) = stage.cluster.all(JOBS)
    assert job["metadata"]["name"] == job_name(body["metadata"]["name"], "run-1", 1, 1)
    assert body["status"]["job"] == job["metadata"]["name"]


async def test_an_activity_of_a_workers_own_pod_has_the_pools_code(stage: Stage) -> None:
    stage.world.pools.put(ref("orders"), WorkerPool.from_manifest(a_pool()))
    stage.server.run.place(OWN_POD)
    await stage.look_at_workflow()
    body = await stage.look_at_shown()

    assert body["spec"]["type"] == "resize"
    (job,) = stage.cluster.all(JOBS)
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["image"] == "shop/orders:1"
    assert worker["resources"] == {"limits": {"memory": "1Gi"}}
    queue = worker["args"].index("--task-queue") + 1
    assert worker["args"][queue] == "pod/run-1/1"
    assert "--once" in worker["args"]
    assert "perdure.dev/pool" not in job["spec"]["template"]["metadata"]["labels"]


async def test_a_quick_activity_is_never_shown(stage: Stage) -> None:
    an_open_activity(stage.server.run)
    plan = await stage.look(WORKFLOWS, ORDER)
    assert stage.cluster.all(ACTIVITIES) == []
    assert plan.again is not None
    assert plan.again.total_seconds() == 2

    stage.server.run.pending = ()
    stage.pass_time(seconds=3)
    await stage.look(WORKFLOWS, ORDER)
    assert stage.cluster.all(ACTIVITIES) == []


async def test_one_that_only_waits_for_a_worker_is_never_shown(stage: Stage) -> None:
    an_open_activity(stage.server.run, state="Scheduled", started=None)
    stage.pass_time(minutes=10)
    plan = await stage.look(WORKFLOWS, ORDER)

    assert stage.cluster.all(ACTIVITIES) == []
    assert plan.again is not None
    assert plan.again.total_seconds() == 3600


async def test_one_that_is_open_for_long_is_shown_and_gone_when_it_has_ended(
    stage: Stage,
) -> None:
    an_open_activity(stage.server.run)
    stage.pass_time(seconds=2)
    await stage.look_at_workflow()
    body = await stage.look_at_shown()
    assert body["spec"]["type"] == "ship"
    assert body["status"]["phase"] == "Running"
    assert body["status"]["worker"] == "w1"
    assert stage.cluster.all(JOBS) == []

    stage.server.run.close_activity(7)
    await stage.look_at_shown()
    assert stage.cluster.all(ACTIVITIES) == []


async def test_one_that_keeps_failing_is_shown(stage: Stage) -> None:
    an_open_activity(stage.server.run, state="BackingOff", started=None, attempt=4)
    stage.pass_time(seconds=2)
    await stage.look_at_workflow()

    assert len(stage.cluster.all(ACTIVITIES)) == 1


async def test_it_says_how_its_container_ended_and_stays(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    stage.server.run.close_activity(1, result=Payload({"encoding": b"json/plain"}, b'"done"'))
    body = await stage.look_at_shown()

    status = body["status"]
    assert (status["phase"], status["result"], status["attempt"]) == ("Succeeded", "done", 1)
    assert stage.cluster.all(JOBS) == []
    assert "finalizers" not in body["metadata"]
    assert not stage.world.shown.of_run("run-1")


async def test_one_that_is_over_goes_in_the_end(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    stage.server.run.close_activity(1)
    await stage.look_at_shown()
    stage.pass_time(days=1)
    await stage.look_at_shown()

    assert stage.cluster.all(ACTIVITIES) == []


async def test_its_end_is_found_however_long_the_history_has_become(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    stage.server.run.close_activity(1, result=Payload({"encoding": b"json/plain"}, b"1"))
    for seq in range(2, 2500):
        stage.server.run.record(TimerStarted(seq=seq, delay=1, fires=START))
    stage.server.run.history_bytes = 10_000_000
    body = await stage.look_at_shown()

    assert body["status"]["phase"] == "Succeeded"


async def test_a_run_that_ended_first_ends_it(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    stage.server.run.pending = ()
    stage.server.run.complete()
    body = await stage.look_at_shown()

    assert body["status"]["phase"] == "Canceled"
    assert stage.cluster.all(JOBS) == []


async def test_deleting_it_ends_the_attempt_and_it_comes_again(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    body = await stage.look_at_shown()
    name = body["metadata"]["name"]
    stage.cluster.ask_to_delete(ACTIVITIES, ref(name))
    await stage.look_at_shown()
    assert not stage.exists(ACTIVITIES, name)
    assert stage.cluster.all(JOBS) == []
    (report,) = stage.server.run.reports
    assert "its Activity was deleted" in report.lost

    stage.intake.notice_run(ACTIVITIES, "DELETED", body)
    await stage.look_at_workflow()
    assert stage.exists(ACTIVITIES, name)


async def test_a_run_that_code_started_has_its_activities_shown_without_an_owner() -> None:
    stage = Stage()
    request = StartRequest(
        namespace=NAMESPACE, workflow_id="of/code", workflow_type="T", task_queue="orders"
    )
    await stage.server.call(request)
    stage.server.run.place(CONTAINER)
    await stage.reconcilers[RUNS].reconcile(
        key_of(RUNS, {"metadata": {"name": "of/code", "namespace": NAMESPACE}})
    )

    (body,) = stage.cluster.all(ACTIVITIES)
    assert "ownerReferences" not in body["metadata"]
    assert body["metadata"]["name"] == shown_name("of/code", "run-1", 1)


async def test_a_template_that_the_api_server_refuses_fails_the_activity(stage: Stage) -> None:
    error = InvalidError("create activities", "template.image: Required value")
    stage.cluster.fail_with["create activities"] = error
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()

    (report,) = stage.server.run.reports
    assert report.failure is not None
    assert "template.image: Required value" in report.failure.message
    assert report.failure.info == ApplicationInfo(type="ContainerFailed", non_retryable=True)


async def test_one_that_a_person_made_is_not_acted_on(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    shows = {"workflowId": ORDER, "runId": "run-1", "seq": 1}
    spec = {"template": {"image": "evil"}, "scheduledBy": shows}
    stage.cluster.add(ACTIVITIES, manifest(ACTIVITIES, "mine", spec))
    await stage.look(ACTIVITIES, "mine")

    assert stage.cluster.all(JOBS) == []
    assert stage.conditions(ACTIVITIES, "mine")["Stalled"] == ("True", "InvalidSpec")


async def test_looking_again_writes_nothing(stage: Stage) -> None:
    stage.server.run.place(CONTAINER)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    writes = len(stage.cluster.writes)
    for _ in range(3):
        await stage.look_at_shown()

    assert len(stage.cluster.writes) == writes


def a_batch(**fields: Any) -> PendingBatch:
    batch = PendingBatch(
        seq=7, activity_id="7", activity_type="resize", total=10_000, scheduled=START
    )
    return msgspec.structs.replace(batch, **fields)


async def test_a_batch_of_ten_thousand_is_one_activity_that_counts(stage: Stage) -> None:
    stage.server.run.batches = (a_batch(),)
    await stage.look_at_workflow()
    body = await stage.look_at_shown()
    assert body["spec"]["type"] == "resize"
    assert body["spec"]["scheduledBy"]["items"] == 10_000
    assert body["status"]["phase"] == "Pending"

    stage.server.run.batches = (a_batch(succeeded=4_000, failed=2, running=50),)
    body = await stage.look_at_shown()
    assert body["status"]["phase"] == "Running"
    assert body["status"]["progress"] == "4002/10000"
    writes = len(stage.cluster.writes)
    stage.server.run.batches = (a_batch(succeeded=4_010, failed=2, running=50),)
    await stage.look_at_shown()
    assert len(stage.cluster.writes) == writes, "less than a hundredth of it is not news"


@pytest.mark.parametrize(
    ("end", "phase", "progress"),
    [
        (BatchCompleted(seq=7, succeeded=9_998, failed=2), "Succeeded", "10000/10000"),
        (
            BatchFailed(seq=7, failure=Failure(message="3 of 2"), succeeded=500, failed=3),
            "Failed",
            "503/10000",
        ),
        (BatchCanceled(seq=7, succeeded=500), "Canceled", "500/10000"),
    ],
    ids=["completed", "failed", "canceled"],
)
async def test_a_batch_that_ended_says_how_and_stays(
    stage: Stage, end: Event, phase: str, progress: str
) -> None:
    stage.server.run.batches = (a_batch(succeeded=5, running=5),)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    stage.server.run.batches = ()
    stage.server.run.record(end)

    body = await stage.look_at_shown()
    assert (body["status"]["phase"], body["status"]["progress"]) == (phase, progress)
    assert body["status"]["itemsRunning"] == 0
    await stage.look_at_workflow()
    assert len(stage.cluster.all(ACTIVITIES)) == 1


async def test_a_batch_whose_run_ended_before_it_says_how_far_it_came(stage: Stage) -> None:
    stage.server.run.batches = (a_batch(succeeded=5, running=5),)
    await stage.look_at_workflow()
    await stage.look_at_shown()
    failed = ItemResult(6, failure=Failure(message="too dark"))
    stage.server.run.batches = ()
    stage.server.run.record(BatchItemsClosed(seq=7, items=(*map(ItemResult, range(6)), failed)))
    stage.server.run.record(BatchItemsClosed(seq=8, items=(ItemResult(0),)))
    stage.server.run.record(WorkflowTerminated())
    stage.server.run.status = RunStatus.TERMINATED

    status = (await stage.look_at_shown())["status"]
    assert (status["phase"], status["progress"]) == ("Canceled", "7/10000")
    assert (status["itemsSucceeded"], status["itemsFailed"], status["itemsRunning"]) == (6, 1, 0)
    assert status["failedIndexes"] == "6"
    assert status["lastFailure"]["message"] == "too dark"
