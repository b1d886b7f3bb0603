"""The chart, installed on a real API server without nodes: admission, rights, upgrade.

Whether its pods run is for the end-to-end tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.cluster_tools import CHECKOUT

CHART = str(CHECKOUT / "charts" / "perdure")

pytestmark = pytest.mark.timeout(600)


def install(cluster: Cluster, namespace: str, *values: str) -> str:
    options = [option for value in values for option in ("--set", value)]
    return cluster.helm(
        "upgrade", "--install", "perdure", CHART, "-n", namespace, "--set=crds.install=false",
        *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wide(cluster: Cluster) -> Iterator[str]:
    """A namespace with the chart as it is by default."""
    with cluster.namespace("chart") as namespace:
        install(cluster, namespace)
        yield namespace
        cluster.helm("uninstall", "perdure", "-n", namespace)


@pytest.fixture(scope="module")
def narrow(cluster: Cluster) -> Iterator[str]:
    """A namespace with the chart that keeps to it."""
    with cluster.namespace("chart") as namespace:
        install(cluster, namespace, "namespaced=true", "networkPolicy.enabled=true")
        yield namespace
        cluster.helm("uninstall", "perdure", "-n", namespace)


def may(cluster: Cluster, release: str, verb: str, resource: str, namespace: str) -> bool:
    account = f"--as=system:serviceaccount:{release}:perdure"
    answer = cluster.kubectl("auth", "can-i", verb, resource, account, "-n", namespace, check=False)
    return answer.strip() == "yes"


def test_the_pod_is_admitted_where_only_restricted_pods_are(cluster: Cluster, wide: str) -> None:
    """The namespace enforces it; a pod that does not comply is never created."""
    cluster.eventually(
        lambda: len(cluster.get("pods", namespace=wide)["items"]) == 1,
        what="the pod of the Deployment",
        timeout=30,
    )


def test_installing_again_changes_nothing_that_would_restart_the_pod(
    cluster: Cluster, wide: str
) -> None:
    before = cluster.get("deployment", "perdure", namespace=wide)["metadata"]["generation"]

    install(cluster, wide)

    after = cluster.get("deployment", "perdure", namespace=wide)["metadata"]["generation"]
    assert after == before


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("watch", "workflows.perdure.dev"),
        ("patch", "workflows.perdure.dev/status"),
        ("create", "jobs.batch"),
        ("watch", "pods"),
        ("get", "configmaps"),
        ("create", "configmaps"),
        ("delete", "controllerrevisions.apps"),
    ],
)
def test_the_operator_may_do_its_work_in_every_namespace(
    cluster: Cluster, wide: str, verb: str, resource: str
) -> None:
    assert may(cluster, wide, verb, resource, "default")


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("create", "serviceaccounts/token"),
        ("create", "pods"),
        ("delete", "pods"),
        ("create", "pods/exec"),
        ("update", "leases.coordination.k8s.io"),
        ("create", "schedules.perdure.dev"),
        ("patch", "configmaps"),
        ("delete", "configmaps"),
    ],
)
def test_the_operator_may_not_do_what_is_not_its_work(
    cluster: Cluster, wide: str, verb: str, resource: str
) -> None:
    assert not may(cluster, wide, verb, resource, "default")


def test_a_namespaced_operator_works_in_its_namespace_and_sees_no_other(
    cluster: Cluster, narrow: str
) -> None:
    assert may(cluster, narrow, "create", "jobs.batch", narrow)
    assert may(cluster, narrow, "watch", "workflows.perdure.dev", narrow)
    assert not may(cluster, narrow, "create", "jobs.batch", "default")
    assert not may(cluster, narrow, "watch", "workflows.perdure.dev", "default")
    review = "localsubjectaccessreviews.authorization.k8s.io"
    assert may(cluster, narrow, "create", review, narrow)
    assert not may(cluster, narrow, "create", review, "default")
    assert not may(cluster, narrow, "create", "tokenreviews.authentication.k8s.io", narrow)


def test_of_secrets_the_server_reads_its_own_alone(cluster: Cluster, wide: str) -> None:
    assert may(cluster, wide, "patch", "secrets/perdure-server-certificate", wide)
    for verb, which in (
        ("get", "secrets/another"),
        ("list", "secrets"),
        ("create", "secrets"),
        ("delete", "secrets/perdure-server-certificate"),
    ):
        assert not may(cluster, wide, verb, which, wide)


def test_who_may_edit_a_namespace_may_edit_the_custom_resources(
    cluster: Cluster, wide: str
) -> None:
    cluster.kubectl(
        "create", "rolebinding", "editors", "--clusterrole=edit", "--user=erin", "-n", wide
    )

    def erin_may(verb: str) -> bool:
        answer = cluster.kubectl(
            "auth", "can-i", verb, "workflows.perdure.dev", "--as=erin", "-n", wide, check=False
        )
        return answer.strip() == "yes"

    cluster.eventually(lambda: erin_may("create"), what="aggregated rights", timeout=30)
    assert not erin_may("impersonate")


def test_the_claim_outlives_the_release(cluster: Cluster) -> None:
    with cluster.namespace("chart") as namespace:
        install(cluster, namespace, "namespaced=true")

        cluster.helm("uninstall", "perdure", "-n", namespace)

        assert cluster.get("pvc", "perdure", namespace=namespace)
        assert install(cluster, namespace, "namespaced=true")


def test_where_it_is_granted_workers_are_let_in_where_it_says(
    cluster: Cluster,
) -> None:
    with cluster.namespace("chart") as namespace, cluster.namespace("shop") as shop:
        install(cluster, namespace, "auth.workers=Granted", f"auth.workerNamespaces={{{shop}}}")
        cluster.eventually(
            lambda: len(cluster.get("pods", namespace=namespace)["items"]) == 1,
            what="the pod of the Deployment",
            timeout=30,
        )

        assert may(cluster, namespace, "create", "tokenreviews.authentication.k8s.io", "default")
        assert may(cluster, namespace, "create", "workflows.perdure.dev", "default")
        account = f"--as=system:serviceaccount:{shop}:default"
        groups = f"--as-group=system:serviceaccounts:{shop}"
        asked = ("create", "workerpools.perdure.dev", "--subresource=connect", account, groups)

        def let_in(where: str) -> bool:
            said = cluster.kubectl("auth", "can-i", *asked, "-n", where, check=False)
            return said.strip() == "yes"

        assert let_in(shop)
        assert not let_in(namespace)
        cluster.helm("uninstall", "perdure", "-n", namespace)
