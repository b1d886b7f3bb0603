"""GitOps: health as Argo CD and Flux see it, and kustomize's output beside the chart's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from lupa import lua51

from perdure_operator.model import KINDS
from perdure_operator.model.conditions import ConditionType
from support.cluster_tools import run, tools
from support.gitops import CHECKS, FOLDER, HEALTH, OVERLAYS, pages, rendered

Manifest = dict[str, Any]
KIND_FOLDERS = sorted(path for path in (FOLDER / CHECKS).iterdir() if path.is_dir())
MODELS = {kind.name: kind.model for kind in KINDS}
FLUX = {"Healthy": "Current", "Suspended": "Current", "Degraded": "Failed"}
"""What Flux has for a health of Argo CD; it knows nothing of suspension and would wait for it."""


def samples() -> Iterator[Any]:
    for folder in KIND_FOLDERS:
        tests = folder / "health_test.yaml"
        for each in yaml.safe_load(tests.read_text())["tests"] if tests.exists() else ():
            path = folder / each["inputPath"]
            yield pytest.param(path, each["healthStatus"], id=f"{folder.name}-{path.stem}")


def read(path: Path) -> Manifest:
    found: Manifest = yaml.safe_load(path.read_text())
    return found


def argo(manifest: Manifest) -> dict[str, str]:
    """Return what Argo CD's check says, run in the Lua that Argo CD has."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(manifest, recursive=True)
    check = FOLDER / CHECKS / manifest["kind"] / "health.lua"
    return dict(lua.execute(check.read_text()))


def flux(manifest: Manifest) -> str:
    """Return what Flux comes to: what cannot be evaluated is in progress, as it tries again."""
    for health, name in (("failed", "Failed"), ("current", "Current")):
        try:
            if cel.evaluate(HEALTH[health], manifest):
                return name
        except (RuntimeError, ValueError):
            return "InProgress"
    return "InProgress"


def test_what_follows_from_others_is_fresh() -> None:
    stale = [name for name, text in pages().items() if (FOLDER / name).read_text() != text]
    assert stale == [], "run: PYTHONPATH=tests python -m support.gitops"


def test_kustomize_has_no_file_that_nothing_writes() -> None:
    files = [path for path in (FOLDER / "kustomize").rglob("*") if path.is_file()]
    assert {str(path.relative_to(FOLDER)) for path in files} <= set(pages())


def test_every_kind_has_a_health_check() -> None:
    assert {folder.name for folder in KIND_FOLDERS} == set(MODELS)


@pytest.mark.parametrize(("path", "wanted"), list(samples()))
def test_a_sample_has_the_health_that_it_should_have(path: Path, wanted: dict[str, str]) -> None:
    manifest = read(path)

    MODELS[manifest["kind"]].from_manifest(manifest)
    assert argo(manifest) == wanted
    assert flux(manifest) == FLUX.get(wanted["status"], "InProgress")


def test_every_sample_is_tested() -> None:
    named = {each.values[0] for each in samples()}
    assert {path for folder in KIND_FOLDERS for path in folder.glob("testdata/*")} == named


def an_object(kind: str, *true: ConditionType, generation: int = 1) -> Manifest:
    conditions = [{"type": str(each), "status": "True", "message": str(each)} for each in true]
    return {
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": {},
        "status": {"phase": "Any", "observedGeneration": 1, "conditions": conditions},
    }


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("true", "health"),
    [
        ((), "Progressing"),
        ((ConditionType.RECONCILING,), "Progressing"),
        ((ConditionType.READY,), "Healthy"),
        ((ConditionType.READY, ConditionType.COMPLETE), "Healthy"),
        ((ConditionType.READY, ConditionType.STALLED), "Degraded"),
        ((ConditionType.STALLED, ConditionType.RECONCILING), "Degraded"),
        ((ConditionType.FAILED,), "Degraded"),
        ((ConditionType.WORKERS_READY,), "Progressing"),
    ],
)
def test_argo_and_flux_agree_on_every_kind(
    kind: str, true: tuple[ConditionType, ...], health: str
) -> None:
    manifest, changed = an_object(kind, *true), an_object(kind, *true, generation=2)

    assert argo(manifest)["status"] == health
    assert flux(manifest) == FLUX.get(health, "InProgress")
    assert argo(changed)["status"] == "Progressing"
    assert flux(changed) == "InProgress"


def test_flux_is_given_these_expressions_for_every_kind() -> None:
    checks = read(FOLDER / "flux" / "kustomization.yaml")["spec"]["healthCheckExprs"]

    assert [check["kind"] for check in checks] == list(MODELS)
    assert all(check[name] == text for check in checks for name, text in HEALTH.items())


def test_argo_is_given_the_checks_of_the_folder() -> None:
    data = read(FOLDER / "argo-cd" / "argocd-cm.yaml")["data"]

    for kind in MODELS:
        check = (FOLDER / CHECKS / kind / "health.lua").read_text()
        assert data[f"resource.customizations.health.perdure.dev_{kind}"] == check


# --- kustomize ---------------------------------------------------------------------------------


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_installs_what_the_chart_does(overlay: str) -> None:
    folder = FOLDER / "kustomize" / "overlays" / overlay
    built = list(yaml.safe_load_all(run([tools().kubectl, "kustomize", folder])))

    assert by_name(built) == by_name(rendered(overlay))
    assert len(built) == len(rendered(overlay))


def test_an_overlay_for_one_namespace_has_no_role_for_all() -> None:
    names = {each["kind"] for each in rendered("namespaced")}
    assert not {"ClusterRole", "ClusterRoleBinding"} & names
