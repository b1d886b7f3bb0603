"""Activities with pods of their own against a real API server: Jobs, their ends, what is shown.

No node is there, so the test is the kubelet: it runs what a pod would run, and writes how it ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from perdure.client import Client
from support import placed_on_cluster
from support.cluster import Cluster
from support.manifests import manifest_of
from support.operator_processes import Operator
from support.operator_scene import a_pool

pytestmark = pytest.mark.timeout(300)

NAME = "scan-1"
POOL = a_pool(image="shop/placed:1", modules=["placed"], scaling={"idleAfter": "5m"})
ECHO = 'echo "{\\"got\\": $PERDURE_INPUT}" > $PERDURE_RESULT_FILE'


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    (tmp_path / "placed.py").write_text(Path(placed_on_cluster.__file__).read_text())
    with cluster.namespace("pods") as namespace, Operator(cluster, namespace, tmp_path) as own:
        yield own


def a_container(script: str, **spec: Any) -> dict[str, Any]:
    template = {"image": "busybox:1", "command": ["sh", "-c"], "args": [script]}
    template |= spec.pop("template", {})
    retry = {"initialInterval": "200ms", "maximumAttempts": 2}
    return manifest_of("Activity", NAME, template=template, retryPolicy=retry, **spec)


def job_of_attempt(operator: Operator, attempt: int) -> dict[str, Any]:
    """Wait for the Job of an attempt, and for its pod."""
    selector = ("-l", f"perdure.dev/attempt={attempt}")

    def found(what: str) -> list[dict[str, Any]]:
        items = operator.cluster.get(what, *selector, namespace=operator.namespace)["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    operator.eventually(lambda: len(found("jobs")) == 1, f"the Job of attempt {attempt}")
    operator.eventually(lambda: len(found("pods")) == 1, f"the pod of attempt {attempt}")
    return found("jobs")[0]


def nothing_left(operator: Operator) -> bool:
    return not operator.items("jobs") and not operator.items("pods")


def pool_job(operator: Operator) -> dict[str, Any]:
    def jobs() -> list[dict[str, Any]]:
        selector = ("-l", "perdure.dev/pool")
        found: list[dict[str, Any]] = operator.cluster.get(
            "jobs", *selector, namespace=operator.namespace
        )["items"]
        return found

    operator.eventually(lambda: len(jobs()) == 1, "the pool's Job")
    return jobs()[0]


def complete(operator: Operator, what: str, condition: str = "Complete") -> dict[str, Any]:
    operator.cluster.wait_for(
        f"condition={condition}", what, namespace=operator.namespace, timeout=40
    )
    kind, _, name = what.partition("/")
    status: dict[str, Any] = operator.get(kind, name)["status"]
    return status


def test_a_container_takes_its_input_and_gives_its_result(operator: Operator) -> None:
    operator.apply(a_container(ECHO, input=["photo $(HOME)", {"n": 1}]))
    operator.run_container(job_of_attempt(operator, 1))

    status = complete(operator, f"activity/{NAME}")
    assert status["result"] == {"got": ["photo $(HOME)", {"n": 1}]}
    assert status["attempt"] == 1
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def test_a_failing_container_is_tried_again_and_says_why_it_failed(operator: Operator) -> None:
    operator.apply(a_container("echo no such photo $PERDURE_ATTEMPT; exit 3"))
    operator.run_container(job_of_attempt(operator, 1))
    operator.run_container(job_of_attempt(operator, 2))

    status = complete(operator, f"activity/{NAME}", "Failed")
    assert status["attempt"] == 2
    message = "container main exited with code 3: no such photo 2"
    assert status["lastFailure"]["message"] == message
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def test_an_exit_code_can_end_the_retries(operator: Operator) -> None:
    operator.apply(a_container("exit 9", template={"nonRetryableExitCodes": [9]}))
    operator.run_container(job_of_attempt(operator, 1))

    assert complete(operator, f"activity/{NAME}", "Failed")["attempt"] == 1


def test_an_operator_that_was_killed_reads_the_end_and_makes_no_second_pod(
    operator: Operator,
) -> None:
    operator.apply(a_container(ECHO, input=[1]))
    job = job_of_attempt(operator, 1)
    operator.operator.kill()
    operator.run_container(job)
    operator.start_operator()

    assert complete(operator, f"activity/{NAME}")["attempt"] == 1
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def test_a_container_beats_and_reports_over_http_with_its_token(operator: Operator) -> None:
    operator.apply(a_container("unused", timeouts={"heartbeat": "30s", "startToClose": "5m"}))
    job = job_of_attempt(operator, 1)
    env = {e["name"]: e.get("value", "") for e in
           job["spec"]["template"]["spec"]["containers"][0]["env"]}  # fmt: skip
    address, token = env["PERDURE_ADDRESS"], env["PERDURE_TASK_TOKEN"]

    assert post(address, "beat-activity", token=token, details=[50]) == {}
    post(address, "report-activity", token=token, result={"big": "x" * 5000})

    status = complete(operator, f"activity/{NAME}")
    assert status["result"] == {"big": "x" * 5000}
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def post(address: str, verb: str, **body: Any) -> Any:
    request = Request(f"{address}/api/v1/{verb}", json.dumps(body).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    with urlopen(request) as answer:
        return json.load(answer)


def test_a_canceled_container_is_stopped_and_then_canceled(operator: Operator) -> None:
    operator.apply(a_container("unused"))
    job_of_attempt(operator, 1)
    operator.patch("activity", NAME, {"spec": {"cancel": True}})

    status = complete(operator, f"activity/{NAME}", "Failed")
    assert status["phase"] == "Canceled"
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def test_a_deleted_job_is_lost_and_its_attempt_is_not_run_twice(operator: Operator) -> None:
    operator.apply(a_container(ECHO, input=[1]))
    first = job_of_attempt(operator, 1)
    operator.phase("activity", NAME, "Pending")
    operator.eventually(
        lambda: operator.get("activity", NAME)["status"].get("job") == first["metadata"]["name"],
        "the status names the Job",
    )
    operator.cluster.kubectl("delete", "job", first["metadata"]["name"], "-n", operator.namespace)
    operator.run_container(job_of_attempt(operator, 2))

    assert complete(operator, f"activity/{NAME}")["attempt"] == 2


def test_a_workflow_runs_a_container_that_is_shown_and_its_own(operator: Operator) -> None:
    workflow = manifest_of(
        "Workflow", "scan", type="Scan", input=["busybox:1", ECHO, ["a"]], workerPool="orders"
    )
    operator.apply(POOL, workflow)
    operator.start_worker(pool_job(operator))
    job = job_of_attempt(operator, 1)
    (shown,) = operator.items("activities")
    assert shown["metadata"]["ownerReferences"][0]["name"] == "scan"
    assert shown["spec"]["scheduledBy"]["workflowId"] == "scan"
    operator.run_container(job)

    assert complete(operator, "workflow/scan")["result"] == {"got": ["a"]}
    status = complete(operator, f"activity/{shown['metadata']['name']}")
    assert status["result"] == {"got": ["a"]}
    operator.eventually(lambda: len(operator.items("jobs")) == 1, "only the pool's Job is left")

    operator.cluster.kubectl("delete", "workflow", "scan", "-n", operator.namespace)
    operator.eventually(lambda: not operator.items("activities"), "the Activity went with it")


def test_a_registered_activity_runs_in_a_pod_of_its_own(operator: Operator) -> None:
    workflow = manifest_of(
        "Workflow", "measure", type="Measure", input=["length"], workerPool="orders"
    )
    operator.apply(POOL, workflow)
    operator.start_worker(pool_job(operator))
    job = job_of_attempt(operator, 1)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "256Mi"}}
    own = operator.start_worker(job)

    result = complete(operator, "workflow/measure")["result"]
    assert result["what"] == "length"
    assert own.wait() == 0
    operator.eventually(lambda: len(operator.items("jobs")) == 1, "only the pool's Job is left")


def test_a_registered_activity_of_an_old_run_runs_in_its_own_pod_with_the_old_code(
    operator: Operator, tmp_path: Path
) -> None:
    first, pool = tmp_path / "first", a_pool(code={"configMap": "code"})
    first.mkdir()
    (first / "pinned.py").write_text(PINNED)
    operator.apply(code_of(PINNED), pool)
    operator.apply(manifest_of("Workflow", "pinned", type="Pinned", workerPool="orders"))
    job = pool_job(operator)
    operator.start_worker(job, folder=first)
    operator.eventually(
        lambda: bool(operator.get("workflow", "pinned")["status"].get("currentStep")),
        "its code has run",
    )
    was = operator.get("workerpool", "orders")["status"]["version"]
    operator.apply(code_of(PINNED.replace("version 1", "version 2")))
    operator.eventually(
        lambda: operator.get("workerpool", "orders")["status"]["version"] != was, "a new version"
    )

    operator.patch("workflow", "pinned", {"spec": {"signals": [{"id": "1", "name": "go"}]}})
    own = job_of_attempt(operator, 1)
    volumes = own["spec"]["template"]["spec"]["volumes"]
    (code,) = (each["configMap"]["name"] for each in volumes if each["name"] == "code")
    copy = operator.get("configmap", code)
    (first / "pinned.py").write_text(copy["data"]["pinned.py"])
    operator.start_worker(own, folder=first)

    assert complete(operator, "workflow/pinned")["result"] == "version 1"


PINNED = """
from datetime import timedelta

from perdure import activity, workflow
from perdure.common import Pod


@activity.defn
def which() -> str:
    return "version 1"


@workflow.defn
class Pinned:
    def __init__(self) -> None:
        self.gone = False

    @workflow.signal
    def go(self) -> None:
        self.gone = True

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(0.1)
        await workflow.wait_condition(lambda: self.gone, timeout=3600)
        limit = timedelta(minutes=5)
        return await workflow.execute_activity(which, start_to_close_timeout=limit, pod=Pod())
"""


def code_of(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code"},
        "data": {"pinned.py": text},
    }


def test_a_worker_of_its_own_that_dies_before_it_takes_the_task_fails_the_attempt(
    operator: Operator,
) -> None:
    workflow = manifest_of(
        "Workflow", "measure", type="Measure", input=["length"], workerPool="orders"
    )
    operator.apply(POOL, workflow)
    operator.start_worker(pool_job(operator))
    operator.end_pod(job_of_attempt(operator, 1), exit_code=1, message="Traceback: no module")
    operator.start_worker(job_of_attempt(operator, 2))

    assert complete(operator, "workflow/measure")["result"]["attempt"] == 2


def test_an_attempt_that_takes_too_long_loses_its_job(operator: Operator) -> None:
    operator.apply(a_container("unused", timeouts={"startToClose": "2s"}))

    status = complete(operator, f"activity/{NAME}", "Failed")
    assert (status["phase"], status["attempt"]) == ("TimedOut", 2)
    operator.eventually(lambda: nothing_left(operator), "no Job and no pod is left")


def test_a_run_that_code_started_has_its_containers_run(operator: Operator) -> None:
    operator.apply(POOL)

    async def start() -> None:
        address = f"127.0.0.1:{operator.server.port}"
        async with await Client.connect(address, namespace=operator.namespace) as client:
            arguments = ["busybox:1", ECHO, ["a"]]
            await client.start_workflow("Scan", args=arguments, id="code", task_queue="orders")

    asyncio.run(start())
    operator.start_worker(pool_job(operator))
    operator.run_container(job_of_attempt(operator, 1))

    (shown,) = operator.items("activities")
    assert "ownerReferences" not in shown["metadata"]
    status = complete(operator, f"activity/{shown['metadata']['name']}")
    assert status["result"] == {"got": ["a"]}


def test_an_activity_that_takes_long_is_shown_while_it_does(operator: Operator) -> None:
    workflow = manifest_of("Workflow", "slow", type="Linger", input=[6], workerPool="orders")
    operator.apply(POOL, workflow)
    operator.start_worker(pool_job(operator))
    operator.eventually(lambda: len(operator.items("activities")) == 1, "it is shown")
    operator.eventually(
        lambda: operator.items("activities")[0].get("status", {}).get("phase") == "Running",
        "it says that it runs",
    )

    complete(operator, "workflow/slow")
    operator.eventually(lambda: not operator.items("activities"), "it is shown no more")
