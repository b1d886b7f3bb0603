"""A Workflow's life, from first sight to its time to live: what becomes of it at each look."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure.protocol import events as ev
from perdure.protocol.failures import ActivityInfo, ApplicationInfo, Failure
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import CancelRequest, RunStatus, SignalRequest, StartRequest
from perdure_operator.cluster import WORKER_POOLS, WORKFLOWS, ForbiddenError
from perdure_operator.controllers.reconciling import MAX_ROUNDS
from perdure_operator.model import FINALIZER
from support.operator_scene import NAMESPACE, Scene, a_pool, a_workflow, ref

NAME = "order-42"


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    return scene


async def started(scene: Scene, **spec: object) -> None:
    scene.apply(a_workflow(**spec))
    await scene.look(WORKFLOWS, NAME)


# --- starting ----------------------------------------------------------------------------------


async def test_a_new_workflow_costs_two_writes_to_the_cluster(scene: Scene) -> None:
    await started(scene)

    writes = [write for write in scene.cluster.writes if write.startswith("apply")]
    assert writes == [
        f"apply workflows {NAMESPACE}/{NAME}",
        f"apply_status workflows {NAMESPACE}/{NAME}",
    ]


async def test_a_new_workflow_starts_its_run_with_what_the_spec_says(scene: Scene) -> None:
    await started(
        scene,
        input=[{"orderId": "42"}, None],
        timeouts={"execution": "30d"},
        memo={"team": "shop"},
    )

    (request,) = scene.server.asked(StartRequest)
    assert request.namespace == NAMESPACE
    assert request.workflow_id == NAME
    assert request.workflow_type == "Order"
    assert request.task_queue == "orders"
    assert [payload.data for payload in request.input] == [b'{"orderId":"42"}', b"null"]
    assert {payload.metadata["encoding"] for payload in request.input} == {b"json/plain"}
    assert request.execution_timeout == 30 * 24 * 3600 * 1000
    assert request.memo["team"].data == b'"shop"'
    assert request.request_id == scene.body(WORKFLOWS, NAME)["metadata"]["uid"]
    assert request.watched


async def test_a_started_workflow_is_running_and_reconciling(scene: Scene) -> None:
    await started(scene)

    status = scene.status(WORKFLOWS, NAME)
    assert status["phase"] == "Running"
    assert status["runId"] == "run-1"
    assert status["observedGeneration"] == 1
    assert scene.conditions(WORKFLOWS, NAME) == {
        "Ready": ("False", "Running"),
        "Reconciling": ("True", "Running"),
    }


async def test_a_workflow_looked_at_often_starts_one_run(scene: Scene) -> None:
    await started(scene)
    for _ in range(5):
        await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.runs) == 1


async def test_a_run_started_before_a_crash_is_found_again_not_started_anew(scene: Scene) -> None:
    scene.apply(a_workflow())
    scene.cluster.fail_with["apply_status workflows"] = ForbiddenError("apply_status", "no")
    with pytest.raises(ForbiddenError):
        await scene.look(WORKFLOWS, NAME)
    del scene.cluster.fail_with["apply_status workflows"]
    await scene.look(WORKFLOWS, NAME)
    # The operator dies between the start and the status that says so.
    scene.cluster.set_status(WORKFLOWS, ref(NAME), {"phase": "Pending"})
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.runs) == 1
    assert scene.status(WORKFLOWS, NAME)["runId"] == "run-1"


async def test_a_run_nobody_wrote_down_is_canceled_and_not_said_to_have_never_run(
    scene: Scene,
) -> None:
    await started(scene)
    scene.cluster.set_status(WORKFLOWS, ref(NAME), {"phase": "Pending"})
    scene.cluster.edit(WORKFLOWS, ref(NAME), cancel=True)
    await scene.look(WORKFLOWS, NAME)

    assert scene.server.run.cancel_requested
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_a_workflow_of_the_same_name_after_a_deletion_is_another_run(scene: Scene) -> None:
    await started(scene)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.ask_to_delete(WORKFLOWS, ref(NAME))
    await started(scene)

    assert [run.status for run in scene.server.runs] == [RunStatus.COMPLETED, RunStatus.RUNNING]


async def test_an_id_that_is_taken_stalls_the_workflow_and_is_tried_again(scene: Scene) -> None:
    scene.apply(a_workflow("first", workflowId="order"))
    await scene.look(WORKFLOWS, "first")
    scene.apply(a_workflow(workflowId="order"))
    plan = await scene.look(WORKFLOWS, NAME)

    assert plan.blocked
    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "WorkflowIdInUse")
    assert "running already" in scene.message(WORKFLOWS, NAME, "Stalled")

    writes = len(scene.cluster.writes)
    await scene.look(WORKFLOWS, NAME)
    assert len(scene.cluster.writes) == writes, "the same refusal is not written again"

    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)


async def test_a_start_that_the_server_refuses_stalls_the_workflow(scene: Scene) -> None:
    scene.server.refusal = ("TooLarge", "input: value 1 takes 3 MB, the limit is 2 MB")
    scene.apply(a_workflow())
    plan = await scene.look(WORKFLOWS, NAME)

    assert not plan.blocked, "asking again cannot help"
    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "InvalidSpec")
    assert "the limit is 2 MB" in scene.message(WORKFLOWS, NAME, "Stalled")


async def test_a_missing_pool_is_said_and_the_run_starts_once_it_is_there() -> None:
    scene = Scene()
    await started(scene)

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "WorkerPoolNotFound")
    assert "'orders'" in scene.message(WORKFLOWS, NAME, "Stalled")
    assert not scene.server.runs

    scene.apply(a_pool(taskQueue="express"))
    await scene.look(WORKFLOWS, NAME)
    assert scene.server.run.request.task_queue == "express"
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)


async def test_a_server_that_is_away_is_said_and_the_start_comes_later(scene: Scene) -> None:
    scene.server.is_away = True
    scene.apply(a_workflow())
    plan = await scene.look(WORKFLOWS, NAME)

    assert plan.blocked
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Pending"
    assert scene.conditions(WORKFLOWS, NAME)["Reconciling"] == ("True", "ServerUnavailable")

    scene.server.is_away = False
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_a_server_that_goes_away_changes_nothing_of_a_running_workflow(scene: Scene) -> None:
    await started(scene)
    before = scene.body(WORKFLOWS, NAME)
    scene.server.is_away = True
    plan = await scene.look(WORKFLOWS, NAME)

    assert plan.blocked
    assert scene.body(WORKFLOWS, NAME) == before


async def test_a_suspended_workflow_starts_when_it_is_taken_back(scene: Scene) -> None:
    await started(scene, suspend=True)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Suspended"
    assert scene.conditions(WORKFLOWS, NAME) == {"Ready": ("False", "Suspended")}
    assert not scene.server.runs

    scene.cluster.edit(WORKFLOWS, ref(NAME), suspend=False)
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_a_workflow_applied_as_canceled_never_runs(scene: Scene) -> None:
    await started(scene, cancel=True)

    assert not scene.server.runs
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Canceled"
    assert scene.conditions(WORKFLOWS, NAME)["Failed"] == ("True", "Canceled")


async def test_a_lost_store_is_said_and_nothing_is_started_anew(scene: Scene) -> None:
    await started(scene)
    scene.server.runs.clear()
    await scene.look(WORKFLOWS, NAME)

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "StateLost")
    assert not scene.server.runs


# --- workers of its own ------------------------------------------------------------------------


async def test_a_workflow_with_its_own_worker_gets_a_pool_that_it_owns() -> None:
    scene = Scene()
    await started(scene, worker={"image": "shop/orders:1", "modules": ["orders"], "slots": 5})

    (pool,) = scene.cluster.all(WORKER_POOLS)
    assert pool["spec"] == {"image": "shop/orders:1", "modules": ["orders"], "slots": 5}
    (owner,) = pool["metadata"]["ownerReferences"]
    assert owner["uid"] == scene.body(WORKFLOWS, NAME)["metadata"]["uid"]
    assert scene.server.run.request.task_queue == pool["metadata"]["name"]
    assert pool["metadata"]["name"].startswith(f"{NAME}-")


async def test_a_pool_of_its_own_that_went_is_made_again() -> None:
    scene = Scene()
    await started(scene, worker={"image": "i", "modules": ["m"]})
    (pool,) = scene.cluster.all(WORKER_POOLS)
    scene.cluster.ask_to_delete(WORKER_POOLS, ref(pool["metadata"]["name"]))
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.cluster.all(WORKER_POOLS)) == 1


async def test_a_pool_of_its_own_that_may_not_be_made_is_said() -> None:
    scene = Scene()
    error = ForbiddenError("apply workerpools", "exceeded quota: pools")
    scene.cluster.fail_with["apply workerpools"] = error
    await started(scene, worker={"image": "i", "modules": ["m"]})

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "Forbidden")
    assert "exceeded quota" in scene.message(WORKFLOWS, NAME, "Stalled")

    scene.cluster.fail_with.clear()
    await scene.look(WORKFLOWS, NAME)
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)


async def test_a_long_name_still_makes_a_name_for_the_pool() -> None:
    scene = Scene()
    name = "a-very-long-name." + "x" * 200
    scene.apply(a_workflow(name, worker={"image": "i", "modules": ["m"]}))
    await scene.look(WORKFLOWS, name)

    (pool,) = scene.cluster.all(WORKER_POOLS)
    assert len(pool["metadata"]["name"]) <= 48


# --- while it runs -----------------------------------------------------------------------------


async def test_the_status_follows_the_run(scene: Scene) -> None:
    await started(scene)
    scene.server.run.current_step = "wait-for-warehouse"
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["currentStep"] == "wait-for-warehouse"
    assert status["history"]["events"] == 1
    assert status["history"]["digest"] == f"sha256:{1:064x}"
    assert status["history"]["tail"] == ["[00:00:00] WorkflowStarted"]
    assert status["checkpoint"]["events"] == 1


async def test_nothing_is_written_when_nothing_has_changed(scene: Scene) -> None:
    await started(scene)
    writes = len(scene.cluster.writes)
    scene.pass_time(minutes=10)
    plan = await scene.look(WORKFLOWS, NAME)

    assert len(scene.cluster.writes) == writes
    assert plan.again == timedelta(hours=1)


async def test_a_condition_keeps_its_time_while_its_status_stays(scene: Scene) -> None:
    await started(scene)
    scene.pass_time(minutes=10)
    scene.server.run.cancel_requested = True
    await scene.look(WORKFLOWS, NAME)

    (ready,) = (c for c in scene.status(WORKFLOWS, NAME)["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "Canceling"
    assert ready["lastTransitionTime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        pytest.param("Nondeterminism", "Nondeterministic", id="other-code"),
        pytest.param("UnknownWorkflowType", "TypeNotRegistered", id="unknown-type"),
        pytest.param("WorkflowError", "WorkflowTaskFailing", id="broken-code"),
    ],
)
async def test_code_that_cannot_be_run_stalls_the_workflow(
    scene: Scene, cause: str, reason: str
) -> None:
    await started(scene)
    run = scene.server.run
    run.task_attempt, run.task_failure_cause = 2, cause
    run.task_failure = Failure(
        message="boom",
        info=ApplicationInfo(type="ValueError"),
        stack_trace='Traceback:\n  File "/code/order.py", line 7, in run\n    raise\n',
    )
    await scene.look(WORKFLOWS, NAME)

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", reason)
    message = scene.message(WORKFLOWS, NAME, "Stalled")
    assert "ValueError: boom" in message
    assert '"/code/order.py", line 7, in run' in message

    run.task_attempt, run.task_failure = 1, None
    await scene.look(WORKFLOWS, NAME)
    assert "Stalled" not in scene.conditions(WORKFLOWS, NAME)


async def test_another_failing_attempt_is_no_news(scene: Scene) -> None:
    await started(scene)
    run = scene.server.run
    run.task_failure_cause, run.task_failure = "WorkflowError", Failure(message="boom")
    run.task_attempt = 2
    await scene.look(WORKFLOWS, NAME)
    writes = len(scene.cluster.writes)
    run.task_attempt = 17
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.cluster.writes) == writes


async def test_a_history_too_long_for_a_checkpoint_shows_its_end(scene: Scene) -> None:
    await started(scene)
    run = scene.server.run
    for number in range(200):
        run.record(run.events[0].event if number == 0 else run.events[1].event)
    run.history_bytes = 10_000_000
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert "checkpoint" not in status
    assert status["history"]["events"] == 201
    assert len(status["history"]["tail"]) == 10


async def test_digest_and_events_are_of_one_moment(scene: Scene) -> None:
    await started(scene)
    scene.server.run.record(scene.server.run.events[0].event)
    scene.server.run.unseen = 1
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["checkpoint"]["events"] == status["history"]["events"] == 1
    assert len(status["history"]["tail"]) == 1


@pytest.mark.parametrize(
    ("pool_says", "shown"),
    [
        pytest.param(("True", "Idle"), ("True", "WorkersAvailable"), id="idle-is-as-good"),
        pytest.param(("True", "WorkersAvailable"), ("True", "WorkersAvailable"), id="available"),
        pytest.param(("False", "ImagePullFailed"), ("False", "ImagePullFailed"), id="trouble"),
    ],
)
async def test_a_workflow_says_of_its_workers_what_the_pool_says(
    scene: Scene, pool_says: tuple[str, str], shown: tuple[str, str]
) -> None:
    status, reason = pool_says
    condition = {
        "type": "WorkersReady",
        "status": status,
        "reason": reason,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    scene.cluster.set_status(WORKER_POOLS, ref("orders"), {"conditions": [condition]})
    await started(scene)

    assert scene.conditions(WORKFLOWS, NAME)["WorkersReady"] == shown


# --- what it is told ---------------------------------------------------------------------------


async def test_each_signal_is_delivered_once_in_order(scene: Scene) -> None:
    await started(scene, signals=[{"id": "a1", "name": "approve", "input": [True]}])
    signals = [{"id": "a1", "name": "approve", "input": [True]}, {"id": "a2", "name": "ship"}]
    scene.cluster.edit(WORKFLOWS, ref(NAME), signals=signals)
    for _ in range(3):
        await scene.look(WORKFLOWS, NAME)

    asked = scene.server.asked(SignalRequest)
    assert [(each.signal_id, each.name) for each in asked] == [("a1", "approve"), ("a2", "ship")]
    assert asked[0].input[0].data == b"true"
    assert asked[0].run_id == "run-1"
    assert scene.status(WORKFLOWS, NAME)["deliveredSignals"] == ["a1", "a2"]


async def test_a_signal_that_cannot_be_taken_is_said_and_holds_up_no_other(scene: Scene) -> None:
    await started(scene)
    scene.cluster.edit(WORKFLOWS, ref(NAME), signals=[{"id": "a1", "name": "approve"}])
    scene.server.refusal = ("TooLarge", "too large")
    await scene.look(WORKFLOWS, NAME)

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "InvalidSpec")
    assert "'a1'" in scene.message(WORKFLOWS, NAME, "Stalled")
    assert "deliveredSignals" not in scene.status(WORKFLOWS, NAME)

    scene.server.refusal = None
    await scene.look(WORKFLOWS, NAME)
    assert scene.status(WORKFLOWS, NAME)["deliveredSignals"] == ["a1"]


async def test_a_signal_for_a_run_that_has_just_ended_is_not_said_to_be_delivered(
    scene: Scene,
) -> None:
    await started(scene)
    scene.server.run.complete()
    scene.cluster.edit(WORKFLOWS, ref(NAME), signals=[{"id": "a1", "name": "approve"}])
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["phase"] == "Succeeded"
    assert "deliveredSignals" not in status


async def test_cancel_is_asked_for_once(scene: Scene) -> None:
    await started(scene)
    scene.cluster.edit(WORKFLOWS, ref(NAME), cancel=True)
    for _ in range(3):
        await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.asked(CancelRequest)) == 1
    assert scene.conditions(WORKFLOWS, NAME)["Reconciling"] == ("True", "Canceling")


async def test_a_running_workflow_is_suspended_and_resumed_as_the_spec_says(scene: Scene) -> None:
    await started(scene)
    scene.cluster.edit(WORKFLOWS, ref(NAME), suspend=True)
    await scene.look(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.SUSPENDED
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Suspended"
    assert scene.conditions(WORKFLOWS, NAME) == {"Ready": ("False", "Suspended")}

    scene.cluster.edit(WORKFLOWS, ref(NAME), suspend=False)
    await scene.look(WORKFLOWS, NAME)
    assert scene.server.run.status is RunStatus.RUNNING
    assert scene.status(WORKFLOWS, NAME)["phase"] == "Running"


async def test_what_somebody_else_suspended_is_theirs_to_resume(scene: Scene) -> None:
    await started(scene)
    run = scene.server.run
    run.status = RunStatus.SUSPENDED
    run.record(ev.Suspended(identity="ada@laptop"))
    await scene.look(WORKFLOWS, NAME)

    assert run.status is RunStatus.SUSPENDED
    assert "`perdure resume`" in scene.message(WORKFLOWS, NAME, "Ready")


# --- how it ends -------------------------------------------------------------------------------


async def test_a_run_that_returned_is_complete(scene: Scene) -> None:
    await started(scene)
    scene.server.run.complete(b'{"tracking":"t1","note":null}')
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["phase"] == "Succeeded"
    assert status["result"] == {"tracking": "t1", "note": None}
    assert status["completionTime"]
    assert "currentStep" not in status
    assert scene.conditions(WORKFLOWS, NAME) == {
        "Ready": ("True", "Succeeded"),
        "Complete": ("True", "Succeeded"),
    }


async def test_a_run_that_raised_has_failed_and_says_why(scene: Scene) -> None:
    await started(scene)
    cause = Failure(message="card declined", info=ApplicationInfo(type="PaymentError"))
    scene.server.run.fail(
        Failure(
            message="activity failed",
            info=ActivityInfo(activity_type="charge-payment"),
            cause=cause,
        )
    )
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["phase"] == "Failed"
    assert status["failure"]["step"] == "charge-payment"
    assert status["failure"]["cause"] == "PaymentError: card declined"
    assert scene.conditions(WORKFLOWS, NAME) == {
        "Ready": ("False", "ExecutionFailed"),
        "Stalled": ("True", "ExecutionFailed"),
        "Failed": ("True", "ExecutionFailed"),
    }
    assert "card declined" in scene.message(WORKFLOWS, NAME, "Failed")


@pytest.mark.parametrize(
    ("status", "phase", "reason"),
    [
        pytest.param(RunStatus.CANCELED, "Canceled", "Canceled", id="canceled"),
        pytest.param(RunStatus.TERMINATED, "Terminated", "Terminated", id="terminated"),
        pytest.param(RunStatus.TIMED_OUT, "TimedOut", "TimedOut", id="timed-out"),
    ],
)
async def test_every_other_end_is_a_failure_with_its_reason(
    scene: Scene, status: RunStatus, phase: str, reason: str
) -> None:
    await started(scene)
    scene.server.run.status = status
    await scene.look(WORKFLOWS, NAME)

    assert scene.status(WORKFLOWS, NAME)["phase"] == phase
    assert scene.conditions(WORKFLOWS, NAME)["Failed"] == ("True", reason)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(Payload({"encoding": b"json/plain"}, b'"' + b"x" * 9000 + b'"'), id="long"),
        pytest.param(Payload({"encoding": b"binary/encrypted"}, b"\x00"), id="encrypted"),
        pytest.param(Payload({"encoding": b"json/plain"}, b"{"), id="broken"),
    ],
)
async def test_a_result_that_cannot_be_shown_is_said_to_be_left_out(
    scene: Scene, result: Payload
) -> None:
    await started(scene)
    scene.server.run.complete()
    scene.server.run.result = result
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["resultOmitted"] is True
    assert "result" not in status


async def test_what_is_over_is_not_asked_about_again(scene: Scene) -> None:
    await started(scene)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    calls = len(scene.server.calls)
    await scene.look(WORKFLOWS, NAME)

    assert len(scene.server.calls) == calls
    assert "finalizers" not in scene.body(WORKFLOWS, NAME)["metadata"]


async def test_a_change_after_the_end_is_observed(scene: Scene) -> None:
    await started(scene)
    scene.server.run.complete()
    await scene.look(WORKFLOWS, NAME)
    scene.cluster.edit(WORKFLOWS, ref(NAME), ttlSecondsAfterFinished=60)
    await scene.look(WORKFLOWS, NAME)

    status = scene.status(WORKFLOWS, NAME)
    assert status["observedGeneration"] == 2
    # kubectl wait passes over a condition of an older generation than the object's.
    assert {each["observedGeneration"] for each in status["conditions"]} == {2}


async def test_a_workflow_is_deleted_when_its_time_to_live_has_passed(scene: Scene) -> None:
    await started(scene, ttlSecondsAfterFinished=60)
    scene.server.run.complete()
    plan = await scene.look(WORKFLOWS, NAME)
    assert plan.again is not None
    assert timedelta(seconds=59) <= plan.again <= timedelta(seconds=60)

    scene.pass_time(seconds=61)
    await scene.look(WORKFLOWS, NAME)
    assert not scene.exists(WORKFLOWS, NAME)


# --- odd things --------------------------------------------------------------------------------


async def test_a_spec_that_cannot_be_read_is_said(scene: Scene) -> None:
    scene.apply(a_workflow(type="Order", inptu=[1]))
    await scene.look(WORKFLOWS, NAME)

    assert scene.conditions(WORKFLOWS, NAME)["Stalled"] == ("True", "InvalidSpec")
    assert "inptu" in scene.message(WORKFLOWS, NAME, "Stalled")
    assert not scene.server.runs

    writes = len(scene.cluster.writes)
    await scene.look(WORKFLOWS, NAME)
    assert len(scene.cluster.writes) == writes


async def test_an_object_that_is_gone_needs_nothing(scene: Scene) -> None:
    plan = await scene.look(WORKFLOWS, "never-there")

    assert not plan.actions
    assert plan.again is None


async def test_no_look_needs_more_than_a_few_rounds(scene: Scene) -> None:
    signals = [{"id": f"s{number}", "name": "go"} for number in range(50)]
    scene.apply(a_workflow(signals=signals, cancel=False))
    plan = await scene.look(WORKFLOWS, NAME)

    assert not plan.blocked
    assert MAX_ROUNDS == 8
    assert scene.conditions(WORKFLOWS, NAME)["Ready"] == ("False", "Running")


async def test_a_finalizer_guards_only_what_is_not_orphaned(scene: Scene) -> None:
    await started(scene)
    assert scene.body(WORKFLOWS, NAME)["metadata"]["finalizers"] == [FINALIZER]

    scene.cluster.edit(WORKFLOWS, ref(NAME), deletionPolicy="Orphan")
    await scene.look(WORKFLOWS, NAME)
    assert "finalizers" not in scene.body(WORKFLOWS, NAME)["metadata"]
