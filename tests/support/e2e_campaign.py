"""Faults one after the other while runs come in: operators, server, workers, API server.

Which fault comes next is drawn from a seed, which a failure prints. kubelet makes a container that
dies often wait longer each time; so a container is killed in its first life only, and after that
its pod is taken away by force, which is as sudden.

Some are stopped (SIGSTOP) for longer than their lease instead of killed, and then go on as if
nothing had been: what they then say must not count.
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
from support.e2e import STANDBY, Release, Team, container_id
from support.e2e_errands import BAKING, KINDS, Kind, manifest_for, name_of
from support.e2e_killing import Killer
from support.e2e_order import POOL

SECONDS = float(os.environ.get("PERDURE_TEST_FAULT_SECONDS", "120"))
"""How long faults go on."""
SEED = int(os.environ.get("PERDURE_TEST_FAULT_SEED", "20261123"))

OPEN = ("Pending", "Running", "Suspended", None)
API_SERVER_AGAIN = 60.0
"""Seconds for an API server that was killed to answer kubectl again."""
STOPPED = (11.0, 16.0)
"""Seconds for which somebody is stopped: longer than the leases of workers (8) and operators (10).
"""
BAKED_WITHIN = 12.0
"""Seconds to wait for a worker to be in the middle of something."""
LAST_WORDS = 4.0
"""Seconds until a worker that goes on has been told that it came too late."""
TOO_LATE = "came too late and is dropped"


@dataclass
class Errands:
    """A stream of runs of all kinds in turn, and what people do to them."""

    team: Team
    placed: dict[str, Kind] = field(default_factory=dict)
    """By number, in order."""
    touched: Counter[str] = field(default_factory=Counter)
    """How often something was done to each, by number."""

    def place(self, kind: Kind | None = None) -> None:
        """Apply the next one."""
        number = str(1000 + len(self.placed))
        kind = kind or KINDS[len(self.placed) % len(KINDS)]
        image = self.team.release.worker_image
        manifest = manifest_for(kind, number, image=image)
        insist(lambda: self.team.apply(manifest))
        self.placed[number] = kind

    def touch(self) -> None:
        """Signal, suspend, resume and cancel where it is time to."""
        statuses = self.statuses()
        for number, kind in self.placed.items():
            status = statuses.get(name_of(number), {})
            patch = kind.touch(status, self.touched[number])
            if patch and status.get("phase") in OPEN:
                resource = f"workflow/{name_of(number)}"
                insist(lambda to=resource, spec=patch: self.team.patch(to, {"spec": spec}))
                self.touched[number] += 1

    def bake_until(self, step: str) -> None:
        """Place a run and wait until it is at this step, if it comes there in a few seconds."""
        self.place(BAKING)
        name = name_of(list(self.placed)[-1])
        deadline = time.monotonic() + BAKED_WITHIN
        while time.monotonic() < deadline:
            if self.statuses().get(name, {}).get("currentStep") == step:
                return
            time.sleep(0.3)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the status of each run's Workflow, by name."""
        items = insist(lambda: self.team.cluster.get("workflows", namespace=self.team.namespace))
        return {each["metadata"]["name"]: each.get("status", {}) for each in items["items"]}

    def open(self) -> list[str]:
        """Return the names of those that have not ended."""
        return [name for name, each in self.statuses().items() if each.get("phase") in OPEN]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stopped:
    """Somebody who does not run for a while."""

    container: str
    pod: str
    """A worker's; otherwise empty."""
    until: float


@dataclass
class Faults:
    """What goes wrong, by a seed."""

    release: Release
    team: Team
    killer: Killer
    errands: Errands
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    """Reports of workers that had been stopped and were told that they came too late."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._stopped: list[_Stopped] = []
        self._listened_to: dict[str, float] = {}
        # How often each is drawn: an API server takes long to come back, and little happens then.
        self._kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "operator killed": (3, lambda: self._kill("operator")),
            "server killed": (3, lambda: self._kill("server")),
            "worker killed": (4, self._kill_worker),
            "worker stopped": (4, self._stop_worker),
            "operator stopped": (2, self._stop_operator),
            "standby deleted": (1, self._delete_standby),
            "pod of one activity killed": (2, self._kill_own_pod),
            "control plane's pod deleted": (2, self._delete_control_plane),
            "API server killed": (1, self.release.cluster.restart_api_server),
        }

    def strike(self) -> str:
        """Do one of them, and return which; empty when there was nobody to strike."""
        weights = [weight for weight, _ in self._kinds.values()]
        (what,) = self._random.choices(list(self._kinds), weights=weights)
        try:
            happened = self._kinds[what][1]()
        except (CommandError, StopIteration):
            return ""  # Whoever was meant is gone already, or the API server is.
        if happened:
            self.done[what] += 1
        return what if happened else ""

    def wake(self, *, all_of_them: bool = False) -> None:
        """Let those go on who have been stopped for long enough, and hear what they are told."""
        now = time.monotonic()
        for each in [e for e in self._stopped if all_of_them or e.until <= now]:
            self._stopped.remove(each)
            try:
                self.killer.go_on(each.container)
            except CommandError:
                continue  # It was killed as it was.
            if each.pod:
                self._listened_to[each.pod] = time.monotonic() + LAST_WORDS
        for pod in [pod for pod, since in self._listened_to.items() if since <= now]:
            del self._listened_to[pod]
            self.refused += self.team.kubectl("logs", pod, check=False).count(TOO_LATE)

    @property
    def is_over(self) -> bool:
        """Whether nobody is stopped any more, and all have been heard."""
        return not self._stopped and not self._listened_to

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

    def _delete_standby(self) -> bool:
        self.release.kubectl("delete", "pod", "-l", STANDBY, "--force", "--grace-period=0")
        return True

    def _kill_worker(self) -> bool:
        # It has had its effect then, and has not reported it.
        self.errands.bake_until("glaze")
        pod = self._any_of(self.team.pods(POOL))
        if pod:
            self.killer.kill(container_id(pod, "worker"))
        return bool(pod)

    def _kill_own_pod(self) -> bool:
        selector = ("pods", "-l", "perdure.dev/activity")
        pod = self._any_of(self.team.cluster.get(*selector, namespace=self.team.namespace)["items"])
        if pod:
            first = pod["status"]["containerStatuses"][0]["name"]
            self.killer.kill(container_id(pod, first))
        return bool(pod)

    def _stop_worker(self) -> bool:
        # Its effect comes when it goes on, too late.
        self.errands.bake_until("bake")
        pod = self._any_of(self.team.pods(POOL))
        return bool(pod) and self._stop(container_id(pod, "worker"), pod["metadata"]["name"])

    def _stop_operator(self) -> bool:
        """Stop the one that leads, whichever it is."""
        lease = self.release.cluster.get("lease/perdure-operator", namespace=self.release.namespace)
        leader = lease["spec"].get("holderIdentity", "").partition("_")[0]
        pods = self.release.cluster.get("pods", namespace=self.release.namespace)["items"]
        pod = next(each for each in pods if each["metadata"]["name"] == leader)
        return self._stop(container_id(pod, "operator"))

    def _stop(self, container: str, pod: str = "") -> bool:
        if any(each.container == container for each in self._stopped):
            return False
        self.killer.stop(container)
        until = time.monotonic() + self._random.uniform(*STOPPED)
        self._stopped.append(_Stopped(container=container, pod=pod, until=until))
        return True

    def _any_of(self, pods: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one of those that run; an empty one when none does."""
        running = [
            pod
            for pod in pods
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        return self._random.choice(running) if running else {}


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
