"""The ground that all end-to-end tests stand on: pods of our images run as production's do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.cluster import Cluster
from support.cluster_fixtures import ClusterImages
from support.cluster_tools import CommandError

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def a_pod(name: str, image: str, *command: str, **container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": list(command),
                    "securityContext": RESTRICTED,
                    **container,
                }
            ],
        },
    }


def test_a_restricted_pod_of_the_worker_image_imports_perdure(
    cluster: Cluster, images: ClusterImages, namespace: str
) -> None:
    script = "import os, perdure; print(perdure.__name__, os.getuid())"
    cluster.apply(a_pod("worker", images.worker, "python", "-c", script), namespace=namespace)
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", "pod/worker", namespace=namespace)
    assert cluster.logs("worker", namespace=namespace) == "perdure 10001\n"


@pytest.mark.parametrize("module", ["kopf", "kubernetes"])
def test_the_worker_image_holds_no_control_plane(
    cluster: Cluster, images: ClusterImages, namespace: str, module: str
) -> None:
    script = f"""
try:
    import {module}
except ImportError:
    print("absent")
"""
    cluster.apply(a_pod("worker", images.worker, "python", "-c", script), namespace=namespace)
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", "pod/worker", namespace=namespace)
    assert cluster.logs("worker", namespace=namespace) == "absent\n"


def test_the_operator_image_has_what_the_control_plane_needs(
    cluster: Cluster, images: ClusterImages, namespace: str
) -> None:
    script = "import kopf, kubernetes, pydantic, zstandard, perdure_operator; print('ready')"
    cluster.apply(a_pod("operator", images.operator, "python", "-c", script), namespace=namespace)
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", "pod/operator", namespace=namespace)
    assert cluster.logs("operator", namespace=namespace) == "ready\n"


def test_a_pod_reaches_another_through_its_service(
    cluster: Cluster, images: ClusterImages, namespace: str
) -> None:
    serve = ("python", "-m", "http.server", "8080", "--directory", "/app")
    fetch = "import urllib.request as r; print(r.urlopen('http://web:8080', timeout=10).status)"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
    }
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    web = a_pod("web", images.worker, *serve, readinessProbe=ready)
    cluster.apply(service, web, namespace=namespace)
    cluster.wait_for("condition=Ready", "pod/web", namespace=namespace)
    cluster.apply(a_pod("client", images.worker, "python", "-c", fetch), namespace=namespace)
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", "pod/client", namespace=namespace)
    assert cluster.logs("client", namespace=namespace) == "200\n"


def test_a_claim_without_a_class_is_bound_and_writable_by_the_pods_group(
    cluster: Cluster, images: ClusterImages, namespace: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    script = "from pathlib import Path; print(Path('/data/x').write_text('kept'))"
    mount = {"name": "data", "mountPath": "/data"}
    pod = a_pod("writer", images.worker, "python", "-c", script, volumeMounts=[mount])
    pod["spec"]["securityContext"] = {"fsGroup": 10001}
    pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.apply(claim, pod, namespace=namespace)
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", "pod/writer", namespace=namespace)
    assert cluster.logs("writer", namespace=namespace) == "4\n"


def test_the_namespace_refuses_a_pod_that_may_be_root(
    cluster: Cluster, images: ClusterImages, namespace: str
) -> None:
    pod = a_pod("root", images.worker, "id", securityContext={})
    with pytest.raises(CommandError, match="restricted"):
        cluster.apply(json.dumps(pod), namespace=namespace)
