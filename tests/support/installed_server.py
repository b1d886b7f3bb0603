"""The server of an installed chart as a process here: its arguments, account and rights.

A cluster without nodes runs no pods, but everything that the chart says about the server can be
had without one: it is started with the arguments of the Deployment, and speaks to the API server
with a token of the ServiceAccount, so that it may do what the chart's roles allow and no more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, RPCError, TLSConfig
from support.cluster import Cluster
from support.cluster_tools import CHECKOUT
from support.processes import Server

CHART = str(CHECKOUT / "charts" / "perdure")
CERTIFICATE = "perdure-server-certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The chart in a namespace, and its server."""

    cluster: Cluster
    namespace: str
    server: Server

    @property
    def trust(self) -> TLSConfig:
        """Whom to trust, as everybody reads it."""
        data = self.cluster.get("secret", CERTIFICATE, namespace=self.namespace)["data"]
        return TLSConfig(server_root_ca_cert=base64.b64decode(data["ca.crt"]))

    async def outcome(self, key: str | None, request: Any) -> str:
        """Return ``ok``, or the code of the refusal."""
        async with await Client.connect(
            self.server.address, api_key=key, tls=self.trust, lazy=True
        ) as client:
            try:
                await client.service.call(request)
            except RPCError as error:
                return error.code
            return "ok"


@contextmanager
def installed_server(
    cluster: Cluster, namespace: str, folder: Path, *values: str
) -> Iterator[Installed]:
    """Install the chart in a namespace and run its server until the end."""
    options = [option for value in ("crds.install=false", *values) for option in ("--set", value)]
    cluster.helm("upgrade", "--install", "perdure", CHART, "-n", namespace, *options)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(account_of(cluster, namespace, "perdure", folder)))
            arguments = _arguments(cluster, namespace, folder)
            with Server(folder / "perdure.db", *arguments, log=folder / "server.log") as server:
                yield Installed(cluster=cluster, namespace=namespace, server=server)
    finally:
        cluster.helm("uninstall", "perdure", "-n", namespace)


def account_of(cluster: Cluster, namespace: str, name: str, folder: Path) -> Path:
    """Return a kubeconfig by which somebody is a ServiceAccount."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    context = next(each for each in config["contexts"] if each["name"] == cluster.context)
    token = cluster.kubectl("create", "token", name, "-n", namespace).strip()
    config["users"] = [{"name": name, "user": {"token": token}}]
    context["context"]["user"] = name
    config["current-context"] = cluster.context
    path = folder / f"{name}.kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _arguments(cluster: Cluster, namespace: str, folder: Path) -> list[str]:
    """Return the arguments of the Deployment, with paths and address of this machine."""
    pod = cluster.get("deployment", "perdure", namespace=namespace)["spec"]["template"]["spec"]
    (server,) = [each for each in pod["containers"] if each["name"] == "server"]
    given = [each.replace("/etc/perdure/", f"{folder}/") for each in server["args"]]
    for part in ("tls", "ca"):
        (folder / part).mkdir(exist_ok=True)
    own = {"--host", "--port", "--db"}
    return [
        each
        for before, each in zip(["", *given], given, strict=False)
        if each not in own and before not in own
    ]
