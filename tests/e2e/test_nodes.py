"""What nodes do to workers: a drain, too little memory, and somebody more important.

Each time the run ends as it should, and the pool says in a condition what became of its workers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import e2e_worker_code
from support.cluster import Manifest
from support.cluster_tools import Announce
from support.e2e import POOL_LABEL, Team
from support.manifests import manifest_of

CODE = Path(e2e_worker_code.__file__)
POOL = "team"
HOST = "kubernetes.io/hostname"


def apply_pool(team: Team, **template: object) -> None:
    """Apply a pool of one worker."""
    team.give_code("code", CODE)
    scaling = {"max": 1, "idleAfter": "20s"}
    code, laid_over = {"configMap": "code"}, {"spec": template}
    team.apply(manifest_of("WorkerPool", POOL, code=code, scaling=scaling, template=laid_over))


def worker_with(**limits: str) -> Manifest:
    """Return what is laid over the worker's container for it to have these resources."""
    return {"name": "worker", "resources": {"limits": limits}}


def begin_long_activity(team: Team) -> str:
    """Have the worker in the middle of an activity, and return its pod."""
    team.apply(manifest_of("Workflow", "long", type="TakesLong", input=[4], workerPool=POOL))
    team.wait_for("jsonpath={.status.currentStep}=take_long", "workflow/long")
    return team.running_pod(POOL)


def a_node(team: Team) -> str:
    """Return a node that takes pods."""
    nodes = team.cluster.get("nodes")["items"]
    free = [each["metadata"]["name"] for each in nodes if "taints" not in each["spec"]]
    return str(free[0])


@contextmanager
def drained(team: Team, node: str) -> Iterator[str]:
    """Drain a node of the pool's workers as an administrator does; on exit it takes pods again."""
    workers = f"--pod-selector={POOL_LABEL}={POOL}"
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"]
    try:
        yield team.cluster.kubectl("drain", node, workers, *options, timeout=90)
    finally:
        team.cluster.kubectl("uncordon", node)


def test_a_worker_ends_what_it_does_when_its_node_is_drained_and_its_pool_waits_for_a_node(
    team: Team, announce: Announce
) -> None:
    node = a_node(team)
    apply_pool(team, nodeSelector={HOST: node})
    worker = begin_long_activity(team)

    began = time.monotonic()
    with drained(team, node) as said:
        took = time.monotonic() - began
        announce(f"$ kubectl drain {node}\n{said}(took {took:.1f} s, an activity of 4 s under it)")
        assert worker in said
        # It had the time to finish; who goes on with the run waits for a node.
        waits = team.wait_for_reason("Unschedulable", "WorkersReady", f"workerpool/{POOL}")
        assert waits["status"] == "False"
        announce(f"the pool says: {waits['message']}")

    team.wait_for("condition=Complete", "workflow/long")
    assert team.status("workflow/long")["result"] == 1, "the attempt"


def test_a_worker_that_takes_too_much_memory_is_said_until_it_may_have_it(
    team: Team, announce: Announce
) -> None:
    apply_pool(team, containers=[worker_with(memory="128Mi")])
    retry = {"initialInterval": "500ms", "backoffCoefficient": 1}
    team.apply(
        manifest_of(
            "Activity", "hog", type="take_memory", input=[2**28], workerPool=POOL, retryPolicy=retry
        )
    )

    said = team.wait_for_reason("WorkersCrashing", "WorkersReady", f"workerpool/{POOL}")
    assert "OOMKilled" in said["message"]
    failure = team.status("activity/hog")["lastFailure"]
    assert "worker lost" in failure["message"]
    announce(f"the activity: {failure['message']}\nthe pool: {said['message']}")

    template = {"spec": {"containers": [worker_with(memory="512Mi")]}}
    team.patch(f"workerpool/{POOL}", {"spec": {"template": template}})
    team.wait_for("condition=Complete", "activity/hog", timeout=120)
    assert team.status("activity/hog")["result"] == 2**28


@pytest.fixture
def priority(team: Team) -> Iterator[str]:
    """Yield the name of a priority class below all others."""
    name = f"{team.namespace}-low"
    team.cluster.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": -10,
        }
    )
    yield name
    team.cluster.kubectl("delete", "priorityclass", name)


def test_a_worker_gives_way_to_a_more_important_pod_and_work_goes_on_afterwards(
    team: Team, priority: str, announce: Announce
) -> None:
    # There is one desk: whoever comes second needs the first to go.
    with offered(team, a_node(team), "example.com/desk"):
        desk = {"example.com/desk": "1"}
        apply_pool(team, priorityClassName=priority, containers=[worker_with(**desk)])
        preempted = begin_long_activity(team)

        team.apply(a_pod_for(team, desk))
        team.wait_for("condition=Ready", "pod/important")
        said = team.wait_for_reason("Unschedulable", "WorkersReady", f"workerpool/{POOL}")
        announce(f"{preempted} gave way; the pool says: {said['message']}")
        team.kubectl("delete", "pod", "important")

        team.wait_for("condition=Complete", "workflow/long")
        assert team.status("workflow/long")["result"] == 1, "it had the time to finish"


@contextmanager
def offered(team: Team, node: str, resource: str) -> Iterator[None]:
    """Have a node offer one of an extended resource for a while."""
    try:
        _offer(team, node, {resource: "1"})
        yield
    finally:
        _offer(team, node, {resource: None})


def _offer(team: Team, node: str, resources: Mapping[str, str | None]) -> None:
    patch = json.dumps({"status": {"capacity": resources, "allocatable": resources}})
    options = ["--subresource=status", "--type=merge", "-p", patch]
    team.cluster.kubectl("patch", "node", node, *options)


def a_pod_for(team: Team, limits: Mapping[str, str]) -> Manifest:
    """Return a pod of ordinary priority that needs these resources and does nothing."""
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    sleeper = {
        "name": "sleeper",
        "image": team.release.worker_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import time; time.sleep(300)"],
        "resources": {"limits": limits},
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "important"},
        "spec": {"containers": [sleeper], "terminationGracePeriodSeconds": 1},
    }
