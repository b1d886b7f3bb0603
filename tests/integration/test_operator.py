"""The operator against a real API server and a real Perdure server.

The cluster has no node, so Jobs get pods that stay Pending; workers are processes started with
what those pods would run, and where a pod's end matters the test says so in the kubelet's place.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from support.cluster import Cluster, Manifest, a_cluster
from support.cluster_tools import CHECKOUT
from support.operator_scene import a_pool, a_workflow, an_activity
from support.processes import Process, Server, Worker

pytestmark = pytest.mark.timeout(300)

CODE = """
from datetime import timedelta

from perdure import activity, workflow


@activity.defn(name="greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn(name="stumble")
async def stumble(until: int) -> int:
    if activity.info().attempt < until:
        raise RuntimeError("stumbled")
    return activity.info().attempt


@workflow.defn(name="Hello")
class Hello:
    def __init__(self) -> None:
        self.approved = False

    @workflow.run
    async def run(self, name: str) -> str:
        said = await workflow.execute_activity(
            greet, name, start_to_close_timeout=timedelta(seconds=10)
        )
        await workflow.wait_condition(lambda: self.approved)
        return said

    @workflow.signal
    def approve(self) -> None:
        self.approved = True
"""


class Operator:
    """A server and an operator, on one namespace of a cluster; either can be killed."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self._stack = ExitStack()
        self._workers = 0

    def __enter__(self) -> Operator:
        (self.folder / "hello.py").write_text(CODE)
        self.start_server()
        self.start_operator()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-6000:]}")

    # --- processes -------------------------------------------------------------------------

    def start_server(self, port: int = 0) -> None:
        db, log = self.folder / "perdure.db", self.folder / "server.log"
        self.server = self._stack.enter_context(Server(db, port=port, log=log))

    def start_operator(self) -> None:
        address = f"http://127.0.0.1:{self.server.port}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.health = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [str(Path(sys.executable).with_name("perdure-operator"))]
        command += ["--server", address, "--namespace", self.namespace]
        command += ["--default-image", "perdure-worker:test"]
        command += ["--liveness-port", self.health.rpartition(":")[2]]
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig)}
        process = Process(command, self.folder / "operator.log", environment)
        self.operator = self._stack.enter_context(process)
        self.cluster.eventually(self.is_alive, what="the operator is alive")

    def is_alive(self) -> bool:
        try:
            with urlopen(f"{self.health}/healthz") as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    def start_worker(self, job: dict[str, Any]) -> Worker:
        """Run what the Job's pod would run."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        module, options = container["args"][0], container["args"][1:]
        self._workers += 1
        log = self.folder / f"worker-{self._workers}.log"
        address = f"127.0.0.1:{self.server.port}"
        worker = Worker(
            address,
            module,
            log=log,
            env={"PYTHONPATH": str(self.folder)},
            options=tuple(options),
        )
        return self._stack.enter_context(worker)

    # --- the cluster -----------------------------------------------------------------------

    def apply(self, *manifests: Manifest) -> str:
        local = [json.loads(json.dumps(each)) for each in manifests]
        for each in local:
            each["metadata"]["namespace"] = self.namespace
        return self.cluster.apply(*local, namespace=self.namespace)

    def patch(self, what: str, name: str, patch: dict[str, Any], *options: str) -> None:
        text = json.dumps(patch)
        arguments = ("patch", what, name, "-n", self.namespace, "--type=merge", "-p", text)
        self.cluster.kubectl(*arguments, *options)

    def get(self, what: str, name: str) -> dict[str, Any]:
        return self.cluster.get(what, name, namespace=self.namespace)

    def items(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cluster.get(what, namespace=self.namespace)["items"]
        return found

    def condition(self, what: str, name: str, type_: str) -> tuple[str, str, str]:
        """Return status, reason and message; raises KeyError while there is none."""
        conditions = {c["type"]: c for c in self.get(what, name)["status"]["conditions"]}
        found = conditions[type_]
        return found["status"], found["reason"], found.get("message", "")

    def eventually(self, holds: Callable[[], bool], what: str) -> None:
        self.cluster.eventually(holds, what=what, timeout=30)

    def phase(self, what: str, name: str, phase: str) -> None:
        """Wait for a phase."""
        self.eventually(
            lambda: self.get(what, name)["status"]["phase"] == phase, f"{name} is {phase}"
        )

    def the_job(self) -> dict[str, Any]:
        """Wait for the one Job that there is to be."""
        self.eventually(lambda: len(self.items("jobs")) == 1, "there is one Job")
        (job,) = self.items("jobs")
        return job

    def end_pod(self, job: dict[str, Any], *, exit_code: int, message: str = "") -> None:
        """Say in the kubelet's place how the Job's pod ended."""
        name = job["metadata"]["name"]
        selector = ("-l", f"batch.kubernetes.io/job-name={name}")
        pods = self.cluster.get("pods", *selector, namespace=self.namespace)["items"]
        terminated = {"exitCode": exit_code, "message": message, "reason": "Error"}
        status = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [
                {
                    "name": "worker",
                    "image": "x",
                    "imageID": "x",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        self.patch("pod", pods[0]["metadata"]["name"], {"status": status}, "--subresource=status")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with the definitions of this checkout."""
    with a_cluster(nodes=False) as cluster:
        crds = str(CHECKOUT / "crds")
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
        yield cluster


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    with cluster.namespace("operator") as namespace, Operator(cluster, namespace, tmp_path) as own:
        yield own


POOL = a_pool(image="shop/hello:1", modules=["hello"], scaling={"idleAfter": "20s"})
WORKFLOW = a_workflow(type="Hello", input=["you"])
NAME = "order-42"
APPROVE = {"spec": {"signals": [{"id": "a1", "name": "approve"}]}}


def runs_started(operator: Operator) -> int:
    """Return how many runs the server has of the namespace."""
    command = [str(Path(sys.executable).with_name("perdure")), "list", "--output", "json"]
    command += ["--address", f"127.0.0.1:{operator.server.port}"]
    command += ["--namespace", operator.namespace]
    log = operator.folder / "list.err"
    with Process(command, log) as process:
        assert process._process.stdout is not None
        text = process._process.stdout.read().decode()
    return len(json.loads(text))


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
