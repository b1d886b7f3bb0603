"""Worker pods that the API server does not let anybody make: what the WorkerPool says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import a_cluster
from support.cluster_tools import CHECKOUT
from support.manifests import Manifest
from support.operator_processes import Operator
from support.operator_scene import a_pool

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator on a namespace in which Pod Security "restricted" is enforced."""
    with a_cluster(nodes=False) as cluster:
        crds = str(CHECKOUT / "crds")
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
        with (
            cluster.namespace("refused") as namespace,
            Operator(cluster, namespace, tmp_path_factory.mktemp("refused")) as own,
        ):
            label = "pod-security.kubernetes.io/enforce=restricted"
            cluster.kubectl("label", "namespace", namespace, label)
            yield own


def pods_of(operator: Operator, pool: str) -> list[Any]:
    return [
        each
        for each in operator.items("pods")
        if each["metadata"]["labels"].get("perdure.dev/pool") == pool
    ]


def stalled(operator: Operator, pool: str) -> str:
    """Wait until the pool says that its Job gets no pod, and return the words."""

    def says() -> bool:
        conditions = operator.get("workerpool", pool).get("status", {}).get("conditions", ())
        return any(each["type"] == "Stalled" for each in conditions)

    operator.eventually(says, f"{pool} is stalled")
    status, reason, message = operator.condition("workerpool", pool, "Stalled")
    assert (status, reason) == ("True", "Forbidden")
    assert message.startswith(f"Job {pool}-"), message
    assert operator.get("workerpool", pool)["status"]["phase"] == "Stalled"
    assert len([j for j in operator.items("jobs") if j["metadata"]["name"].startswith(pool)]) == 1
    return message


def test_the_pods_that_are_made_by_default_are_let_in(operator: Operator) -> None:
    operator.apply(a_pool("plain", scaling={"min": 1}))
    operator.eventually(lambda: len(pods_of(operator, "plain")) == 1, "there is a pod")
    conditions = operator.get("workerpool", "plain")["status"]["conditions"]
    assert not any(each["type"] == "Stalled" for each in conditions)


def test_what_pod_security_refuses_is_said_with_its_words(operator: Operator) -> None:
    unsafe = {"name": "worker", "securityContext": {"allowPrivilegeEscalation": True}}
    operator.apply(
        a_pool("unsafe", scaling={"min": 1}, template={"spec": {"containers": [unsafe]}})
    )
    message = stalled(operator, "unsafe")
    assert 'violates PodSecurity "restricted' in message
    assert "allowPrivilegeEscalation" in message


def test_a_missing_account_is_said_and_its_coming_is_enough(operator: Operator) -> None:
    operator.apply(a_pool("nobody", scaling={"min": 1}, serviceAccountName="shop"))
    assert 'serviceaccount "shop" not found' in stalled(operator, "nobody")

    account: Manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop"}}
    operator.apply(account)
    operator.eventually(lambda: bool(pods_of(operator, "nobody")), "the pod is there")

    def is_well() -> bool:
        conditions = operator.get("workerpool", "nobody")["status"]["conditions"]
        return not any(each["type"] == "Stalled" for each in conditions)

    operator.eventually(is_well, "nothing is wrong any more")


def test_a_quota_is_said_and_the_words_stay_the_same(operator: Operator) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    operator.apply(quota)
    operator.eventually(
        lambda: bool(operator.get("resourcequota", "none").get("status")), "counted"
    )
    operator.apply(a_pool("poor", scaling={"min": 1}))
    message = stalled(operator, "poor")
    assert "exceeded quota: none" in message
    (job,) = (j for j in operator.items("jobs") if j["metadata"]["name"].startswith("poor"))
    assert f'pod "{job["metadata"]["name"]}" is forbidden' in message, "no random name"
    operator.cluster.kubectl("delete", "resourcequota", "none", "-n", operator.namespace)
