"""Build the two images from the checkout, as archives that a cluster can load.

With a Docker engine its builder is used, on the official Python image. Without one, buildah
builds on a root file system that debootstrap makes, so no image registry is asked. Everything
made on the way is cached outside the checkout, each part under a key of what it is made from:
where only the project's source changed, only its wheel and the layers above it are new.

Run it as ``PYTHONPATH=tests python -m support.cluster_images``.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from support.cluster_buildah import Buildah
from support.cluster_providers import docker_runs
from support.cluster_tools import CHECKOUT, Announce, cache_folder, file_lock, run

MACHINE = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
GLIBC = ("_2_34", "_2_31", "_2_28", "_2_17", "2014")
LINUX = tuple(f"manylinux{glibc}_{MACHINE}" for glibc in GLIBC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One of the project's images."""

    name: str
    dockerfile: Path
    extras: tuple[str, ...]
    """The extras of the distribution whose dependencies it holds."""
    source: Path = CHECKOUT
    """Where the project's source is."""


WORKER = Image(
    name="localhost/perdure-worker:test",
    dockerfile=CHECKOUT / "worker_image" / "Dockerfile",
    extras=(),
)
OPERATOR = Image(
    name="localhost/perdure-operator:test",
    dockerfile=CHECKOUT / "operator" / "Dockerfile",
    extras=("operator",),
)


class Builder(Protocol):
    """What turns a Dockerfile into an archive."""

    base: str
    """The image that everything is built on."""
    python: str
    """The Python version of that image, e.g. ``3.11``."""

    def build(self, image_name: str, dockerfile: Path, context: Path, version: str) -> None:
        """Build and name an image."""

    def save(self, image_name: str, archive: Path) -> None:
        """Write an image to a docker-archive."""

    def load(self, archive: Path) -> None:
        """Take up the image of a docker-archive, for others to be built on."""


class Docker:
    """Builds with the Docker engine, on the Python image of the version that runs this."""

    def __init__(self) -> None:
        self.python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.base = f"python:{self.python}-slim"

    def build(self, image_name: str, dockerfile: Path, context: Path, version: str) -> None:
        """Build and name an image."""
        options = ["--build-arg", f"BASE={self.base}", "--build-arg", f"VERSION={version}"]
        options += ["-t", image_name, "-f", str(dockerfile), str(context)]
        run(["docker", "build", "-q", *options], timeout=900)

    def save(self, image_name: str, archive: Path) -> None:
        """Write an image to a docker-archive."""
        run(["docker", "save", "-o", archive, image_name], timeout=300)

    def load(self, archive: Path) -> None:
        """Take up the image of a docker-archive, for others to be built on."""
        run(["docker", "load", "-q", "-i", archive], timeout=300)


def build_images(
    images: Iterable[Image] = (WORKER, OPERATOR), *, announce: Announce = print
) -> dict[str, Path]:
    """Build what changed since the last time.

    Returns:
        The archive of each image, by the image's name.
    """
    lock = cache_folder("images") / "lock"
    with file_lock(lock, wait=1800, announce=announce) as held:
        if not held:
            raise TimeoutError(f"another process kept {lock} for half an hour")
        builder = choose_builder(announce=announce)
        return {image.name: _build(image, builder, announce=announce) for image in images}


def choose_builder(*, announce: Announce = print) -> Builder:
    """Return what builds images on this machine."""
    return Docker() if docker_runs() else Buildah(announce=announce)


def _build(image: Image, builder: Builder, *, announce: Announce) -> Path:
    dependencies = _dependency_wheels(image, builder.python, announce=announce)
    project = _project_wheel(image.source)
    key = _key([image.dockerfile.read_text(), builder.base, dependencies.name, project.name])
    stem = image.name.rpartition("/")[2].replace(":", "-")
    archive = cache_folder("images", "archives") / f"{stem}-{key}.tar"
    if archive.exists():
        return archive
    announce(f"building the image {image.name}")
    with tempfile.TemporaryDirectory(dir=cache_folder("images")) as folder:
        context = Path(folder)
        shutil.copytree(dependencies, context / "wheels" / "dependencies")
        shutil.copytree(project, context / "wheels" / "project")
        version = _pyproject(image.source)["version"]
        builder.build(image.name, image.dockerfile, context, version)
    for outdated in archive.parent.glob(f"{stem}-*.tar"):
        outdated.unlink()
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    builder.save(image.name, partial)
    return partial.rename(archive)


def _dependency_wheels(image: Image, python: str, *, announce: Announce) -> Path:
    """Fetch what the image needs, for its platform and Python, whatever runs here."""
    project = _pyproject(image.source)
    requirements = list(project["dependencies"])
    for extra in image.extras:
        requirements += project["optional-dependencies"][extra]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    target += [f"--abi={abi}" for abi in ("cp" + python.replace(".", ""), "abi3", "none")]
    target += [f"--platform={tag}" for tag in LINUX]

    def fetch(folder: Path) -> None:
        announce(f"fetching the dependencies of {image.name}")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
        run([*pip, *target, *requirements], timeout=900)

    return _once(cache_folder("images", "wheels") / _key([*requirements, *target]), fetch)


def _project_wheel(source: Path) -> Path:
    sources = [source / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    for package in ("operator/perdure_operator", "worker_image/perdure"):
        sources += sorted((source / package).rglob("*"))
    contents = [
        f"{path.relative_to(source)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sources
        if path.is_file() and "__pycache__" not in path.parts
    ]

    def make(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        run([*pip, "--wheel-dir", str(folder), str(source)], timeout=300)

    return _once(cache_folder("images", "project") / _key(contents), make)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return ``folder``, filled by ``make`` if it is not there; never half of it."""
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(folder)
    return folder


def _pyproject(source: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    return project


def _key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


if __name__ == "__main__":
    for name, built in build_images().items():
        print(name, built)
