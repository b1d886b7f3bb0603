"""Two operators on one API server: one leads, and one that led writes nothing any more.

Each has a proxy of its own before the API server, which records what it asks.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from support.api_proxy import ApiProxy
from support.cluster import Cluster, a_cluster
from support.cluster_tools import CHECKOUT
from support.operator_scene import a_pool, a_workflow
from support.processes import Process, Server
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

LEASE_SECONDS = 4
POOL = a_pool(image="shop/hello:1", modules=["hello"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """An API server with the definitions of this checkout."""
    with a_cluster(nodes=False) as cluster:
        crds = str(CHECKOUT / "crds")
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
        yield cluster


class Replica:
    """One operator, and what it asks of the API server."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name, self.log = name, stage.folder / f"{name}.log"
        self.api = stage.stack.enter_context(ApiProxy(stage.cluster.kubeconfig))
        kubeconfig = self.api.write_kubeconfig(stage.folder / f"{name}.kubeconfig")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.port = port
        command = [sys.executable, "-m", "perdure_operator.controllers.main"]
        command += ["--server", f"http://{stage.server.address}", "--namespace", stage.namespace]
        command += ["--default-image", "worker:1", "--liveness-port", str(port)]
        command += ["--lease", f"{stage.namespace}/operator", "--identity", name]
        command += ["--lease-duration", str(LEASE_SECONDS)]
        environment = {"KUBECONFIG": str(kubeconfig)}
        self.process = stage.stack.enter_context(Process(command, self.log, environment))

    @property
    def leads(self) -> bool:
        return "perdure_operator_leader 1.0" in self._read("/metrics")

    @property
    def is_healthy(self) -> bool:
        return self._read("/healthz") == "ok"

    def _read(self, path: str) -> str:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""


class Stage:
    """A namespace with a server, for replicas to act in."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, stack: ExitStack) -> None:
        self.cluster, self.namespace, self.folder, self.stack = cluster, namespace, folder, stack
        log = folder / "server.log"
        self.server = stack.enter_context(Server(folder / "perdure.db", log=log))

    def leader(self, name: str) -> Replica:
        """Start the first replica, and wait until it leads."""
        replica = Replica(self, name)
        wait_until(lambda: replica.leads, what=f"{name} leads")
        return replica

    def standby(self, name: str) -> Replica:
        """Start another one, and wait until it stands by."""
        replica = Replica(self, name)
        wait_until(lambda: replica.is_healthy, what=f"{name} is healthy")
        wait_until(
            lambda: any("/leases/" in asked.path for asked in replica.api.asked),
            what=f"{name} looks at the lease",
        )
        return replica

    def apply(self, name: str) -> None:
        workflow = {**a_workflow(name, type="Hello"), "metadata": {"name": name}}
        self.cluster.apply(workflow, namespace=self.namespace)

    def is_running(self, name: str) -> bool:
        found = self.cluster.get("workflow", name, namespace=self.namespace)
        return bool(found.get("status", {}).get("phase") == "Running")

    def runs(self, name: str) -> None:
        wait_until(lambda: self.is_running(name), what=f"{name} is running")


@pytest.fixture
def stage(cluster: Cluster, tmp_path: Path) -> Iterator[Stage]:
    with cluster.namespace("lead") as namespace, ExitStack() as stack:
        stage = Stage(cluster, namespace, tmp_path, stack)
        cluster.apply({**POOL, "metadata": {"name": "orders"}}, namespace=namespace)
        yield stage
        for log in sorted(tmp_path.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-4000:]}")


def test_a_standby_writes_nothing_and_takes_over_from_a_killed_leader(stage: Stage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    stage.apply("order-1")
    stage.runs("order-1")
    assert not second.leads
    assert second.is_healthy
    assert second.api.writes() == []
    assert not [asked for asked in second.api.asked if asked.is_watch]

    first.process.kill()
    killed = time.monotonic()
    stage.apply("order-2")
    wait_until(lambda: second.leads, what="b leads")
    assert time.monotonic() - killed < LEASE_SECONDS + 1.5
    stage.runs("order-2")


def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: Stage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    began = time.monotonic()
    assert first.process.stop() == 0
    stopped = time.monotonic()
    wait_until(lambda: second.leads, what="b leads")

    assert stopped - began < 5
    assert time.monotonic() - stopped < 1.5
    assert "stopped" in first.log.read_text()
    assert second.process.stop() == 0


def test_a_leader_that_was_stopped_beyond_its_lease_writes_nothing_any_more(stage: Stage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    stage.apply("order-1")
    stage.runs("order-1")
    first.process.signal(signal.SIGSTOP)
    # What it is to find when it wakes up: events that it has not read, and looks that are due.
    for number in range(2, 22):
        stage.apply(f"order-{number}")
    wait_until(lambda: second.leads, what="b leads")
    stage.runs("order-21")
    woken = time.monotonic()
    first.process.signal(signal.SIGCONT)
    wait_until(lambda: first.log.read_text().count("standing by") == 2, what="a knows")
    time.sleep(2)

    assert first.api.writes(since=woken, but="") == [
        asked for asked in first.api.writes(since=woken, but="") if "/leases/" in asked.path
    ]
    assert first.api.writes(since=woken) == []
    assert first.is_healthy
    assert not first.leads
    assert second.leads

    # It stands by again, and leads when it is its turn.
    second.process.kill()
    wait_until(lambda: first.leads, what="a leads again")
    stage.apply("order-22")
    stage.runs("order-22")


def test_a_leader_that_is_cut_off_stops_before_another_one_begins(stage: Stage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    first.api.cut_off()
    while first.leads:
        assert not second.leads
        time.sleep(0.05)
    wait_until(lambda: second.leads, what="b leads")
    reached = time.monotonic()
    first.api.is_cut_off = False
    wait_until(lambda: first.log.read_text().count("standing by") == 2, what="a knows")

    assert first.api.writes(since=reached) == []
    stage.apply("order-1")
    stage.runs("order-1")
