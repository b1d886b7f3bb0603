"""What the bare install brings in, looked at in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CONTROL_PLANE = {"kopf", "kubernetes", "perdure_operator", "prometheus_client", "yaml", "zstandard"}
"""What only ``perdure[operator]`` brings."""

PUBLIC = (
    "perdure.activity",
    "perdure.cli",
    "perdure.client",
    "perdure.common",
    "perdure.converter",
    "perdure.exceptions",
    "perdure.worker",
    "perdure.workflow",
)


def imported_by(statement: str) -> set[str]:
    """Return the top-level packages that are loaded once ``statement`` has run."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return {module.partition(".")[0] for module in json.loads(done.stdout)}


@pytest.mark.parametrize("module", PUBLIC)
def test_it_can_be_imported_alone(module: str) -> None:
    assert "perdure" in imported_by(f"import {module}")


def test_a_worker_needs_nothing_of_the_control_plane() -> None:
    loaded = imported_by(f"import {', '.join(PUBLIC)}, perdure.cli.app")
    assert not loaded & CONTROL_PLANE


def test_pydantic_is_loaded_only_by_those_who_use_it() -> None:
    assert "pydantic" not in imported_by(f"import {', '.join(PUBLIC)}, perdure.cli.app")


def test_workflow_code_alone_loads_no_network_library() -> None:
    assert "aiohttp" not in imported_by("import perdure.workflow, perdure.activity")


def test_the_command_line_starts_without_what_its_verbs_need() -> None:
    assert not imported_by("import perdure.cli.app") & {"aiohttp", "asyncio"}
