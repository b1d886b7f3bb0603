"""What is in the wheel that people install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "perdure": CHECKOUT / "worker_image" / "perdure",
    "perdure_operator": CHECKOUT / "operator" / "perdure_operator",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Build it as ``pip install .`` would, with the build backend that is installed already."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *options, str(CHECKOUT)], check=True, capture_output=True, text=True)
    (built,) = folder.iterdir()
    return zipfile.Path(built)


def names(wheel: zipfile.Path) -> list[str]:
    return [name for name in wheel.root.namelist() if not name.endswith("/")]


def test_it_is_one_pure_wheel(wheel: zipfile.Path) -> None:
    assert Path(str(wheel.root.filename)).name.endswith("-py3-none-any.whl")


def test_it_holds_both_packages_and_nothing_else(wheel: zipfile.Path) -> None:
    tops = {name.partition("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_it(wheel: zipfile.Path, package: str) -> None:
    source = PACKAGES[package]
    wanted = {
        f"{package}/{path.relative_to(source)}"
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted == {name for name in names(wheel) if name.startswith(f"{package}/")}


def test_the_stores_migrations_are_in_it(wheel: zipfile.Path) -> None:
    folder = wheel / "perdure_operator" / "store" / "migrations"
    assert "0001_create.sql" in {path.name for path in folder.iterdir()}


def test_no_test_is_in_it(wheel: zipfile.Path) -> None:
    assert [name for name in names(wheel) if "test_" in name or "conftest" in name] == []


def test_the_bare_install_asks_for_nothing_of_the_control_plane(wheel: zipfile.Path) -> None:
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    metadata = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0] for line in required} == {"aiohttp", "msgspec", "rich", "typer"}


def test_the_commands_are_those_of_the_documentation(wheel: zipfile.Path) -> None:
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    entries = (info / "entry_points.txt").read_text(encoding="utf-8").splitlines()
    commands = {line.partition(" = ")[0] for line in entries if " = " in line}
    plugin = {"kubectl-perdure", "kubectl_complete-perdure"}
    assert commands == {"perdure", "perdure-server", "perdure-operator"} | plugin
