"""The dashboard is one by the types of Grafana's own schema, checked by the TypeScript compiler.

Grafana publishes no JSON schema; its packages have the types that its own code goes by.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from support.cluster_tools import CHECKOUT, COMPILING, CommandError, cache_folder, run, tools

PACKAGES = ("@grafana/schema@13.2.3", "typescript@5.9.3")
CHECK = ("--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext")

pytestmark = pytest.mark.timeout(COMPILING)


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with the packages, installed the first time."""
    folder = cache_folder("localkube", "npm", "grafana-13.2.3")
    if not (folder / "node_modules" / ".package-lock.json").exists():
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--omit=peer")
        run(["npm", "install", "--prefix", folder, *quiet, *PACKAGES], timeout=COMPILING)
    return folder


def dashboard() -> str:
    """Return the JSON that the chart renders."""
    command = [tools().helm, "template", "perdure", CHECKOUT / "charts" / "perdure"]
    switch = ("--set=monitoring.dashboard.enabled=true", "--show-only=templates/dashboard.yaml")
    text: str = yaml.safe_load(run([*command, *switch]))["data"]["perdure.json"]
    return text


def check(packages: Path, text: str) -> None:
    """Have the compiler look at a dashboard."""
    file = packages / "dashboard.ts"
    head = 'import type { Dashboard } from "@grafana/schema";\n'
    file.write_text(f"{head}export const dashboard: Dashboard = {text};\n", encoding="utf-8")
    run([packages / "node_modules" / ".bin" / "tsc", *CHECK, file], timeout=600)


def test_grafana_knows_every_field_of_the_dashboard(packages: Path) -> None:
    check(packages, dashboard())


def test_a_field_that_grafana_does_not_know_would_be_found(packages: Path) -> None:
    text = dashboard()
    wrong = text.replace('"type": "timeseries"', '"kind": "timeseries"')

    assert wrong != text
    with pytest.raises(CommandError, match="'\"kind\"' does not exist in type"):
        check(packages, wrong)
