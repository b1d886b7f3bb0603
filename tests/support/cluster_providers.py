"""Where a cluster for the tests comes from: a named context, kind, or localkube.

A provider gives a kubeconfig, puts images onto the nodes, and on exit stops what it started:
what was up before, it leaves up. Each process that starts a cluster holds its lock, so two
test sessions never share one by accident.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from support.cluster_tools import (
    COMPILING,
    LOCALKUBE,
    Announce,
    ClusterUnavailableError,
    CommandError,
    cache_folder,
    file_lock,
    run,
    succeeds,
    tools,
)

CONTEXT_VARIABLE = "PERDURE_TEST_CONTEXT"
IMAGE_LOADERS = {
    "kind-": ("kind", "load", "image-archive", "{archive}", "--name", "{name}"),
    "k3d-": ("k3d", "image", "import", "{archive}", "--cluster", "{name}"),
    "minikube": ("minikube", "image", "load", "{archive}", "--profile", "minikube{name}"),
}
"""What loads an archive into a named context's cluster, by the context's beginning."""
API_SERVER, MANIFESTS = "kube-apiserver", "/etc/kubernetes/manifests"
"""What runs in kind's node, and from where its kubelet has it."""
LONG_WAIT = 1800.0  # seconds until another session's tests on the one node are surely over


class Provider(Protocol):
    """One way to get a cluster."""

    def running(self, announce: Announce) -> AbstractContextManager[Address]:
        """Start the cluster, or find it up; stop it on exit if it was started here."""

    def load_image(self, archive: Path) -> None:
        """Put the image of a docker-archive onto every node."""

    def kill_api_server(self) -> bool:
        """Kill the API server, which stays down; False where that cannot be done."""

    def start_api_server(self) -> None:
        """Start the API server that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How kubectl, helm and clients reach a cluster."""

    kubeconfig: Path
    context: str


def choose_provider(*, nodes: bool) -> Provider:
    """Return the first way that this machine offers.

    Args:
        nodes: Whether pods must run; an API server is enough otherwise.

    Raises:
        ClusterUnavailableError: There is none; it says what to install.
    """
    if context := os.environ.get(CONTEXT_VARIABLE):
        return NamedContext(context)
    if shutil.which("kind") and docker_runs():
        return Kind(nodes=nodes)
    if not (reasons := Localkube.reasons_against(nodes=nodes)):
        return Localkube(nodes=nodes)
    raise ClusterUnavailableError(
        "No Kubernetes cluster can be had for these tests. Any one of these gives them one:\n"
        f"- name a context of your kubeconfig: {CONTEXT_VARIABLE}=my-context\n"
        "- install kind (https://kind.sigs.k8s.io) and start a Docker engine\n"
        "- let them start a local one, for which this is missing:\n    "
        + reasons.replace("\n", "\n    ")
        + "\n`make test-local` runs all tests that need no cluster."
    )


def docker_runs() -> bool:
    """Tell whether a Docker engine answers."""
    return succeeds("docker", "info")


class NamedContext:
    """A cluster that the user has, by its context; it is never stopped."""

    def __init__(self, context: str) -> None:
        self._context = context

    @contextmanager
    def running(self, announce: Announce) -> Iterator[Address]:
        """Copy the context into a kubeconfig of its own, so that no other can be meant."""
        announce(f"using the cluster of the context {self._context}")
        view = ["config", "view", "--minify", "--flatten", "--context", self._context]
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            kubeconfig.write_text(run([tools().kubectl, *view]))
            kubeconfig.chmod(0o600)
            yield Address(kubeconfig=kubeconfig, context=self._context)

    def load_image(self, archive: Path) -> None:
        """Load the image where the kind of cluster has a command for it."""
        for prefix, command in IMAGE_LOADERS.items():
            if self._context.startswith(prefix):
                name = self._context.removeprefix(prefix)
                run([word.format(archive=archive, name=name) for word in command], timeout=300)
                return
        raise ClusterUnavailableError(
            f"no way is known to load {archive.name} into the cluster of {self._context}: push the "
            "images where it can pull them and name them in PERDURE_TEST_WORKER_IMAGE and "
            "PERDURE_TEST_OPERATOR_IMAGE"
        )

    def kill_api_server(self) -> bool:
        """Leave somebody else's API server alone."""
        return False

    def start_api_server(self) -> None:
        """It was left alone."""


class Kind:
    """A kind cluster of its own name; one that is up already is used and left up."""

    def __init__(self, *, nodes: bool) -> None:
        self._name = "perdure-tests" if nodes else "perdure-tests-api"

    @contextmanager
    def running(self, announce: Announce) -> Iterator[Address]:
        """Create the cluster, or use the one that is up."""
        kubeconfig = cache_folder("kind") / f"{self._name}.kubeconfig"
        options = ["--name", self._name, "--kubeconfig", str(kubeconfig)]
        lock = file_lock(kubeconfig.with_suffix(".lock"), wait=LONG_WAIT, announce=announce)
        with lock as held, ExitStack() as stack:
            if not held:
                raise ClusterUnavailableError(
                    f"another process keeps the kind cluster {self._name}"
                )
            if self._name in run(["kind", "get", "clusters"]).split():
                run(["kind", "export", "kubeconfig", *options])
            else:
                announce("creating a kind cluster")
                stack.callback(run, ["kind", "delete", "cluster", *options], timeout=300)
                run(["kind", "create", "cluster", "--wait", "180s", *options], timeout=900)
            yield Address(kubeconfig=kubeconfig, context=f"kind-{self._name}")

    def load_image(self, archive: Path) -> None:
        """Load the image into kind's node."""
        run(["kind", "load", "image-archive", archive, "--name", self._name], timeout=300)

    def kill_api_server(self) -> bool:
        """Kill the API server in the node, and take its manifest from the kubelet."""
        self._in_node(f"mv {MANIFESTS}/{API_SERVER}.yaml {MANIFESTS}/..")
        self._in_node(f"pkill -KILL {API_SERVER}")
        return True

    def start_api_server(self) -> None:
        """Give the kubelet the manifest again."""
        self._in_node(f"mv {MANIFESTS}/../{API_SERVER}.yaml {MANIFESTS}")

    def _in_node(self, command: str) -> None:
        run(["docker", "exec", f"{self._name}-control-plane", *command.split()])


class Localkube:
    """The cluster of ``tests/localkube``; one that somebody started by hand is used and left up.

    The kind with a node exists once on a machine, for it owns a bridge; a second session waits. Of
    the kind without one each session gets its own.
    """

    def __init__(self, *, nodes: bool) -> None:
        self._flags = [] if nodes else ["--no-node"]
        names = ["node"] if nodes else ["api", *(f"api-{number}" for number in range(1, 16))]
        self._folders = [cache_folder("localkube", "state") / name for name in names]
        self._wait = LONG_WAIT if nodes else 0.0
        self._state = self._folders[0]

    @staticmethod
    def reasons_against(*, nodes: bool) -> str:
        """Return what this machine lacks, a line each; nothing when it lacks nothing."""
        try:
            run([LOCALKUBE, "check", *([] if nodes else ["--no-node"])])
        except (CommandError, OSError) as error:
            return str(error).partition(":\n")[2] or str(error)
        return ""

    @contextmanager
    def running(self, announce: Announce) -> Iterator[Address]:
        """Boot the cluster, or use the one that is up."""
        with ExitStack() as stack:
            self._state = self._lock_one(stack, announce)
            self._clear_the_abandoned()
            if not self._is_up():
                announce("booting a local cluster (seconds; the first time it is compiled: 17 min)")
                stack.callback(self._stop, self._state)
                _mark(self._state).touch()
                self._localkube("up", timeout=COMPILING)
            yield Address(kubeconfig=self._state / "admin.kubeconfig", context="localkube")

    def load_image(self, archive: Path) -> None:
        """Import the image into the node's containerd."""
        self._localkube("load", str(archive), timeout=300)

    def kill_api_server(self) -> bool:
        """Kill the API server."""
        self._localkube("kill-apiserver", timeout=120)
        return True

    def start_api_server(self) -> None:
        """Start it with all that it had."""
        self._localkube("start-apiserver", timeout=120)

    def _lock_one(self, stack: ExitStack, announce: Announce) -> Path:
        for folder in self._folders:
            lock = file_lock(_lock(folder), wait=self._wait, announce=announce)
            if stack.enter_context(lock):
                return folder
        raise ClusterUnavailableError(f"other processes keep every cluster of {self._folders}")

    def _clear_the_abandoned(self) -> None:
        """Stop what sessions that were killed have left, whatever state it is in."""
        for folder in filter(_is_marked, self._folders):
            if folder == self._state:
                self._stop(folder)
            else:
                with file_lock(_lock(folder), wait=0) as held:
                    if held and _is_marked(folder):
                        self._stop(folder)

    def _is_up(self) -> bool:
        try:
            self._localkube("status")
        except CommandError:
            return False
        return True

    def _stop(self, folder: Path) -> None:
        self._localkube("down", state=folder, timeout=120)
        _mark(folder).unlink()

    def _localkube(
        self, verb: str, *arguments: str, state: Path | None = None, timeout: float = 60
    ) -> None:
        run(
            [LOCALKUBE, verb, *self._flags, *arguments],
            timeout=timeout,
            env={"LOCALKUBE_STATE": str(state or self._state)},
        )


def _lock(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _mark(folder: Path) -> Path:
    """Return the file that says: a test session started this cluster and has not stopped it."""
    return folder.with_suffix(".started-by-tests")


def _is_marked(folder: Path) -> bool:
    return _mark(folder).exists()
