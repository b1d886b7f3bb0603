"""An upgrade of the chart with runs in flight, and what an uninstall leaves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support import e2e_worker_code
from support.cluster import Cluster
from support.cluster_fixtures import ClusterImages
from support.cluster_tools import Announce
from support.e2e import CRDS, Release, Team, helm_install, helm_upgrade
from support.e2e_order import (
    ORDER,
    POOL,
    WORKFLOW,
    answer,
    history_of,
    order_manifests,
    place_order,
    save_ledger,
)
from support.e2e_previous import PREVIOUS, find_previous
from support.manifests import manifest_of
from support.order import check_effects

CODE = Path(e2e_worker_code.__file__)
LISTED = "deployments,replicasets,pods,services,configmaps,secrets,jobs,roles,rolebindings"


def test_runs_in_flight_outlive_an_upgrade_and_an_uninstall_leaves_the_data_alone(
    cluster: Cluster,
    images: ClusterImages,
    release: Release,
    team: Team,
    announce: Announce,
    tmp_path: Path,
) -> None:
    previous = find_previous(cluster, announce=announce)
    if previous is None:
        pytest.skip(f"the checkout has no history that reaches back to {PREVIOUS}")
    with release.away(), cluster.namespace("upgraded") as namespace:
        apply_crds(cluster, previous.crds)
        try:
            helm_install(
                cluster, previous.images, namespace, "crds.install=false", chart=previous.chart
            )
            begin_work(team)

            apply_crds(cluster, CRDS)
            began = time.monotonic()
            helm_upgrade(cluster, images, namespace, "crds.install=false")
            announce(f"upgraded in {time.monotonic() - began:.1f} s with runs in flight")
            check_work(team, tmp_path)

            cluster.helm("uninstall", "perdure", "-n", namespace, "--wait")
            check_nothing_is_left(cluster, namespace)
        finally:
            apply_crds(cluster, CRDS)


def apply_crds(cluster: Cluster, folder: Path) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))


def begin_work(team: Team) -> None:
    """Have an order that waits for its warehouse, one run that is held, one that takes long."""
    place_order(team, order_manifests(escalate_after=1, remind_after=600))
    team.give_code("code", CODE)
    scaling = {"idleAfter": "5s"}
    team.apply(
        manifest_of("WorkerPool", "team", code={"configMap": "code"}, scaling=scaling),
        manifest_of("Workflow", "held", type="Greeting", input=["you"], workerPool="team",
                    suspend=True),
        manifest_of("Workflow", "long", type="TakesLong", input=[8], workerPool="team"),
    )  # fmt: skip
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)
    team.wait_for("jsonpath={.status.phase}=Suspended", "workflow/held")
    team.wait_for("jsonpath={.status.phase}=Running", "workflow/long")


def check_work(team: Team, folder: Path) -> None:
    """All goes on as it was, with the workers of before and with those of the new version."""
    team.patch("workflow/held", {"spec": {"suspend": False}})
    order = order_manifests(escalate_after=1, remind_after=600)
    assert "created" not in team.apply(order.workflow)
    team.wait_for("condition=Complete", "workflow/long")
    team.wait_for("condition=Complete", "workflow/held")
    team.apply(manifest_of("Workflow", "new", type="Greeting", input=["me"], workerPool="team"))
    team.wait_for("condition=Complete", "workflow/new")
    answer(team)
    team.wait_for("condition=Complete", WORKFLOW)
    assert team.status(WORKFLOW)["phase"] == "Succeeded"
    effects = ("charge", "escalate", "ship", "receipt")
    ledger = save_ledger(team, folder)
    check_effects(ledger, "42", history_of(team), effects=effects)
    # Finalizers are the operator's to take off: what is to go goes before it does.
    team.kubectl("delete", "workflows,workerpools", "--all", "--timeout=60s")
    team.wait_for_no_worker(POOL)
    assert ORDER not in team.kubectl("get", "workflows", "-o", "name")


def check_nothing_is_left(cluster: Cluster, namespace: str) -> None:
    """The volume claim is kept on purpose; nothing else is."""

    def left() -> list[str]:
        return cluster.kubectl("get", LISTED, "-n", namespace, "-o", "name").split()

    cluster.eventually(
        lambda: left() == ["configmap/kube-root-ca.crt"], what="the namespace is empty"
    )
    claims = cluster.kubectl("get", "persistentvolumeclaims", "-n", namespace, "-o", "name").split()
    assert claims == ["persistentvolumeclaim/perdure"]
    wide = "clusterroles,clusterrolebindings"
    assert namespace not in cluster.kubectl("get", wide, "-o", "name")
