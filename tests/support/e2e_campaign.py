"""Faults one after the other while orders come in: operator, server, workers, API server.

Which fault comes next is drawn from a seed, which a failure prints. kubelet makes a container that
dies often wait longer each time; so a container is killed in its first life only, and after that
its pod is taken away by force, which is as sudden.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.cluster_tools import CommandError
from support.e2e import Release, Team, container_id
from support.e2e_killing import Killer
from support.e2e_order import POOL, OrderManifests

SECONDS = float(os.environ.get("PERDURE_TEST_FAULT_SECONDS", "90"))
"""How long faults go on."""
SEED = int(os.environ.get("PERDURE_TEST_FAULT_SEED", "20261123"))

REMINDED = "ActivityCompleted: remind-customer"
OPEN = ("Pending", "Running", None)
_WEIGHTS = (3, 3, 4, 2, 1)
"""How often each fault is drawn: an API server takes long to come back, and little happens then."""
API_SERVER_AGAIN = 60.0
"""Seconds for an API server that was killed to answer kubectl again."""


@dataclass
class Orders:
    """A stream of orders, each answered for once its customer has been reminded."""

    team: Team
    manifests: OrderManifests
    placed: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def place(self) -> None:
        """Apply the next order."""
        number = str(1000 + len(self.placed))
        workflow = {**self.manifests.workflow, "metadata": {"name": f"order-{number}"}}
        order = {"order_id": number, "escalate_after": 2, "remind_after": 4}
        workflow["spec"] = {**workflow["spec"], "input": [order]}
        insist(lambda: self.team.apply(workflow))
        self.placed.append(number)

    def answer(self) -> None:
        """Answer for the warehouse where it is time to."""
        for name, status in self.statuses().items():
            tail = status.get("history", {}).get("tail", [])
            if name not in self.answered and any(REMINDED in line for line in tail):
                insist(lambda name=name: self.team.signal(name, "a1", "warehouse_answered", True))
                self.answered.add(name)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the status of each order's Workflow, by name."""
        items = insist(lambda: self.team.cluster.get("workflows", namespace=self.team.namespace))
        return {each["metadata"]["name"]: each.get("status", {}) for each in items["items"]}

    def open(self) -> list[str]:
        """Return the names of those that have not ended."""
        return [name for name, each in self.statuses().items() if each.get("phase") in OPEN]


@dataclass
class Faults:
    """What goes wrong, by a seed."""

    release: Release
    team: Team
    killer: Killer
    seed: int
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._kinds: list[tuple[str, Callable[[], bool]]] = [
            ("operator killed", lambda: self._kill("operator")),
            ("server killed", lambda: self._kill("server")),
            ("worker killed", self._kill_worker),
            ("control plane's pod deleted", self._delete_control_plane),
            ("API server killed", self.release.cluster.restart_api_server),
        ]

    def strike(self) -> str:
        """Do one of them, and return which; empty when there was nobody to strike."""
        (what, fault), *_ = self._random.choices(self._kinds, weights=_WEIGHTS)
        try:
            happened = fault()
        except (CommandError, StopIteration):
            return ""  # Whoever was meant is gone already, or the API server is.
        if happened:
            self.done[what] += 1
        return what if happened else ""

    def _kill(self, name: str) -> bool:
        pod = self.release.pod()
        if self._lives(pod, name) > 0:
            return self._delete_control_plane()
        self.killer.kill(container_id(pod, name))
        return True

    def _lives(self, pod: dict[str, Any], name: str) -> int:
        containers = pod["status"].get("containerStatuses", [])
        return next((each["restartCount"] for each in containers if each["name"] == name), 1)

    def _delete_control_plane(self) -> bool:
        name = self.release.pod()["metadata"]["name"]
        self.release.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        return True

    def _kill_worker(self) -> bool:
        running = [
            pod
            for pod in self.team.pods(POOL)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        if not running:
            return False
        self.killer.kill(container_id(self._random.choice(running), "worker"))
        return True


def insist(call: Callable[[], Any], *, patience: float = API_SERVER_AGAIN) -> Any:
    """Do it until the API server is there."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return call()
        except CommandError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
