"""The operator against a real API server and a real Perdure server.

The cluster has no node, so Jobs get pods that stay Pending; workers are processes started with
what those pods would run, and where a pod's end matters the test says so in the kubelet's place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.operator_processes import CODE, Operator, runs_started
from support.operator_scene import a_pool, a_workflow, an_activity

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    with cluster.namespace("operator") as namespace, Operator(cluster, namespace, tmp_path) as own:
        yield own


POOL = a_pool(image="shop/hello:1", modules=["hello"], scaling={"idleAfter": "20s"})
WORKFLOW = a_workflow(type="Hello", input=["you"])
NAME = "order-42"
APPROVE = {"spec": {"signals": [{"id": "a1", "name": "approve"}]}}


def test_a_workflow_goes_from_apply_to_complete(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    job = operator.the_job()
    operator.phase("workflow", NAME, "Running")
    worker = operator.start_worker(job)
    operator.eventually(
        lambda: operator.condition("workerpool", "orders", "WorkersReady")[1] == "WorkersAvailable",
        "the worker is seen",
    )
    operator.patch("workflow", NAME, APPROVE)
    operator.cluster.wait_for(
        "condition=Complete", f"workflow/{NAME}", namespace=operator.namespace, timeout=30
    )

    status = operator.get("workflow", NAME)["status"]
    assert status["phase"] == "Succeeded"
    assert status["result"] == "hello you"
    assert status["deliveredSignals"] == ["a1"]
    assert status["history"]["digest"].startswith("sha256:")
    assert any("ActivityCompleted: greet" in line for line in status["history"]["tail"])
    assert status["checkpoint"]["events"] == status["history"]["events"]
    assert operator.condition("workflow", NAME, "Ready")[0] == "True"

    # Applied again, nothing starts; the spec with the signals is the user's by now.
    operator.apply(POOL, {**WORKFLOW, "spec": {**WORKFLOW["spec"], **APPROVE["spec"]}})
    assert runs_started(operator) == 1

    # The worker leaves, its Job completes, and nothing is left.
    worker.stop()
    operator.end_pod(job, exit_code=0)
    operator.eventually(lambda: operator.items("jobs") == [], "the Job is cleared away")
    operator.phase("workerpool", "orders", "Idle")


def test_kopf_and_the_operator_leave_objects_clean(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    operator.phase("workflow", NAME, "Running")
    metadata = operator.get("workflow", NAME)["metadata"]

    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert metadata["finalizers"] == ["perdure.dev/end-what-was-started"]
    arguments = ("get", "workflow", NAME, "-n", operator.namespace, "-o", "json")
    managed = json.loads(operator.cluster.kubectl(*arguments, "--show-managed-fields"))
    fields = managed["metadata"]["managedFields"]
    managers = {(each["manager"], each.get("subresource", "")) for each in fields}
    assert managers == {
        ("kubectl-client-side-apply", ""),
        ("perdure-operator", ""),
        ("perdure-operator", "status"),
    }


def test_killing_the_operator_and_the_server_loses_nothing(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    job = operator.the_job()
    operator.operator.kill()
    operator.start_worker(job)
    port = operator.server.port
    operator.server.kill()
    operator.start_server(port)
    operator.patch("workflow", NAME, APPROVE)
    operator.start_operator()
    operator.cluster.wait_for(
        "condition=Complete", f"workflow/{NAME}", namespace=operator.namespace, timeout=30
    )

    assert runs_started(operator) == 1
    assert len(operator.items("jobs")) == 1


def test_a_server_restarted_under_a_running_operator_is_followed_again(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    job = operator.the_job()
    port = operator.server.port
    operator.server.kill()
    operator.start_server(port)
    operator.start_worker(job)
    operator.patch("workflow", NAME, APPROVE)
    operator.phase("workflow", NAME, "Succeeded")


def test_deleting_a_workflow_cancels_its_run_before_it_goes(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    operator.start_worker(operator.the_job())
    operator.eventually(
        lambda: operator.get("workflow", NAME)["status"]["history"]["events"] > 3, "it is waiting"
    )
    operator.cluster.delete("workflow", NAME, "--timeout=20s", namespace=operator.namespace)

    command = ("get", "workflows", "-n", operator.namespace, "-o", "name")
    assert operator.cluster.kubectl(*command) == ""
    assert runs_started(operator) == 1


def test_an_activity_is_retried_until_it_succeeds(operator: Operator) -> None:
    policy = {"initialInterval": "100ms", "maximumAttempts": 5}
    timeouts = {"startToClose": "10s"}
    activity = an_activity(type="stumble", input=[3], retryPolicy=policy, timeouts=timeouts)
    operator.apply(POOL, activity)
    operator.start_worker(operator.the_job())
    operator.cluster.wait_for(
        "condition=Complete", "activity/resize-1", namespace=operator.namespace, timeout=30
    )

    status = operator.get("activity", "resize-1")["status"]
    assert (status["phase"], status["result"], status["attempt"]) == ("Succeeded", 3, 3)


BATCH = an_activity(
    type="stumble",
    items=[[9] if number in {7, 21} else [1] for number in range(40)],
    parallelism=5,
    toleratedFailures=2,
    retryPolicy={"initialInterval": "50ms", "maximumAttempts": 2},
    timeouts={"startToClose": "10s"},
)


def test_a_batch_is_run_to_its_end_and_counted(operator: Operator) -> None:
    operator.apply(POOL, BATCH)
    job = operator.the_job()
    operator.phase("activity", "resize-1", "Pending")
    assert operator.get("activity", "resize-1")["status"]["progress"] == "0/40"
    operator.operator.kill()  # what happens meanwhile is found out afterwards
    operator.start_worker(job)
    operator.start_operator()
    operator.cluster.wait_for(
        "condition=Complete", "activity/resize-1", namespace=operator.namespace, timeout=30
    )

    status = operator.get("activity", "resize-1")["status"]
    assert (status["phase"], status["progress"]) == ("Succeeded", "40/40")
    assert (status["itemsTotal"], status["itemsRunning"]) == (40, 0)
    assert (status["itemsSucceeded"], status["itemsFailed"]) == (38, 2)
    assert "40/40" in operator.cluster.kubectl("get", "activities", "-n", operator.namespace)
    operator.apply(POOL, BATCH)
    assert runs_started(operator) == 1


def test_a_batch_with_one_failure_too_many_fails(operator: Operator) -> None:
    operator.apply(POOL, {**BATCH, "spec": {**BATCH["spec"], "toleratedFailures": 1}})
    operator.start_worker(operator.the_job())
    operator.phase("activity", "resize-1", "Failed")

    status = operator.get("activity", "resize-1")["status"]
    assert status["itemsFailed"] == 2
    assert "2 of 40 items failed" in status["lastFailure"]["message"]
    assert "stumbled" in status["lastFailure"]["cause"]


def test_a_fan_out_over_ten_thousand_items_is_one_activity_of_its_workflow(
    operator: Operator,
) -> None:
    operator.apply(POOL, a_workflow(type="Squares", input=[10_000]))
    operator.start_worker(operator.the_job())
    operator.cluster.wait_for(
        "condition=Complete", f"workflow/{NAME}", namespace=operator.namespace, timeout=120
    )

    status = operator.get("workflow", NAME)["status"]
    assert status["result"] == sum(number * number for number in range(10_000))
    assert status["history"]["events"] < 50
    (shown,) = operator.items("activities")
    name = shown["metadata"]["name"]
    assert shown["metadata"]["ownerReferences"][0]["name"] == NAME
    operator.phase("activity", name, "Succeeded")
    assert operator.get("activity", name)["status"]["progress"] == "10000/10000"


def test_a_worker_that_crashes_is_said_and_another_is_made(operator: Operator) -> None:
    operator.apply(POOL, WORKFLOW)
    job = operator.the_job()
    operator.end_pod(job, exit_code=1, message="ModuleNotFoundError: No module named 'hello'")
    operator.eventually(
        lambda: (
            "No module named 'hello'"
            in operator.condition("workerpool", "orders", "WorkersReady")[2]
        ),
        "the reason is said",
    )
    operator.eventually(lambda: len(operator.items("jobs")) == 2, "another worker is made")
    status, reason, _ = operator.condition("workflow", NAME, "WorkersReady")

    assert status == "False"
    assert reason in {"WorkersStarting", "WorkersCrashing"}
    failed = operator.get("job", job["metadata"]["name"])["status"]["conditions"]
    assert any(each["type"] == "Failed" for each in failed)


def test_code_that_is_missing_is_said_and_runs_once_it_is_there(operator: Operator) -> None:
    operator.apply(a_pool(code={"configMap": "hello-code"}), WORKFLOW)
    operator.eventually(
        lambda: operator.condition("workerpool", "orders", "Stalled")[1] == "CodeNotFound",
        "the missing ConfigMap is said",
    )
    metadata = {"name": "hello-code"}
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    operator.apply({**code, "data": {"hello.py": CODE}})
    job = operator.the_job()

    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "hello"
    assert container["image"] == "perdure-worker:test"


def test_a_workflow_with_its_own_worker_stands_alone(operator: Operator) -> None:
    worker = {"image": "shop/hello:1", "modules": ["hello"]}
    operator.apply(a_workflow(type="Hello", input=["you"], worker=worker))
    operator.start_worker(operator.the_job())
    operator.patch("workflow", NAME, APPROVE)
    operator.phase("workflow", NAME, "Succeeded")

    operator.cluster.delete("workflow", NAME, "--timeout=20s", namespace=operator.namespace)
    operator.eventually(lambda: operator.items("workerpools") == [], "its pool goes with it")
