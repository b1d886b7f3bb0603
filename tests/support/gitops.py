"""Writes what follows from others in ``gitops``: one health check for all kinds, and kustomize.

The health check of Argo CD is kept by hand for Workflow and copied for the other kinds; Flux's
expressions are below. The kustomize base and overlays are what the chart renders.
``PYTHONPATH=tests python -m support.gitops`` writes everything anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from perdure_operator.model import API_VERSION, KINDS
from perdure_operator.model.resources import GROUP
from support.cluster_tools import CHECKOUT, run, tools

FOLDER = CHECKOUT / "gitops"
CHECKS = f"argo-cd/resource_customizations/{GROUP}"
NOTE = "# Written by `PYTHONPATH=tests python -m support.gitops`; do not edit.\n"
NAMESPACE = "perdure-system"
OVERLAYS = {"cluster": (), "namespaced": ("namespaced=true",)}
"""What the chart is told for each overlay."""

IS_CANCELED = "has(spec.cancel) && spec.cancel && has(status.phase) && status.phase == 'Canceled'"
IS_SUSPENDED = "has(status.phase) && status.phase in ['Suspended', 'Paused']"
IS_BROKEN = (
    "has(status.conditions) && status.conditions.exists(e, "
    "(e.type == 'Failed' || e.type == 'Stalled') && e.status == 'True')"
)
IS_READY = (
    "has(status.conditions) && status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')"
)
IS_SEEN = "has(status.observedGeneration) && status.observedGeneration == metadata.generation"

HEALTH = {
    "failed": f"{IS_SEEN} && ({IS_BROKEN}) && !({IS_CANCELED})",
    "current": (
        f"{IS_SEEN} && (({IS_CANCELED}) || (!({IS_BROKEN}) && (({IS_READY}) || ({IS_SUSPENDED}))))"
    ),
}
"""What Flux is told; what is neither is in progress."""

Manifest = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write everything out, never a reference."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def pages() -> dict[str, str]:
    """Return the text of each file by its path below ``gitops``."""
    check = (FOLDER / CHECKS / "Workflow" / "health.lua").read_text(encoding="utf-8")
    made = {f"{CHECKS}/{kind.name}/health.lua": check for kind in KINDS}
    made["argo-cd/argocd-cm.yaml"] = NOTE + _dump(_argo(check))
    made["flux/kustomization.yaml"] = NOTE + _dump(_flux())
    return made | dict(_kustomize())


def _argo(check: str) -> Manifest:
    prefix = "resource.customizations.health"
    labels = {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd", "labels": labels},
        "data": {f"{prefix}.{GROUP}_{kind.name}": check for kind in KINDS},
    }


def _flux() -> Manifest:
    checks = [{"apiVersion": API_VERSION, "kind": kind.name, **HEALTH} for kind in KINDS]
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "runs", "namespace": "flux-system"},
        "spec": {
            "interval": "10m",
            "path": "./runs",
            "prune": True,
            "wait": True,
            "timeout": "5m",
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
            "healthCheckExprs": checks,
        },
    }


# --- kustomize ---------------------------------------------------------------------------------


def rendered(overlay: str) -> list[Manifest]:
    """Return what the chart installs, without what only helm understands."""
    options = [option for value in OVERLAYS[overlay] for option in ("--set", value)]
    chart = CHECKOUT / "charts" / "perdure"
    command = [tools().helm, "template", "perdure", chart, "-n", NAMESPACE, "--no-hooks", *options]
    found = [each for each in yaml.safe_load_all(run(command)) if each]
    return [_without_helm(each) for each in found]


def _without_helm(manifest: Manifest) -> Manifest:
    places = [manifest["metadata"]]
    if manifest["kind"] == "Deployment":
        places.append(manifest["spec"]["template"]["metadata"])
    for metadata in places:
        labels = metadata.get("labels", {})
        labels.pop("helm.sh/chart", None)
        labels.pop("app.kubernetes.io/managed-by", None)
        annotations = metadata.get("annotations", {})
        annotations.pop("helm.sh/resource-policy", None)
        if not annotations:
            metadata.pop("annotations", None)
    return manifest


def _kustomize() -> Iterator[tuple[str, str]]:
    """What all overlays share is the base; each overlay has the rest of what is rendered for it."""
    all_of = {overlay: rendered(overlay) for overlay in OVERLAYS}
    shared = [each for each in all_of["cluster"] if each in all_of["namespaced"]]
    yield from _folder("base", [], shared)
    for overlay, manifests in all_of.items():
        own = [each for each in manifests if each not in shared]
        yield from _folder(f"overlays/{overlay}", ["../../base"], own)


def _folder(name: str, bases: list[str], manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    crds = [each for each in manifests if each["kind"] == "CustomResourceDefinition"]
    rest = [each for each in manifests if each not in crds]
    files = {"crds.yaml": crds, "perdure.yaml": rest}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*bases, *(file for file, held in files.items() if held)],
    }
    yield f"kustomize/{name}/kustomization.yaml", NOTE + _dump(kustomization)
    for file, held in files.items():
        if held:
            yield f"kustomize/{name}/{file}", NOTE + "---\n".join(map(_dump, held))


def _dump(document: Manifest) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def main() -> None:
    """Write the files."""
    for name, text in pages().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
