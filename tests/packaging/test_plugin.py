"""The command line as one file: it runs where nothing of Perdure is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it as ``make plugin`` does."""
    folder = tmp_path_factory.mktemp("plugin")
    python = Path(sys.executable)
    subprocess.run(
        [python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=CHECKOUT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    file = folder / "kubectl-perdure"
    options = ["-c", "kubectl-perdure", "-o", str(file)]
    shebang = ["--python-shebang", f"/usr/bin/env python{VERSION}"]
    subprocess.run([python, "-m", "pex", str(wheel), *options, *shebang], check=True)
    return file


@pytest.mark.timeout(600)
def test_one_file_is_the_whole_plugin(plugin: Path, tmp_path: Path) -> None:
    """Run it with the system's Python, away from the checkout and its virtual environment."""
    python = shutil.which(f"python{VERSION}", path=os.defpath + ":/usr/local/bin") or sys.executable
    path = os.pathsep.join([str(Path(python).parent), os.defpath])
    env = {"PATH": path, "HOME": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(plugin), *words]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    assert run("--version").stdout.startswith("perdure ")
    assert "kubectl perdure list" in run("list", "--help").stdout
    away = run("list", "--address", "127.0.0.1:1")
    assert away.returncode == 3
    assert "no server answers at 127.0.0.1:1" in away.stderr
