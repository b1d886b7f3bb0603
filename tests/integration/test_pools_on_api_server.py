"""WorkerPools against a real API server: versions of the code, the scale subresource, sidecars.

As in ``test_operator``: no node, and workers are processes started with what their pods would run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster, CommandError
from support.manifests import Manifest
from support.operator_processes import Operator
from support.operator_scene import a_pool, a_workflow

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    with cluster.namespace("pools") as namespace, Operator(cluster, namespace, tmp_path) as own:
        yield own


CODE = """
from perdure import workflow


@workflow.defn
class Order:
    def __init__(self) -> None:
        self.approved = False

    @workflow.signal
    def approve(self) -> None:
        self.approved = True

    @workflow.run
    async def run(self) -> list[str]:
        begun = "VERSION"
        FIRST
        await workflow.wait_condition(lambda: self.approved)
        return [begun, "VERSION"]
"""
POOL = a_pool(code={"configMap": "orders-code"}, scaling={"idleAfter": "20s"})
APPROVE = {"spec": {"signals": [{"id": "a1", "name": "approve"}]}}


def give_code(operator: Operator, version: str, first: str = "") -> None:
    """Put a version of the code into the ConfigMap, and have the pool looked at."""
    code = CODE.replace("VERSION", version).replace("FIRST", first or "pass")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-code"}}
    operator.apply({**body, "data": {"shop.py": code}})
    if any(each["metadata"]["name"] == "orders" for each in operator.items("workerpools")):
        annotations = {"metadata": {"annotations": {"shop/code": version}}}
        operator.patch("workerpool", "orders", annotations)


def status(operator: Operator) -> dict[str, Any]:
    found: dict[str, Any] = operator.get("workerpool", "orders").get("status", {})
    return found


def open_runs(operator: Operator) -> dict[str, int]:
    return {each["hash"]: each["openRuns"] for each in status(operator).get("versions", ())}


def job_of(operator: Operator, version: str) -> dict[str, Any]:
    """Wait for a Job of a version that is not over."""

    def found() -> list[Manifest]:
        return [
            job
            for job in operator.items("jobs")
            if job["metadata"]["labels"]["perdure.dev/version"] == version
            and not job["status"].get("conditions")
        ]

    operator.eventually(lambda: bool(found()), f"a Job of version {version}")
    return found()[0]


def start_worker(operator: Operator, job: dict[str, Any]) -> Any:
    """Run what a Job's pod would run, with the code that it mounts."""
    volumes = {each["name"]: each for each in job["spec"]["template"]["spec"]["volumes"]}
    code = operator.get("configmap", volumes["code"]["configMap"]["name"])
    assert code["immutable"] is True
    folder = operator.folder / job["metadata"]["name"]
    folder.mkdir(exist_ok=True)  # the number of a Job that is over is given again
    for name, text in code["data"].items():
        (folder / name).write_text(text)
    return operator.start_worker(job, folder=folder)


def test_old_runs_end_on_their_version_which_is_gone_then(operator: Operator) -> None:
    give_code(operator, "one")
    operator.apply(POOL, a_workflow("old", type="Order"))
    (job,) = (operator.the_job(),)
    old = job["metadata"]["labels"]["perdure.dev/version"]
    worker = start_worker(operator, job)
    operator.eventually(lambda: open_runs(operator) == {old: 1}, "the run is pinned")

    give_code(operator, "two", first="await workflow.sleep(0.01)")
    operator.eventually(lambda: status(operator)["version"] != old, "there is a new version")
    new = status(operator)["version"]
    operator.apply(a_workflow("new", type="Order"))
    start_worker(operator, job_of(operator, new))
    operator.eventually(lambda: open_runs(operator) == {new: 1, old: 1}, "each is pinned")
    worker.stop()
    operator.end_pod(job, exit_code=0)
    for name in ("new", "old"):
        operator.patch("workflow", name, APPROVE)
    operator.eventually(
        lambda: result(operator, "new") == ["two", "two"], "the new run ends on the new code"
    )

    start_worker(operator, job_of(operator, old))
    operator.eventually(
        lambda: result(operator, "old") == ["one", "one"], "the old run ends on the old code"
    )
    operator.eventually(lambda: versions_of(operator, "controllerrevisions") == {new}, "drained")
    operator.eventually(
        lambda: versions_of(operator, "configmaps") == {new}, "its copy of the code is gone"
    )
    operator.eventually(lambda: old not in versions_of(operator, "jobs"), "its Jobs are gone")
    assert open_runs(operator) == {new: 0}


def result(operator: Operator, name: str) -> Any:
    return operator.get("workflow", name).get("status", {}).get("result")


def versions_of(operator: Operator, what: str) -> set[str]:
    labels = (each["metadata"].get("labels", {}) for each in operator.items(what))
    return {each["perdure.dev/version"] for each in labels if "perdure.dev/version" in each}


def test_the_scale_subresource_is_obeyed_in_mode_external(operator: Operator) -> None:
    operator.apply(a_pool(scaling={"mode": "External"}, replicas=1))
    operator.eventually(lambda: len(operator.items("jobs")) == 1, "one Job")
    scale(operator, 3)
    operator.eventually(lambda: len(operator.items("jobs")) == 3, "three Jobs")
    path = f"/apis/perdure.dev/v1alpha1/namespaces/{operator.namespace}/workerpools/orders/scale"
    operator.eventually(
        lambda: (
            json.loads(operator.cluster.kubectl("get", "--raw", path))["status"]
            == {"replicas": 3, "selector": "perdure.dev/pool=orders"}
        ),
        "the scale subresource shows it",
    )
    scale(operator, 0)
    operator.eventually(lambda: operator.items("jobs") == [], "no Job")


def test_kubectl_scale_is_refused_in_the_default_mode_and_says_what_to_write(
    operator: Operator,
) -> None:
    operator.apply(a_pool())
    with pytest.raises(CommandError, match=r"obeyed in scaling\.mode External"):
        scale(operator, 3)


def scale(operator: Operator, replicas: int) -> None:
    arguments = ("scale", "workerpool/orders", f"--replicas={replicas}")
    operator.cluster.kubectl(*arguments, "-n", operator.namespace)


def test_a_sidecar_is_one_to_the_api_server_as_well(operator: Operator) -> None:
    template = {"spec": {"containers": [{"name": "proxy", "image": "proxy:1"}]}}
    operator.apply(a_pool(template=template, scaling={"min": 1}))
    spec = operator.the_job()["spec"]["template"]["spec"]
    (sidecar,) = spec["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("proxy", "Always")
    assert [each["name"] for each in spec["containers"]] == ["worker"]
