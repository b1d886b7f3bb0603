"""The programs of others that Perdure is used with, compiled from their Go modules.

Each is built inside its own module, by that module's `go.mod` and `go.sum`, so it is what its
release would be. Where there is no command that does only what a test asks, a `main.go` of ours
is laid into a copy of the module and calls what the release calls. Binaries lie beside
those of localkube, under a name that changes with whatever they are made of.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.cluster_tools import (
    CHECKOUT,
    COMPILING,
    Announce,
    CommandError,
    cache_folder,
    file_lock,
    run,
)

MAINS = CHECKOUT / "tests" / "interop" / "programs"


class ProgramUnavailableError(Exception):
    """A program could not be compiled; the message says which one and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: where its code is from, and what of it to compile."""

    module: str
    version: str
    package: str
    """Within the module; of a `main.go` of ours, where it is laid."""
    tags: str = ""
    ours: str = ""
    """The folder of our `main.go` in `tests/interop/programs`; empty for a command of theirs."""
    without: str = ""
    """A regular expression of files that are left out, for what only takes time to compile."""
    added: tuple[tuple[str, str], ...] = ()
    """Files with their text, for what others still need of those that are left out."""
    replaced: tuple[tuple[str, str], ...] = ()
    """Modules that a release has beside it in its repository, with the version to take."""

    def key(self) -> str:
        """Return what tells this program from any other that is made of something else."""
        made_of = repr(self)
        if self.ours:
            made_of += (MAINS / self.ours / "main.go").read_text(encoding="utf-8")
        return hashlib.sha256(made_of.encode()).hexdigest()[:12]


CERT_MANAGER = Program(
    module="github.com/cert-manager/cert-manager",
    version="v1.21.2",
    package="./cmd/perdure-interop",
    ours="cert-manager",
)
KUSTOMIZE_CONTROLLER = "github.com/fluxcd/kustomize-controller"
PROMETHEUS = "github.com/prometheus/prometheus"
PROGRAMS = {
    "promtool": Program(
        module=PROMETHEUS, version="v0.316.0", package="./cmd/promtool", tags="remove_all_sd"
    ),
    "prometheus": Program(
        module=PROMETHEUS, version="v0.316.0", package="./cmd/prometheus", tags="remove_all_sd"
    ),
    "cert-manager": CERT_MANAGER,
    "keda-scaler": Program(
        module="github.com/kedacore/keda/v2",
        version="v2.21.0",
        package="./cmd/perdure-interop",
        ours="keda-scaler",
        # The other scalers need the clients of every cloud there is.
        without=r"pkg/scalers/(?!metrics_api_scaler|scaler)\w+\.go",
        added=(
            (
                "pkg/scalers/interop.go",
                'package scalers\n\nconst externalMetricType = "External"\n',
            ),
        ),
    ),
    "argo-health": Program(
        module="github.com/argoproj/argo-cd/v3",
        version="v3.5.7",
        package="./cmd/perdure-interop",
        ours="argo-health",
        replaced=(
            ("github.com/argoproj/argo-cd/gitops-engine", "v0.0.0-20260914071520-c9c369efcc5b"),
        ),
    ),
    "flux-health": Program(
        module=KUSTOMIZE_CONTROLLER,
        version="v1.9.6",
        package="./cmd/perdure-interop",
        ours="flux-health",
        replaced=((KUSTOMIZE_CONTROLLER + "/api", "v1.9.6"),),
    ),
}


def program(name: str, *, announce: Announce = print) -> Path:
    """Return the path of a program, compiled first if need be (minutes).

    Raises:
        ProgramUnavailableError: Go is missing, a module cannot be had, or it does not compile.
    """
    wanted = PROGRAMS[name]
    folder = cache_folder("localkube", "bin", f"{name}-{wanted.key()}")
    binary = folder / name
    with file_lock(folder / "lock", wait=COMPILING, announce=announce):
        if not binary.exists():
            announce(f"compiling {name} of {wanted.module} {wanted.version}; this takes minutes")
            try:
                _compile(wanted, binary)
            except (CommandError, FileNotFoundError) as error:
                raise ProgramUnavailableError(
                    f"{name} ({wanted.module} {wanted.version}) could not be compiled. It needs Go "
                    f"1.26 or newer and the Go module proxy.\n{error}"
                ) from error
    return binary


def source(name: str) -> Path:
    """Return the folder with the source of a program's module, such as its CRDs."""
    wanted = PROGRAMS[name]
    return module_source(wanted.module, wanted.version)


def module_source(module: str, version: str) -> Path:
    """Return the folder with a module's source, which is read-only.

    Raises:
        ProgramUnavailableError: The module cannot be had.
    """
    try:
        command = [_go(), "mod", "download", "-json", f"{module}@{version}"]
        return Path(json.loads(run(command, timeout=600, env=_ENV))["Dir"])
    except (CommandError, FileNotFoundError) as error:
        raise ProgramUnavailableError(f"{module} {version} cannot be had: {error}") from error


_ENV = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def _go() -> str:
    installed = Path("/usr/local/go/bin/go")
    return str(installed) if installed.exists() else (shutil.which("go") or "go")


def _compile(wanted: Program, binary: Path) -> None:
    partial = binary.with_suffix(".partial")
    with tempfile.TemporaryDirectory() as scratch:
        # A copy, because the module cache is read-only and shared.
        copy = Path(scratch, "module")
        shutil.copytree(
            module_source(wanted.module, wanted.version), copy, copy_function=shutil.copy
        )
        options = _complete(wanted, copy)
        command = [_go(), "build", "-C", str(copy), "-trimpath", "-ldflags=-s -w", *options]
        run([*command, "-o", str(partial), wanted.package], timeout=COMPILING, env=_ENV)
    partial.replace(binary)


def _complete(wanted: Program, copy: Path) -> list[str]:
    """Put into the copy of a module what it lacks; return what the build is to be told of it."""
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    if wanted.without:
        for path in copy.rglob("*.go"):
            if re.fullmatch(wanted.without, str(path.relative_to(copy))):
                path.unlink()
    for name, text in wanted.added:
        (copy / name).write_text(text, encoding="utf-8")
    if wanted.ours:
        (copy / wanted.package).mkdir(parents=True)
        shutil.copy(MAINS / wanted.ours / "main.go", copy / wanted.package)
    options = ["-tags", wanted.tags] if wanted.tags else []
    if wanted.replaced:
        edits = [f"-replace={module}={module}@{version}" for module, version in wanted.replaced]
        run([_go(), "mod", "edit", *edits, str(copy / "go.mod")], env=_ENV)
        options.append("-mod=mod")
    return options
