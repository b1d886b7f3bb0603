"""What Argo CD and Flux make of our objects, by their own code, and what kstatus does without it.

The checks are those that we ship; the objects are the samples in `gitops/argo-cd`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from perdure_operator.model import KINDS
from support.cluster_tools import run
from support.gitops import CHECKS, FOLDER
from support.interop_programs import program

Manifest = dict[str, Any]
FLUX = {
    "Healthy": "Current",
    "Suspended": "Current",
    "Degraded": "Failed",
    "Progressing": "InProgress",
}
"""What Flux has for a health of Argo CD; it knows nothing of suspension and would wait for it."""
KSTATUS_DIFFERS = {
    "Workflow-canceled-as-wanted": "Failed",
    "Workflow-suspended": "InProgress",
}
"""What kstatus cannot know: something did not succeed, and that is as the spec says."""

pytestmark = pytest.mark.timeout(3600)


def samples() -> dict[str, tuple[Manifest, dict[str, str]]]:
    """Return each sample with the health that it should have."""
    found = {}
    for kind in KINDS:
        folder = FOLDER / CHECKS / kind.name
        for each in yaml.safe_load((folder / "health_test.yaml").read_text())["tests"]:
            path = folder / each["inputPath"]
            manifest = yaml.safe_load(path.read_text())
            found[f"{kind.name}-{path.stem}"] = (manifest, each["healthStatus"])
    return found


SAMPLES = samples()


def judge(name: str, file: Path, objects: Sequence[Manifest]) -> list[dict[str, str]]:
    """Return what a program says of objects, told with the file that configures it."""
    answers: list[dict[str, str]] = json.loads(
        run([program(name), file], input=json.dumps(objects))
    )
    return answers


@pytest.fixture(scope="module")
def argo() -> dict[str, dict[str, str]]:
    """What Argo CD says of each sample."""
    objects = [manifest for manifest, _ in SAMPLES.values()]
    answers = judge("argo-health", FOLDER / "argo-cd" / "argocd-cm.yaml", objects)
    return dict(zip(SAMPLES, answers, strict=True))


@pytest.fixture(scope="module")
def flux() -> dict[str, dict[str, str]]:
    """What Flux says of each sample, and kstatus."""
    objects = [manifest for manifest, _ in SAMPLES.values()]
    answers = judge("flux-health", FOLDER / "flux" / "kustomization.yaml", objects)
    return dict(zip(SAMPLES, answers, strict=True))


def test_every_kind_has_samples() -> None:
    assert {name.partition("-")[0] for name in SAMPLES} == {kind.name for kind in KINDS}


@pytest.mark.parametrize("sample", SAMPLES)
def test_argo_cd_sees_the_health(sample: str, argo: dict[str, dict[str, str]]) -> None:
    _, wanted = SAMPLES[sample]

    assert argo[sample] == wanted


@pytest.mark.parametrize("sample", SAMPLES)
def test_flux_sees_the_health(sample: str, flux: dict[str, dict[str, str]]) -> None:
    _, wanted = SAMPLES[sample]

    assert flux[sample]["expressions"] == FLUX[wanted["status"]], flux[sample]["message"]


@pytest.mark.parametrize("sample", SAMPLES)
def test_kstatus_alone_sees_it_too(sample: str, flux: dict[str, dict[str, str]]) -> None:
    """Helm, kpt and whoever gives Flux no expressions go by it."""
    _, wanted = SAMPLES[sample]
    expected = KSTATUS_DIFFERS.get(sample, FLUX[wanted["status"]])

    assert flux[sample]["kstatus"] == expected, flux[sample]["message"]
