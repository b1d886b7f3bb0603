"""GitOps on a real API server: applying again changes nothing, and no controller writes a spec.

The operator and the server are processes of this machine; pods stay pending.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from support.cluster_tools import CHECKOUT
from support.processes import Process, Server, Worker

WORKFLOWS = CHECKOUT / "tests" / "support" / "workflows.py"
OVERLAY = str(CHECKOUT / "gitops" / "kustomize" / "overlays" / "cluster")
OPERATOR = "perdure-operator"
KINDS = "workflows.perdure.dev,activities.perdure.dev,workerpools.perdure.dev"

pytestmark = pytest.mark.timeout(600)


def a_resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "perdure.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


IN_GIT = yaml.safe_dump_all(
    [
        a_resource("WorkerPool", "orders", image="shop/orders:1", modules=["orders"]),
        a_resource("Workflow", "over", type="Sleep", workerPool="orders", input=[0.01]),
        a_resource("Workflow", "goes-on", type="Sleep", workerPool="orders", input=[3600]),
        a_resource("Workflow", "held", type="Sleep", workerPool="orders", input=[1], suspend=True),
        a_resource("Workflow", "without-pool", type="Sleep", workerPool="nobodys", input=[1]),
        a_resource("Activity", "resize", type="resize", workerPool="nobodys", input=["a.png"]),
    ]
)


@pytest.fixture
def namespace(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """A namespace that an operator watches, with a worker for the pool ``orders``."""
    with (
        cluster.namespace("gitops") as namespace,
        Server(tmp_path / "perdure.db", log=tmp_path / "server.log") as server,
        Worker(
            server.address,
            str(WORKFLOWS),
            log=tmp_path / "worker.log",
            options=("--namespace", namespace, "--task-queue", "orders"),
        ),
        Process(
            [
                sys.executable, "-m", "perdure_operator.controllers.main",
                "--server", f"http://{server.address}",
                "--namespace", namespace,
                "--default-image", "worker:1",
                "--liveness-port", "0",
            ],
            log=tmp_path / "operator.log",
            env={"KUBECONFIG": str(cluster.kubeconfig)},
        ),
    ):  # fmt: skip
        yield namespace


def put(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=IN_GIT)


def objects(cluster: Cluster, namespace: str) -> dict[str, dict[str, Any]]:
    command = ("get", KINDS, "-n", namespace, "--show-managed-fields", "-o", "json")
    found = json.loads(cluster.kubectl(*command))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


def phases(cluster: Cluster, namespace: str) -> dict[str, str]:
    found = objects(cluster, namespace)
    return {name: each.get("status", {}).get("phase", "") for name, each in found.items()}


def test_applying_again_changes_nothing_and_nobody_writes_a_spec(
    cluster: Cluster, namespace: str
) -> None:
    put(cluster, namespace)
    cluster.eventually(
        lambda: (
            phases(cluster, namespace)
            == {
                "WorkerPool/orders": "Active",
                "Workflow/over": "Succeeded",
                "Workflow/goes-on": "Running",
                "Workflow/held": "Suspended",
                "Workflow/without-pool": "Pending",
                "Activity/resize": "Pending",
            }
        ),
        what="a status of everything",
    )

    def again() -> bool:
        before = objects(cluster, namespace)
        put(cluster, namespace)
        return objects(cluster, namespace) == before  # resourceVersion and times included

    # A status that was just about to be written may come between, but not for ever.
    cluster.eventually(again, what="an apply that changes nothing", timeout=30)
    for name, each in objects(cluster, namespace).items():
        assert each["metadata"]["generation"] == 1, name
        entries = each["metadata"]["managedFields"]
        assert any(entry["manager"] == OPERATOR for entry in entries), name
        for entry in entries:
            if entry["manager"] == OPERATOR:
                assert "f:spec" not in entry["fieldsV1"], name


def test_an_installation_by_kustomize_is_the_same_when_it_is_applied_again(
    cluster: Cluster,
) -> None:
    cluster.kubectl("create", "namespace", "perdure-system")
    try:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", OVERLAY)
        cluster.kubectl("diff", "--server-side", "--force-conflicts", "-k", OVERLAY)
    finally:
        crds = "--selector=app.kubernetes.io/part-of=perdure"
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", crds)
        cluster.kubectl("delete", "namespace", "perdure-system", "--wait=false")
