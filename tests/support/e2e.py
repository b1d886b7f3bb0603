"""What the end-to-end tests stand on: the installed chart, and a team that uses it.

A :class:`Release` is the chart in a namespace of its own, as ``helm install`` leaves it. A
:class:`Team` works in another namespace with manifests and kubectl alone, as users do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.cluster import Cluster, Manifest
from support.cluster_fixtures import ClusterImages
from support.cluster_tools import CHECKOUT, CommandError, run, tools

CHART = CHECKOUT / "charts" / "perdure"
CRDS = CHECKOUT / "crds"
CRD_NAMES = tuple(sorted(path.stem for path in CRDS.glob("*.yaml")))
CONTROL_PLANE = "app.kubernetes.io/component=control-plane"
STANDBY = "app.kubernetes.io/component=standby"
POOL_LABEL = "perdure.dev/pool"
UNINSTALL_WAIT = 120.0  # seconds for what the teams have left to go


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The chart, installed."""

    cluster: Cluster
    namespace: str
    worker_image: str
    teams: set[str] = field(default_factory=set)
    """The namespaces that it was used from."""

    def pod(self) -> dict[str, Any]:
        """Return the pod of the control plane that is not on its way out."""
        pods = self.cluster.get("pods", "-l", CONTROL_PLANE, namespace=self.namespace)["items"]
        return next(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def container(self, name: str) -> dict[str, Any]:
        """Return the status of its container: ``server`` or ``operator``."""
        return _container(self.pod(), name)

    def wait_restarted(self, name: str) -> None:
        """Wait until its pod has seen one of its containers die, and has started it again."""
        self.cluster.eventually(
            lambda: self.container(name)["restartCount"] > 0, what=f"{name} started again"
        )

    def wait_ready(self, *, timeout: float = 60) -> None:
        """Wait until the Deployment has its pod ready."""
        self.cluster.wait_for(
            "condition=Available", "deployment/perdure", namespace=self.namespace, timeout=timeout
        )

    def perdure(self, folder: Path, *arguments: str) -> str:
        """Run the command line from outside of the cluster and return what it printed."""
        command = [Path(sys.executable).with_name("perdure"), *arguments]
        command += ["--kubeconfig", self.cluster.kubeconfig, "--context", self.cluster.context]
        command += ["--server-namespace", self.namespace]
        path = os.pathsep.join([str(tools().kubectl.parent), os.environ["PATH"]])
        return run(command, env={"PATH": path, "XDG_CACHE_HOME": str(folder / "cache")})

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in its namespace and return what it printed."""
        return self.cluster.kubectl(*arguments, "-n", self.namespace)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stop server and operator for a while."""
        self.kubectl("scale", "deployment/perdure", "--replicas=0")
        self.kubectl("wait", "--for=delete", "pod", "-l", CONTROL_PLANE, "--timeout=50s")
        try:
            yield
        finally:
            self.kubectl("scale", "deployment/perdure", "--replicas=1")
            self.wait_ready()

    @contextmanager
    def standby(self) -> Iterator[None]:
        """Have a second operator for a while, which leads when the first one cannot."""
        self.upgrade("operator.standbys=1")
        try:
            yield
        finally:
            self.upgrade("operator.standbys=0")

    def upgrade(self, *values: str) -> None:
        """Upgrade it to what it is, with these values changed; what is missing is made again."""
        options = ["-n", self.namespace, "--reset-then-reuse-values", "--wait", "--timeout", "120s"]
        changed = [word for value in values for word in ("--set", value)]
        self.cluster.helm("upgrade", "perdure", str(CHART), *options, *changed)

    @contextmanager
    def without_volume(self, *values: str) -> Iterator[None]:
        """Take the store's volume away with the pod, at once; on exit there is an empty one."""
        claim = self.cluster.get("pvc/perdure", namespace=self.namespace)["metadata"]["uid"]
        self.kubectl("delete", "pvc/perdure", "--wait=false")
        pod = self.pod()["metadata"]["name"]
        self.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        self.cluster.eventually(lambda: claim not in self._claims(), what="the claim is gone")
        try:
            yield
        finally:
            self.upgrade(*values)

    def _claims(self) -> list[str]:
        found = self.cluster.get("pvc", namespace=self.namespace)["items"]
        return [each["metadata"]["uid"] for each in found]

    def logs(self) -> str:
        """Return what server and operator have said, the containers before these included."""
        said = []
        for name in ("server", "operator"):
            for which in ([], ["--previous"]):
                options = ["-l", CONTROL_PLANE, "-c", name, "--tail=200", *which]
                try:
                    log = self.cluster.logs(*options, namespace=self.namespace)
                except CommandError as error:
                    log = str(error)
                said.append(f"--- {name} {' '.join(which)}\n{log}")
        return "\n".join(said)


@contextmanager
def installed(cluster: Cluster, images: ClusterImages) -> Iterator[Release]:
    """Install the chart with its CRDs; on exit take away all that it brought.

    CRDs that are there already belong to somebody: they are brought up to date, and stay.
    """
    has_crds = bool(cluster.kubectl("get", "crd", "-o", "name", CRD_NAMES[0], "--ignore-not-found"))
    if has_crds:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    with cluster.namespace("perdure") as namespace:
        release = Release(cluster=cluster, namespace=namespace, worker_image=images.worker)
        try:
            helm_install(cluster, images, namespace, f"crds.install={str(not has_crds).lower()}")
            yield release
        finally:
            _uninstall(release, with_crds=not has_crds)


def helm_install(
    cluster: Cluster, images: ClusterImages, namespace: str, *values: str, chart: Path = CHART
) -> None:
    """Install the chart with these images, and wait until it is ready."""
    cluster.helm("install", "perdure", str(chart), *_settings(images, namespace, values))


def helm_upgrade(cluster: Cluster, images: ClusterImages, namespace: str, *values: str) -> None:
    """Upgrade an install to this checkout's chart and these images, and wait until it is ready."""
    cluster.helm("upgrade", "perdure", str(CHART), *_settings(images, namespace, values))


def _settings(images: ClusterImages, namespace: str, values: Sequence[str]) -> list[str]:
    given = [*values, *_image("image", images.operator), *_image("workerImage", images.worker)]
    return ["-n", namespace, "--set", ",".join(given), "--wait", "--timeout", "120s"]


def _uninstall(release: Release, *, with_crds: bool) -> None:
    """Uninstall once the teams are gone: what they delete waits for the operator."""
    cluster = release.cluster
    stuck = _wait_for_teams(release)
    logs = release.logs() if stuck else ""
    for team in stuck:
        for resource in cluster.kubectl("get", "perdure", "-o", "name", "-n", team).split():
            let_go = '{"metadata": {"finalizers": null}}'
            cluster.kubectl("patch", resource, "--type=merge", "-p", let_go, "-n", team)
    cluster.helm("uninstall", "perdure", "-n", release.namespace, "--ignore-not-found")
    if with_crds:
        cluster.kubectl("delete", "crd", *CRD_NAMES, "--ignore-not-found")
    assert not stuck, f"the operator did not let go of what was in {stuck}:\n{logs}"


def _wait_for_teams(release: Release) -> list[str]:
    """Wait for the teams' namespaces to be gone and return those that are not."""
    if not release.teams:
        return []
    names = [f"namespace/{team}" for team in sorted(release.teams)]
    limit = f"--timeout={UNINSTALL_WAIT:g}s"
    release.cluster.kubectl(
        "wait", "--for=delete", *names, limit, check=False, timeout=UNINSTALL_WAIT + 10
    )
    left = release.cluster.kubectl("get", *names, "-o", "name", "--ignore-not-found").split()
    return [name.partition("/")[2] for name in left]


def _image(value: str, name: str) -> list[str]:
    repository, _, tag = name.rpartition(":")
    return [f"{value}.repository={repository}", f"{value}.tag={tag}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Users in a namespace, with kubectl."""

    cluster: Cluster
    release: Release
    namespace: str

    def apply(self, *manifests: Manifest) -> str:
        """Apply manifests."""
        return self.cluster.apply(*manifests, namespace=self.namespace)

    def kubectl(self, *arguments: str, check: bool = True, timeout: float = 60) -> str:
        """Run kubectl in the namespace and return what it printed."""
        return self.cluster.kubectl(*arguments, "-n", self.namespace, check=check, timeout=timeout)

    def give_code(self, name: str, *files: Path) -> None:
        """Put Python files into a ConfigMap."""
        self.kubectl("create", "configmap", name, *(f"--from-file={file}" for file in files))

    def replace_code(self, name: str, file: str, code: str) -> None:
        """Change a Python file in a ConfigMap."""
        self.patch(f"configmap/{name}", {"data": {file: code}})

    def get(self, resource: str) -> dict[str, Any]:
        """Return an object, e.g. ``workflow/order-42``."""
        return self.cluster.get(resource, namespace=self.namespace)

    def status(self, resource: str) -> dict[str, Any]:
        """Return its status."""
        status: dict[str, Any] = self.get(resource)["status"]
        return status

    def condition(self, resource: str, type_: str) -> dict[str, str]:
        """Return a condition of it; an empty one when it has none of the type."""
        conditions: list[dict[str, str]] = self.status(resource)["conditions"]
        return next((each for each in conditions if each["type"] == type_), {})

    def wait_for(self, condition: str, resource: str, *, timeout: float = 60) -> None:
        """Wait as ``kubectl wait --for`` does."""
        self.cluster.wait_for(condition, resource, namespace=self.namespace, timeout=timeout)

    def wait_for_reason(
        self, reason: str, type_: str, resource: str, *, timeout: float = 60
    ) -> dict[str, str]:
        """Wait until a condition has this reason, and return it."""
        self.cluster.eventually(
            lambda: self.condition(resource, type_).get("reason") == reason,
            what=f"{type_} of {resource} with the reason {reason}",
            timeout=timeout,
        )
        return self.condition(resource, type_)

    def signal(self, workflow: str, id_: str, name: str, *arguments: Any) -> None:
        """Append a signal to a Workflow that has none yet."""
        signal = {"id": id_, "name": name, "input": list(arguments)}
        self.patch(f"workflow/{workflow}", {"spec": {"signals": [signal]}})

    def patch(self, resource: str, patch: Mapping[str, Any]) -> None:
        """Change an object."""
        self.kubectl("patch", resource, "--type", "merge", "--patch", json.dumps(patch))

    def pods(self, pool: str) -> list[dict[str, Any]]:
        """Return the pods of a pool's workers, whatever became of them."""
        return self._of("pods", pool)

    def jobs(self, pool: str) -> list[dict[str, Any]]:
        """Return the Jobs of a pool's workers, whatever became of them."""
        return self._of("jobs", pool)

    def running_pod(self, pool: str, *, besides: Sequence[str] = (), timeout: float = 60) -> str:
        """Wait for a worker's pod that runs and is none of ``besides``; return its name."""

        def names() -> list[str]:
            return [
                pod["metadata"]["name"]
                for pod in self.pods(pool)
                if pod["status"]["phase"] == "Running"
                and "deletionTimestamp" not in pod["metadata"]
                and pod["metadata"]["name"] not in besides
            ]

        self.cluster.eventually(
            lambda: bool(names()), what=f"a running worker of {pool}", timeout=timeout
        )
        return names()[0]

    def wait_for_no_worker(self, pool: str, *, timeout: float = 60) -> None:
        """Wait until a pool has neither Jobs nor pods."""
        self.cluster.eventually(
            lambda: not self.jobs(pool) and not self.pods(pool),
            what=f"no worker of {pool} left",
            timeout=timeout,
        )

    def print_volume(self, claim: str, file: str) -> str:
        """Return the content of a file on a claim's volume, read by a pod of its own."""
        name = f"reader-{claim}"
        self.cluster.delete("pod", name, namespace=self.namespace)
        self.apply(_reader(name, self.release.worker_image, claim, file))
        self.wait_for("jsonpath={.status.phase}=Succeeded", f"pod/{name}")
        return self.cluster.logs(name, namespace=self.namespace)

    def _of(self, plural: str, pool: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cluster.get(
            plural, "-l", f"{POOL_LABEL}={pool}", namespace=self.namespace
        )["items"]
        return found


def container_id(pod: Mapping[str, Any], name: str) -> str:
    """Return the id that the node's runtime gave to a pod's container."""
    full: str = _container(pod, name)["containerID"]
    return full.partition("://")[2]


def _container(pod: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in pod["status"]["containerStatuses"] if each["name"] == name
    )
    return found


def _reader(name: str, image: str, claim: str, file: str) -> dict[str, Any]:
    script = f"print(open('/volume/{file}').read(), end='')"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["python", "-c", script],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
                }
            ],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }
