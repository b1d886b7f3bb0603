"""The chart on a real cluster: it is up, says so, and needs no cluster role for one namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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


BEAT = """
import json, os, ssl, urllib.request
authority = os.environ.get("PERDURE_TLS_CA")
trust = ssl.create_default_context(cafile=authority) if authority else None
body = json.dumps({"token": os.environ["PERDURE_TASK_TOKEN"], "details": [1]}).encode()
url = os.environ["PERDURE_ADDRESS"] + "/api/v1/beat-activity"
heard = urllib.request.urlopen(urllib.request.Request(url, body), context=trust).status
open(os.environ["PERDURE_RESULT_FILE"], "w").write(str(heard))
"""


def a_beating_container(image: str) -> dict[str, Any]:
    """Return a template whose container tells the server that it is alive."""
    return {"image": image, "command": ["python", "-c", BEAT]}


OPEN = ("tls.enabled=false", "auth.mode=none")
GUARDED: tuple[str, ...] = ()
GRANTED = ("auth.workers=Granted",)


@pytest.mark.parametrize(
    "guards", [OPEN, GUARDED, GRANTED], ids=["open", "guarded", "workers-granted"]
)
def test_installed_for_one_namespace_it_runs_workflows_there_without_any_cluster_role(
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
            manifest_of("Activity", "beat", template=a_beating_container(images.worker)),
        )
        team.wait_for("condition=Complete", "activity/beat")
        assert team.status("activity/beat")["result"] == 200
        team.wait_for("condition=Complete", "workflow/hello")

        manifests = cluster.helm("get", "manifest", "perdure", "-n", team.namespace)
        assert not re.search("^kind: ClusterRole", manifests, re.MULTILINE)
        cluster.helm("uninstall", "perdure", "-n", team.namespace, "--wait")
