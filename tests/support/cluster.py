"""A real Kubernetes cluster for tests, wherever one can be had.

:func:`a_cluster` gives one: the context that ``PERDURE_TEST_CONTEXT`` names, else kind where a
Docker engine runs, else one compiled from Go modules (``tests/localkube``). Tests talk to it
through :class:`Cluster`, in the words of kubectl, and keep to a namespace of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.cluster_providers import Provider, choose_provider
from support.cluster_tools import CHECKOUT, Announce, CommandError, run, tools

TEST_LABEL = "perdure.dev/test"
"""On every namespace that a test made, so that leftovers are found with one selector."""

Manifest = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster."""

    kubeconfig: Path
    """Holds this cluster only, complete in itself."""
    context: str
    has_nodes: bool
    """Whether pods were asked for; without, Jobs are accepted and their pods stay Pending."""
    provider: Provider

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - subprocess's own name
        check: bool = True,
        timeout: float = 60,
    ) -> str:
        """Run kubectl against this cluster and return what it printed.

        Raises:
            CommandError: It failed; not raised without ``check``.
        """
        return run(
            [str(tools().kubectl), *self._options("--context"), *arguments],
            input=input,
            check=check,
            timeout=timeout,
        )

    def helm(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Run helm against this cluster and return what it printed."""
        command = [str(tools().helm), *self._options("--kube-context"), *arguments]
        return run(command, check=check, timeout=timeout)

    def apply(self, *manifests: Manifest, namespace: str = "default", check: bool = True) -> str:
        """Apply manifests, each YAML text or an object, as ``kubectl apply`` does."""
        # The leading mark makes a stream that begins with JSON be read as YAML.
        texts = [text if isinstance(text, str) else json.dumps(text) for text in manifests]
        documents = "".join(f"---\n{text}\n" for text in texts)
        return self.kubectl("apply", "-n", namespace, "-f", "-", input=documents, check=check)

    def get(self, *arguments: str, namespace: str = "default") -> dict[str, Any]:
        """Return an object (``"pod", "a"``) or a list (``"pods", "-l", "x=y"``)."""
        answer: dict[str, Any] = json.loads(
            self.kubectl("get", *arguments, "-n", namespace, "-o", "json")
        )
        return answer

    def delete(self, *arguments: str, namespace: str = "default") -> str:
        """Delete objects, and do not mind when they are gone; flags as kubectl has them."""
        return self.kubectl("delete", *arguments, "-n", namespace, "--ignore-not-found")

    def logs(self, *arguments: str, namespace: str = "default") -> str:
        """Return a pod's log; flags as kubectl has them."""
        return self.kubectl("logs", *arguments, "-n", namespace)

    def wait_for(
        self, condition: str, resource: str, *, namespace: str = "default", timeout: float = 60
    ) -> None:
        """Wait as ``kubectl wait --for=condition`` does, e.g. ``"condition=Complete", "job/a"``."""
        limit = f"--timeout={timeout:g}s"
        self.kubectl(
            "wait", f"--for={condition}", resource, "-n", namespace, limit, timeout=timeout + 10
        )

    def eventually(self, holds: Callable[[], bool], *, what: str, timeout: float = 60) -> None:
        """Ask ``holds`` until it does; what it asks of the cluster may fail until then.

        Raises:
            AssertionError: It did not within ``timeout`` seconds; says ``what`` was expected.
        """
        deadline = time.monotonic() + timeout
        last = "it was asked and said no"
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except (CommandError, KeyError, IndexError) as error:
                last = repr(error)
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {timeout:g} s; {last}")

    @contextmanager
    def api_server_down(self) -> Iterator[bool]:
        """Kill the API server; on exit start it again, and wait until it serves.

        It gives False, and does nothing, where the API server is somebody else's.
        """
        is_down = self.provider.kill_api_server()
        try:
            yield is_down
        finally:
            if is_down:
                self.provider.start_api_server()
                self.eventually(
                    lambda: self.kubectl("get", "--raw", "/readyz") == "ok",
                    what="the API server is back",
                )

    def restart_api_server(self) -> bool:
        """Kill the API server and start it again; False where it is somebody else's."""
        with self.api_server_down() as was_down:
            return was_down

    def define_resources(self) -> None:
        """Apply the definitions of this checkout, and wait until they are served."""
        crds = str(CHECKOUT / "crds")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)

    def load_image(self, archive: Path) -> None:
        """Put the image of a docker-archive onto the nodes."""
        self.provider.load_image(archive)

    @contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """Make a namespace that enforces Pod Security "restricted"; delete it on exit.

        It is deleted without waiting: what its finalizers wait for must not hold up the next test.
        """
        name = f"{prefix}-{uuid4().hex[:8]}"
        labels = {TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            # Until it is there, a bare pod is refused.
            self.eventually(
                lambda: bool(self.get("serviceaccount", "default", namespace=name)),
                what=f"the default service account of {name}",
            )
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def evidence(self, namespace: str) -> str:
        """Return what is known of a namespace, for the report of a test that failed in it."""
        parts = [
            self._shown("get", "all,pvc", "-o", "wide", "-n", namespace),
            self._shown(
                "get", "workflows,activities,workerpools,schedules", "-o", "yaml", "-n", namespace
            ),
            self._shown("get", "events", "--sort-by=.lastTimestamp", "-n", namespace),
        ]
        pods = self.kubectl("get", "pods", "-o", "name", "-n", namespace, check=False).split()
        for pod in pods:
            parts.append(self._shown("describe", pod, "-n", namespace))
            parts.append(self._shown("logs", pod, "--all-containers", "--tail=80", "-n", namespace))
        return "\n".join(parts)

    def _shown(self, *arguments: str) -> str:
        return f"$ kubectl {' '.join(arguments)}\n{self.kubectl(*arguments, check=False)}"

    def _options(self, context_flag: str) -> list[str]:
        return ["--kubeconfig", str(self.kubeconfig), context_flag, self.context]


@contextmanager
def a_cluster(*, nodes: bool, announce: Announce = print) -> Iterator[Cluster]:
    """Give a cluster: start it or find it up; on exit, stop it if it was started here.

    Args:
        nodes: Whether pods must run. Without, an API server with its controllers is enough, which
            boots in half the time and needs no root.
        announce: Says on the terminal what takes long.

    Raises:
        ClusterUnavailableError: This machine offers none; it says what to install.
    """
    provider = choose_provider(nodes=nodes)
    with provider.running(announce) as address:
        yield Cluster(
            kubeconfig=address.kubeconfig,
            context=address.context,
            has_nodes=nodes,
            provider=provider,
        )
