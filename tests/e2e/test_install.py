"""The chart on a real cluster: it is up, says so, and needs no cluster role for one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import e2e_worker_code
from support.cluster import Cluster
from support.cluster_fixtures import ClusterImages
from support.e2e import Release, Team, helm_install
from support.manifests import manifest_of

CODE = Path(e2e_worker_code.__file__)


def test_the_charts_own_test_passes(cluster: Cluster, release: Release) -> None:
    said = cluster.helm("test", "perdure", "-n", release.namespace, "--timeout", "60s")
    assert "Phase:          Succeeded" in said


OPEN: tuple[str, ...] = ()
GUARDED = ("tls.enabled=true", "auth.mode=kubernetes")


@pytest.mark.parametrize("guards", [OPEN, GUARDED], ids=["open", "guarded"])
def test_installed_for_one_namespace_it_runs_workflows_there_without_a_cluster_role_of_its_own(
    cluster: Cluster, images: ClusterImages, release: Release, team: Team, guards: tuple[str, ...]
) -> None:
    with release.away():  # it would take up the same resources
        values = ["namespaced=true", "crds.install=false", *guards]
        helm_install(cluster, images, team.namespace, *values)
        team.give_code("code", CODE)
        pool = {"code": {"configMap": "code"}, "scaling": {"idleAfter": "5s"}}
        team.apply(
            manifest_of("WorkerPool", "greeters", **pool),
            manifest_of("Workflow", "hello", type="Greeting", input=["you"], workerPool="greeters"),
        )
        team.wait_for("condition=Complete", "workflow/hello")

        manifests = cluster.helm("get", "manifest", "perdure", "-n", team.namespace)
        assert not re.search("^kind: ClusterRole$", manifests, re.MULTILINE)
        cluster.helm("uninstall", "perdure", "-n", team.namespace, "--wait")
