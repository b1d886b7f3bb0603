"""The store's volume is lost under a real operator and a real API server: Workflows go on."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from perdure.client import WorkflowExecutionStatus
from support.cluster import Cluster
from support.cluster_tools import CHECKOUT
from support.operator_scene import a_pool, a_workflow
from support.scenes import Scene, lines_of
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

CODE = """
    from datetime import timedelta
    from pathlib import Path

    from perdure import activity, workflow


    @activity.defn
    def charge(ledger: str, what: str) -> str:
        with Path(ledger).open("a") as file:
            file.write(f"{what}\\n")
        return f"paid-{what}"


    @workflow.defn
    class Order:
        def __init__(self) -> None:
            self.approved = False

        @workflow.signal
        def approve(self) -> None:
            self.approved = True

        @workflow.run
        async def run(self, ledger: str, padding: str = "") -> list[str]:
            quick = {"start_to_close_timeout": timedelta(seconds=20)}
            paid = await workflow.execute_activity(charge, args=[ledger, "charge"], **quick)
            await workflow.wait_condition(lambda: self.approved)
            return [paid, await workflow.execute_activity(charge, args=[ledger, "ship"], **quick)]
"""

OPERATOR = "perdure_operator.controllers.main"


@pytest.fixture
def stage(
    cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Cluster, Scene]]:
    """A namespace of the cluster, with a server, an operator and a worker for it."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    sources = (str(CHECKOUT / each) for each in ("operator", "worker_image"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sources))
    with (
        cluster.namespace("lost") as namespace,
        Scene(tmp_path_factory.mktemp("lost"), namespace=namespace) as scene,
    ):
        scene.start_server()
        scene.start_process(
            sys.executable, "-m", OPERATOR,
            "--server", f"http://{scene.address}", "--namespace", namespace,
            "--default-image", "none", "--liveness-port", str(free_port()),
        )  # fmt: skip
        worker = scene.write("orders.py", CODE)
        scene.start_worker(worker, options=("--task-queue", "orders"))
        yield cluster, scene
        for log in sorted(scene.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()}")


async def test_what_was_recorded_is_not_done_again_and_what_cannot_go_on_is_said(
    stage: tuple[Cluster, Scene],
) -> None:
    cluster, scene = stage
    ledger = scene.folder / "ledger"
    noise = os.urandom(30_000).hex()
    for body in (
        a_pool(),
        a_workflow(input=[str(ledger)]),
        a_workflow("too-long", input=[str(ledger), noise]),
    ):
        cluster.apply(in_namespace(body, scene.namespace), namespace=scene.namespace)
    for name in ("order-42", "too-long"):
        await eventually(
            lambda name=name: status(cluster, scene, name).get("history", {}).get("events", 0) >= 5,
            within=60,
            what=f"{name} waits",
        )
    before = status(cluster, scene, "order-42")
    assert before["checkpoint"]["events"] == before["history"]["events"]
    assert "checkpoint" not in status(cluster, scene, "too-long")

    scene.server.stop()
    for file in scene.folder.glob("perdure.db*"):
        file.unlink()
    scene.restart_server()

    def stalled() -> str:
        conditions = status(cluster, scene, "too-long")["conditions"]
        return next((each["reason"] for each in conditions if each["type"] == "Stalled"), "")

    await eventually(lambda: stalled() == "StateLost", within=60)
    patch = json.dumps({"spec": {"signals": [{"id": "a1", "name": "approve"}]}})
    cluster.kubectl(
        "patch", "workflow", "order-42", "-n", scene.namespace, "--type=merge", "-p", patch
    )
    await eventually(lambda: status(cluster, scene, "order-42")["phase"] == "Succeeded", within=60)
    after = status(cluster, scene, "order-42")
    assert after["result"] == ["paid-charge", "paid-ship"]
    assert after["runId"] == before["runId"]
    assert sorted(lines_of(ledger)) == ["charge", "charge", "ship"], "one charge for each order"


async def test_an_older_backup_repeats_nothing_that_was_recorded_since(
    stage: tuple[Cluster, Scene],
) -> None:
    cluster, scene = stage
    ledger = scene.folder / "ledger"
    for body in (
        a_pool(),
        a_workflow(input=[str(ledger)]),
        a_workflow("waiting", input=[str(ledger)]),
    ):
        cluster.apply(in_namespace(body, scene.namespace), namespace=scene.namespace)
    for name in ("order-42", "waiting"):
        await eventually(
            lambda name=name: status(cluster, scene, name).get("history", {}).get("events", 0) >= 5,
            within=60,
            what=f"{name} waits",
        )
    scene.server.stop()
    with closing(sqlite3.connect(scene.db)) as db:
        db.execute("VACUUM INTO ?", (str(scene.folder / "backup.db"),))
    scene.restart_server()
    signal = {"spec": {"signals": [{"id": "a1", "name": "approve"}]}}
    patch = ("-n", scene.namespace, "--type=merge", "-p", json.dumps(signal))
    cluster.kubectl("patch", "workflow", "order-42", *patch)
    await eventually(lambda: status(cluster, scene, "order-42")["phase"] == "Succeeded", within=60)
    before = status(cluster, scene, "order-42")

    scene.server.stop()
    for file in scene.folder.glob("perdure.db*"):
        file.unlink()
    (scene.folder / "backup.db").rename(scene.db)
    scene.restart_server()

    async def is_over() -> bool:
        async with scene.client() as client:
            run = await client.get_workflow_handle("order-42").describe()
            return run.status is WorkflowExecutionStatus.COMPLETED

    await eventually(is_over, within=60, what="the run is brought forward to its end")
    cluster.kubectl("patch", "workflow", "waiting", *patch)
    await eventually(lambda: status(cluster, scene, "waiting")["phase"] == "Succeeded", within=60)
    assert status(cluster, scene, "order-42") == before
    assert sorted(lines_of(ledger)) == ["charge", "charge", "ship", "ship"]


def in_namespace(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def status(cluster: Cluster, scene: Scene, name: str) -> dict[str, Any]:
    body = cluster.get("Workflow", name, namespace=scene.namespace)
    return dict(body.get("status", {}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
