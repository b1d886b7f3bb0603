"""One operator on a real API server: Events, code that is edited, and an API server in trouble."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from support.api_proxy import Asked
from support.cluster import Cluster
from support.operator_replicas import ReplicaStage
from support.operator_scene import a_pool
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

POOL = a_pool(image="shop/hello:1", modules=["hello"])
GROUP = "/apis/perdure.dev/v1alpha1"


@pytest.fixture
def stage(cluster: Cluster, tmp_path: Path) -> Iterator[ReplicaStage]:
    with cluster.namespace("citizen") as namespace, ExitStack() as stack:
        yield ReplicaStage(cluster, namespace, tmp_path, stack)
        for log in sorted(tmp_path.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-4000:]}")


def with_pool(stage: ReplicaStage) -> ReplicaStage:
    stage.cluster.apply({**POOL, "metadata": {"name": "orders"}}, namespace=stage.namespace)
    return stage


def code(text: str) -> dict[str, object]:
    metadata = {"name": "hello-code"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"h.py": text}}


def status_error(status: int, reason: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    text = json.dumps({**body, "reason": reason, "message": f"made up: {reason}"})
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def test_describe_shows_what_became_of_a_workflow(stage: ReplicaStage) -> None:
    with_pool(stage).leader("a")
    stage.apply("order-1")
    stage.runs("order-1")
    patch = json.dumps({"spec": {"cancel": True}})
    arguments = ("patch", "workflow", "order-1", "--type=merge", "-p", patch)
    stage.cluster.kubectl(*arguments, "-n", stage.namespace)

    def described() -> str:
        return stage.cluster.kubectl("describe", "workflow", "order-1", "-n", stage.namespace)

    wait_until(lambda: "StartRun" in described() or "Started" in described(), what="it is told")
    events = stage.cluster.get("events.events.k8s.io", namespace=stage.namespace)["items"]
    told = {(each["regarding"]["kind"], each["reason"]) for each in events}
    assert ("Workflow", "Started") in told
    assert ("WorkerPool", "ScaledUp") in told
    assert {each["reportingController"] for each in events if each["reason"] == "Started"} == {
        "perdure.dev/operator"
    }


def test_code_that_is_edited_is_seen_within_seconds(stage: ReplicaStage) -> None:
    stage.leader("a")
    pool = a_pool(code={"configMap": "hello-code"}, scaling={"min": 1})
    stage.cluster.apply(
        code("one = 1"), {**pool, "metadata": {"name": "orders"}}, namespace=stage.namespace
    )

    def version() -> str:
        found = stage.cluster.get("workerpool", "orders", namespace=stage.namespace)
        return str(found.get("status", {}).get("version", ""))

    wait_until(version, what="the pool has a version")
    first = version()
    time.sleep(2)
    stage.cluster.apply(code("one = 2"), namespace=stage.namespace)
    # Without the watch it is seen at the next look of the minute.
    wait_until(lambda: version() != first, what="the new code is seen", within=30)


def test_definitions_that_come_late_are_asked_for_with_words(stage: ReplicaStage) -> None:
    operator = stage.replica("a")
    operator.api.fault = lambda asked: (
        status_error(404, "NotFound") if asked.path == GROUP else None
    )
    wait_until(lambda: "kubectl apply --server-side" in operator.log.read_text(), what="it is said")
    time.sleep(5)
    assert operator.log.read_text().count("kubectl apply --server-side") == 1
    assert operator.is_healthy
    operator.api.fault = lambda _asked: None
    wait_until(lambda: operator.leads, what="it leads")
    with_pool(stage).apply("order-1")
    stage.runs("order-1")


@pytest.mark.parametrize(
    ("status", "reason", "headers"),
    [
        pytest.param(429, "TooManyRequests", {"Retry-After": "1"}, id="429"),
        pytest.param(500, "InternalError", {}, id="500"),
        pytest.param(409, "Conflict", {}, id="409"),
        pytest.param(503, "ServiceUnavailable", {}, id="503"),
    ],
)
def test_answers_that_are_no_answers_are_asked_for_again(
    stage: ReplicaStage, status: int, reason: str, headers: dict[str, str]
) -> None:
    operator = with_pool(stage).leader("a")
    refused: list[Asked] = []

    def fault(asked: Asked) -> web.Response | None:
        # Two of three calls fail, but for the lease.
        if "/leases/" in asked.path or asked.is_watch or len(refused) > 12:
            return None
        if status == 409 and not asked.is_write:
            return None
        refused.append(asked)
        return status_error(status, reason, **headers) if len(refused) % 3 else None

    operator.api.fault = fault
    stage.apply("order-1")
    stage.runs("order-1")
    assert refused
    assert operator.is_healthy


def test_a_watch_that_is_too_old_is_begun_anew(stage: ReplicaStage) -> None:
    operator = with_pool(stage).leader("a")
    gone: list[Asked] = []

    def fault(asked: Asked) -> web.Response | None:
        if not asked.is_watch or len(gone) > 4:
            return None
        gone.append(asked)
        # As the API server does it: an answer that is well, and in it an event that is not.
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410}
        event = {"type": "ERROR", "object": {**said, "reason": "Expired", "message": "too old"}}
        return web.Response(text=f"{json.dumps(event)}\n", content_type="application/json")

    operator.api.fault = fault
    operator.api.break_connections()
    wait_until(lambda: gone, what="a watch is refused")
    stage.apply("order-1")
    stage.runs("order-1")
    assert operator.is_healthy


def test_slow_answers_hold_nothing_up_for_good(stage: ReplicaStage) -> None:
    operator = with_pool(stage).leader("a")
    operator.api.fault = lambda _asked: 0.7
    stage.apply("order-1")
    stage.runs("order-1")
    assert operator.leads


def test_an_api_server_that_goes_and_comes_back_is_said_twice(stage: ReplicaStage) -> None:
    operator = with_pool(stage).leader("a")
    stage.apply("order-1")
    stage.runs("order-1")
    operator.api.cut_off()
    stage.apply("order-2")
    wait_until(lambda: not operator.leads, what="the mandate has ended")
    time.sleep(3)
    operator.api.is_cut_off = False

    stage.runs("order-2")
    log = operator.log.read_text()
    assert log.count("the Kubernetes API is away") == 1
    assert log.count("the Kubernetes API is back") == 1
    # Its term went on: nothing was listed or built up again.
    assert log.count("leading in term") == 1


def test_a_server_that_goes_and_comes_back_is_said_twice(stage: ReplicaStage) -> None:
    operator = with_pool(stage).leader("a")
    stage.apply("order-1")
    stage.runs("order-1")
    stage.restart_server(pause=3)
    stage.apply("order-2")
    stage.runs("order-2")
    log = operator.log.read_text()
    assert log.count("the Perdure server is away") == 1
    assert log.count("the Perdure server is back") == 1


def test_runs_go_on_over_a_restart_of_the_api_server(stage: ReplicaStage) -> None:
    operator = with_pool(stage).leader("a")
    stage.apply("order-1")
    stage.runs("order-1")
    with stage.cluster.api_server_down() as is_down:
        if not is_down:
            pytest.skip("this API server is somebody else's")
        wait_until(lambda: "the Kubernetes API is away" in operator.log.read_text())
    wait_until(lambda: operator.leads, what="a leads again", within=60)
    stage.apply("order-2")
    stage.runs("order-2")
    assert stage.is_running("order-1")
    assert operator.log.read_text().count("standing by") == 1
