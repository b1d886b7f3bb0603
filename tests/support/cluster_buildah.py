"""Build images without Docker and without an image registry: buildah on a debootstrap root.

The base is Debian 12, whose Python is 3.11, as in the ``python:3.11-slim`` that releases use.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from support.cluster_tools import (
    LOCALKUBE,
    Announce,
    cache_folder,
    run,
    succeeds,
)

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
UNUSED = [f"usr/share/{name}" for name in ("doc", "info", "locale", "man")]
UNUSED += ["var/cache/apt", "var/lib/apt/lists", "var/log"]
MANY_LAYERS = 150  # of some 60 MB each; the store is then begun anew


class Buildah:
    """Builds with buildah, in a store of its own below the cache folder."""

    python = "3.11"
    base = f"localhost/perdure-base:{SUITE}-1"

    def __init__(self, *, announce: Announce) -> None:
        # Installs what is missing, or says it.
        run([LOCALKUBE, "setup"], timeout=900)
        root = cache_folder("images", "buildah")
        self._options = ["--root", str(root / "store"), "--runroot", str(root / "run")]
        # overlay is eight times as fast as vfs, where the kernel and the file system allow it.
        overlay = [*self._options, "--storage-driver", "overlay"]
        driver = "overlay" if succeeds("buildah", *overlay, "info") else "vfs"
        self._options += ["--storage-driver", driver]
        layers = root / "store" / driver
        if layers.exists() and len(list(layers.iterdir())) > MANY_LAYERS:
            shutil.rmtree(root / "store")
        self._announce = announce

    def build(self, image_name: str, dockerfile: Path, context: Path, version: str) -> None:
        """Build and name an image."""
        self._make_base()
        options = ["--layers", "--pull=never", "--build-arg", f"BASE={self.base}"]
        options += ["--build-arg", f"VERSION={version}", "-t", image_name, "-f", str(dockerfile)]
        self._buildah("bud", "-q", *options, str(context))

    def save(self, image_name: str, archive: Path) -> None:
        """Write an image to a docker-archive."""
        self._buildah("push", "-q", image_name, f"docker-archive:{archive}:{image_name}")

    def load(self, archive: Path) -> None:
        """Take up the image of a docker-archive, for others to be built on."""
        self._buildah("pull", "-q", f"docker-archive:{archive}")

    def _make_base(self) -> None:
        if self._buildah("images", "-q", "--filter", f"reference={self.base}").strip():
            return
        self._announce("making the base image (a minute; once)")
        with tempfile.TemporaryDirectory(dir=cache_folder("images")) as folder:
            options = ["--variant=minbase", f"--include={PACKAGES}"]
            run(["debootstrap", *options, SUITE, folder], timeout=900)
            for unused in UNUSED:
                shutil.rmtree(Path(folder) / unused)
                (Path(folder) / unused).mkdir()
            container = self._buildah("from", "scratch").strip()
            self._buildah("add", container, folder, "/")
            self._buildah("commit", "-q", "--rm", container, self.base)

    def _buildah(self, *arguments: str) -> str:
        environment = {"BUILDAH_ISOLATION": "chroot"}
        return run(["buildah", *self._options, *arguments], timeout=900, env=environment)
