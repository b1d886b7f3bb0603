"""The chart's admission policy on a cluster, where the API server has such policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from support.cluster import Cluster
from support.cluster_tools import CHECKOUT, run, tools

GROUP = "admissionregistration.k8s.io"


def served_versions(cluster: Cluster) -> list[str]:
    """Return the versions in which the API server has MutatingAdmissionPolicies: none, maybe."""
    kinds = {
        version: cluster.kubectl("get", "--raw", f"/apis/{GROUP}/{version}", check=False)
        for version in ("v1", "v1beta1")
    }
    return [version for version, text in kinds.items() if "MutatingAdmissionPolicy" in text]


@contextmanager
def an_admission_policy(cluster: Cluster) -> Iterator[None]:
    """Have new Workflows get the operator's finalizer from the API server."""
    command = [tools().helm, "template", "policy", CHECKOUT / "charts" / "perdure"]
    command += ["--set", "operator.admissionPolicy.enabled=true"]
    command += ["--show-only", "templates/admission-policy.yaml"]
    for version in served_versions(cluster):
        command.append(f"--api-versions={GROUP}/{version}/MutatingAdmissionPolicy")
    text = run(command)
    cluster.apply(text)
    cluster.eventually(lambda: _is_in_force(cluster), what="the policy is in force")
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", input=text)


def _is_in_force(cluster: Cluster) -> bool:
    probe = """
    {"apiVersion": "perdure.dev/v1alpha1", "kind": "Workflow",
     "metadata": {"name": "probe", "namespace": "default"},
     "spec": {"type": "Probe", "workerPool": "none"}}
    """
    options = ("--dry-run=server", "-o", "jsonpath={.metadata.finalizers}", "-f", "-")
    return bool(cluster.kubectl("create", *options, input=probe))
