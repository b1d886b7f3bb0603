"""Operators as processes, each behind a proxy of its own before a real API server."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from support.api_proxy import ApiProxy
from support.cluster import Cluster
from support.operator_scene import a_workflow
from support.processes import Process, Server
from support.waiting import wait_until

LEASE_SECONDS = 4


class Replica:
    """One operator, and what it asks of the API server."""

    def __init__(self, stage: ReplicaStage, name: str) -> None:
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


class ReplicaStage:
    """A namespace with a server, for replicas to act in."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, stack: ExitStack) -> None:
        self.cluster, self.namespace, self.folder, self.stack = cluster, namespace, folder, stack
        log = folder / "server.log"
        self.server = stack.enter_context(Server(folder / "perdure.db", log=log))

    def replica(self, name: str) -> Replica:
        """Start an operator."""
        return Replica(self, name)

    def restart_server(self, *, pause: float) -> None:
        """Kill the server, and start another one at its address after some seconds."""
        port = self.server.port
        self.server.kill()
        time.sleep(pause)
        log = self.folder / "server.log"
        self.server = self.stack.enter_context(
            Server(self.folder / "perdure.db", port=port, log=log)
        )

    def leader(self, name: str) -> Replica:
        """Start the first replica, and wait until it leads."""
        replica = self.replica(name)
        wait_until(lambda: replica.leads, what=f"{name} leads")
        return replica

    def standby(self, name: str) -> Replica:
        """Start another one, and wait until it stands by."""
        replica = self.replica(name)
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
