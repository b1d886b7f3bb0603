"""What we render for others, against their own definitions on an API server, to the letter.

A field that a definition does not know is refused here; a cluster would drop it without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster, CommandError, a_cluster
from support.cluster_tools import CHECKOUT, run, tools
from support.interop_programs import PROGRAMS, Program, module_source

Manifest = dict[str, Any]

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """Custom resource definitions of others."""

    module: str
    version: str
    folder: str
    group: str

    @classmethod
    def of(cls, program: Program, folder: str, group: str) -> Definitions:
        """Return those that are in a program's module."""
        return cls(module=program.module, version=program.version, folder=folder, group=group)

    def path(self) -> Path:
        """Return where they are."""
        return module_source(self.module, self.version) / self.folder


PROMETHEUS_OPERATOR = Definitions(
    module="github.com/prometheus-operator/prometheus-operator",
    version="v0.85.0",
    folder="example/prometheus-operator-crd",
    group="monitoring.coreos.com",
)
DEFINITIONS = (
    PROMETHEUS_OPERATOR,
    Definitions.of(PROGRAMS["cert-manager"], "deploy/crds", "cert-manager.io"),
    Definitions.of(PROGRAMS["flux-health"], "config/crd/bases", "kustomize.toolkit.fluxcd.io"),
)
VALUES = (
    "tls.enabled=true",
    "tls.certManager.enabled=true",
    "tls.certManager.issuerName=perdure",
    "serviceMonitor.enabled=true",
    "serviceMonitor.labels.release=prometheus",
    "monitoring.podMonitor.enabled=true",
    "monitoring.rules.enabled=true",
)


def ours() -> list[Manifest]:
    """Return all manifests of ours that are of a kind of others."""
    options = [f"--set={value}" for value in VALUES]
    command = [tools().helm, "template", "perdure", CHECKOUT / "charts" / "perdure", *options]
    flux = (CHECKOUT / "gitops" / "flux" / "kustomization.yaml").read_text(encoding="utf-8")
    found = [*yaml.safe_load_all(run(command)), yaml.safe_load(flux)]
    groups = {each.group for each in DEFINITIONS}
    return [each for each in found if each and each["apiVersion"].partition("/")[0] in groups]


@pytest.fixture(scope="module")
def namespace() -> Iterator[tuple[Cluster, str]]:
    """A namespace where all of the definitions are known."""
    with a_cluster(nodes=False) as cluster:
        for each in DEFINITIONS:
            crds = ("--server-side", "--force-conflicts", "-f", str(each.path()))
            cluster.kubectl("apply", *crds, timeout=180)
            condition = ("--for=condition=Established", "--timeout=60s")
            cluster.kubectl("wait", *condition, "-f", str(each.path()), timeout=90)
        with cluster.namespace("definitions") as name:
            yield cluster, name


def create(cluster: Cluster, namespace: str, manifest: Manifest) -> None:
    """Have the API server look at a manifest."""
    placed = manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
    options = ("--validate=strict", "--dry-run=server", "-f", "-")
    cluster.kubectl("create", *options, input=json.dumps(placed))


def test_there_is_one_of_each_kind() -> None:
    assert sorted(each["kind"] for each in ours()) == [
        "Certificate",
        "Kustomization",
        "PodMonitor",
        "PrometheusRule",
        "ServiceMonitor",
    ]


@pytest.mark.parametrize("manifest", ours(), ids=lambda manifest: manifest["kind"])
def test_the_api_server_takes_it(manifest: Manifest, namespace: tuple[Cluster, str]) -> None:
    create(*namespace, manifest)


def test_a_field_that_is_not_known_would_be_found(namespace: tuple[Cluster, str]) -> None:
    (monitor,) = [each for each in ours() if each["kind"] == "PodMonitor"]

    with pytest.raises(CommandError, match="unknown field"):
        create(*namespace, monitor | {"spec": monitor["spec"] | {"podMetricEndpoints": []}})
