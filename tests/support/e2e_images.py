"""An image FROM perdure-worker, as users build theirs."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from support.cluster_images import WORKER, build_images, choose_builder
from support.cluster_tools import Announce, cache_folder, file_lock

DOCKERFILE = f"""
FROM {WORKER.name}
COPY team/ /app/team/
"""
MODULE = "team.workflows"
"""The module of the image that holds the code."""


def build_team_image(code: Path, *, announce: Announce) -> tuple[str, Path]:
    """Build an image with a file of code in it, if that is not done yet.

    Returns:
        Its name and its archive.
    """
    base = build_images([WORKER], announce=announce)[WORKER.name]
    parts = (base.name, DOCKERFILE, MODULE, code.read_text())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    name = f"localhost/perdure-team:{key}"
    folder = cache_folder("images", "archives", "team")
    archive = folder / f"{key}.tar"
    with file_lock(folder / "lock", wait=600, announce=announce):
        if not archive.exists():
            for outdated in folder.glob("*.tar"):
                outdated.unlink()
            _build(name, base, code, archive, announce)
    return name, archive


def _build(name: str, base: Path, code: Path, archive: Path, announce: Announce) -> None:
    announce(f"building the image {name}")
    builder = choose_builder(announce=announce)
    builder.load(base)
    with tempfile.TemporaryDirectory() as made:
        context = Path(made)
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "team").mkdir()
        (context / "team" / "__init__.py").touch()
        (context / "team" / "workflows.py").write_text(code.read_text())
        builder.build(name, context / "Dockerfile", context, "0.0.0")
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    builder.save(name, partial)
    partial.rename(archive)
