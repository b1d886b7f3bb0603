"""Signals to processes in containers, which the API itself has no way to ask for.

What a container's own processes send to its first one the kernel ignores, so a privileged pod in
the node's process namespace does it. It finds the processes by the container's id.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from support.cluster import TEST_LABEL, Cluster

SCRIPT = """
import os, pathlib, signal, sys
number = signal.Signals[sys.argv[2]]
reached = []
for entry in pathlib.Path("/proc").glob("[0-9]*/cgroup"):
    try:
        if sys.argv[1] in entry.read_text():
            os.kill(int(entry.parent.name), number)
            reached.append(entry.parent.name)
    except (OSError, ProcessLookupError):
        pass
sys.exit(0 if reached else "no process of that container")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killer:
    """A pod that kills, or stops for a while, what runs in other pods of its node."""

    cluster: Cluster
    namespace: str

    def kill(self, container_id: str) -> None:
        """Send SIGKILL to all processes of a container."""
        self._send("SIGKILL", container_id)

    def stop(self, container_id: str) -> None:
        """Send SIGSTOP: they do nothing until :meth:`go_on`, and know nothing of it."""
        self._send("SIGSTOP", container_id)

    def go_on(self, container_id: str) -> None:
        """Send SIGCONT."""
        self._send("SIGCONT", container_id)

    def _send(self, signal: str, container_id: str) -> None:
        command = ("python", "-c", SCRIPT, container_id, signal)
        self.cluster.kubectl("exec", "killer", "-n", self.namespace, "--", *command)


@contextmanager
def a_killer(cluster: Cluster, image: str) -> Iterator[Killer]:
    """Start the killer; on exit delete it with its namespace."""
    namespace = f"killer-{uuid4().hex[:8]}"
    labels = {TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "privileged"}
    metadata = {"name": namespace, "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        cluster.eventually(
            lambda: bool(cluster.get("serviceaccount", "default", namespace=namespace)),
            what=f"the default service account of {namespace}",
        )
        cluster.apply(_pod(image), namespace=namespace)
        cluster.wait_for("condition=Ready", "pod/killer", namespace=namespace)
        yield Killer(cluster=cluster, namespace=namespace)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def _pod(image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "killer"},
        "spec": {
            "hostPID": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "securityContext": {"privileged": True, "runAsUser": 0},
                }
            ],
        },
    }
