"""``spec.retries`` on a real API server: what is refused; an operator that is killed between."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Cluster
from support.cluster_tools import CHECKOUT, CommandError
from support.operator_scene import a_pool, a_workflow
from support.processes import Process
from support.retried_order import CODE, DONE
from support.scenes import Scene, lines_of
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

NAME = "order-42"


class Stage:
    """A namespace of a cluster, with a server, a worker, and an operator that can be killed."""

    def __init__(self, cluster: Cluster, scene: Scene) -> None:
        self.cluster, self.scene = cluster, scene
        self.operator = self.start_operator()

    def start_operator(self) -> Process:
        self.operator = self.scene.start_process(
            sys.executable, "-m", "perdure_operator.controllers.main",
            "--server", f"http://{self.scene.address}", "--namespace", self.scene.namespace,
            "--default-image", "none", "--liveness-port", "0",
        )  # fmt: skip
        return self.operator

    def apply(self, *bodies: dict[str, Any]) -> None:
        namespace = self.scene.namespace
        local = [{**b, "metadata": {**b["metadata"], "namespace": namespace}} for b in bodies]
        self.cluster.apply(*local, namespace=namespace)

    def order(self, *retries: dict[str, str]) -> dict[str, Any]:
        return a_workflow(NAME, input=[str(self.scene.folder)], retries=list(retries))

    @property
    def status(self) -> dict[str, Any]:
        body = self.cluster.get("Workflow", NAME, namespace=self.scene.namespace)
        return dict(body.get("status", {}))

    async def phase(self, phase: str) -> dict[str, Any]:
        await eventually(lambda: self.status.get("phase") == phase, within=60, what=phase)
        return self.status


@pytest.fixture
def stage(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    sources = (str(CHECKOUT / each) for each in ("operator", "worker_image"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sources))
    with (
        cluster.namespace("retries") as namespace,
        Scene(tmp_path_factory.mktemp("retries"), namespace=namespace) as scene,
    ):
        scene.start_server()
        scene.start_worker(scene.write("orders.py", CODE), options=("--task-queue", "orders"))
        yield Stage(cluster, scene)
        for log in sorted(scene.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()}")


async def test_a_failed_workflow_is_retried_by_a_manifest_though_the_operator_is_killed(
    stage: Stage,
) -> None:
    ledger = stage.scene.folder / "ledger"
    stage.apply(a_pool(), stage.order())
    first = await stage.phase("Failed")

    # Asked for while nobody is there to hear it.
    stage.operator.kill()
    stage.apply(stage.order({"id": "a1"}))
    stage.start_operator()
    await eventually(lambda: len(stage.status.get("retries", [])) == 1, within=60)
    second = await stage.phase("Failed")
    assert second["runId"] != first["runId"]
    assert [line.split()[0] for line in lines_of(ledger)][3:] == ["ship", "ship"]

    # The same manifest again asks for nothing, nor does a new operator.
    stage.apply(stage.order({"id": "a1"}))
    stage.operator.kill()
    stage.start_operator()

    # Killed while it retries.
    (stage.scene.folder / "stock").touch()
    stage.apply(stage.order({"id": "a1"}, {"id": "a2", "from": "FailedStep"}))
    await eventually(lambda: len(lines_of(ledger)) == 6, within=60)
    stage.operator.kill()
    stage.start_operator()
    third = await stage.phase("Succeeded")

    assert third["result"] == DONE
    assert "failure" not in third
    assert [each["outcome"] for each in third["retries"]] == ["Retried", "Retried"]
    assert third["retries"][1]["runId"] == third["runId"]
    conditions = {each["type"]: each["status"] for each in third["conditions"]}
    assert (conditions["Complete"], conditions["Retried"]) == ("True", "True")
    assert "Failed" not in conditions
    keys = [line.split() for line in lines_of(ledger)]
    assert [what for what, _ in keys] == ["charge", "step", "reserve", "ship", "ship", "ship"]
    assert {key.partition(":")[0] for _, key in keys} == {first["runId"]}

    # One that succeeded is not retried, says so, and stays what it is.
    stage.apply(stage.order({"id": "a1"}, {"id": "a2"}, {"id": "a3"}))
    await eventually(lambda: len(stage.status["retries"]) == 3, within=60)
    assert stage.status["phase"] == "Succeeded"
    assert stage.status["retries"][2]["outcome"] == "Refused"
    assert "no step of it failed" in stage.status["retries"][2]["message"]


async def test_a_workflow_whose_run_is_retried_from_the_command_line_runs_again(
    stage: Stage,
) -> None:
    stage.apply(a_pool(), stage.order())
    first = await stage.phase("Failed")
    (stage.scene.folder / "stock").touch()
    retried = await stage.scene.perdure_async("retry", NAME)
    assert retried.code == 0, retried.err

    after = await stage.phase("Succeeded")
    assert after["runId"] != first["runId"]
    assert "retries" not in after


def test_retries_can_only_be_appended(stage: Stage) -> None:
    stage.apply(a_pool(), stage.order({"id": "a1"}))
    for retries, words in (
        ([], "retries can only be appended"),
        ([{"id": "a1", "from": "Start"}], "a retry cannot be changed once it is there"),
        ([{"id": "a1"}, {"id": "a2", "from": "Middle"}], "Unsupported value"),
        ([{"id": "a1"}, {"id": "a1"}], "uplicate"),
    ):
        with pytest.raises(CommandError, match=words):
            stage.apply(stage.order(*retries))
