"""The version before this one, as somebody has it running who upgrades: its chart and images.

It is read from the repository's history, so a checkout without history has none.
"""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from support.cluster import Cluster
from support.cluster_fixtures import ClusterImages
from support.cluster_images import Image, build_images
from support.cluster_tools import CHECKOUT, Announce, cache_folder

PREVIOUS = "33b0f7d7"
"""The commit; once there are releases, the newest release before this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """What an install of it is made from."""

    source: Path
    images: ClusterImages

    @property
    def chart(self) -> Path:
        """The chart's folder."""
        return self.source / "charts" / "perdure"

    @property
    def crds(self) -> Path:
        """The folder of its custom resource definitions."""
        return self.source / "crds"


def find_previous(cluster: Cluster, *, announce: Announce) -> Previous | None:
    """Return it, with its images on the nodes; None when the checkout has no history."""
    source = _unpack()
    if source is None:
        return None
    images = [
        Image(
            name=f"localhost/perdure-{name}:previous",
            dockerfile=source / folder / "Dockerfile",
            extras=extras,
            source=source,
        )
        for name, folder, extras in (
            ("worker", "worker_image", ()),
            ("operator", "operator", ("operator",)),
        )
    ]
    for archive in build_images(images, announce=announce).values():
        cluster.load_image(archive)
    worker, operator = images
    return Previous(source=source, images=ClusterImages(worker=worker.name, operator=operator.name))


def _unpack() -> Path | None:
    folder = cache_folder("previous") / PREVIOUS
    if folder.exists():
        return folder
    command = ["git", "-C", str(CHECKOUT), "archive", "--format=tar", PREVIOUS]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        return None
    partial = folder.with_suffix(".partial")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(partial, filter="data")
    return partial.rename(folder)
