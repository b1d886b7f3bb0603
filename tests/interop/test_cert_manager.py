"""cert-manager makes the server's certificate by what the chart renders, and renews it.

An API server without nodes is enough: the test is the kubelet that mounts the Secret.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from perdure.client import Client, TLSConfig
from support.cluster import Cluster, Manifest, a_cluster
from support.cluster_tools import CHECKOUT, run, tools
from support.interop_cert_manager import (
    an_authority,
    cert_manager,
    mount,
    read_secret,
    renew,
)
from support.processes import Server, Worker
from support.workflows import __file__ as WORKFLOWS  # noqa: N812 - a file's name is a constant

CHART = CHECKOUT / "charts" / "perdure"
NAME = "perdure-server-tls"

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with cert-manager."""
    with (
        a_cluster(nodes=False) as cluster,
        cert_manager(cluster, tmp_path_factory.mktemp("cert-manager")),
    ):
        yield cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace with what the chart has for cert-manager, the certificate issued."""
    with cluster.namespace("tls") as namespace:
        cluster.apply(*an_authority(namespace), *rendered(namespace), namespace=namespace)
        cluster.wait_for("condition=Ready", f"certificate/{NAME}", namespace=namespace)
        yield namespace


def rendered(namespace: str) -> list[Manifest]:
    values = ("tls.enabled=true", "tls.certManager.enabled=true")
    options = [f"--set={value}" for value in (*values, "tls.certManager.issuerName=perdure")]
    command = [tools().helm, "template", "perdure", "-n", namespace, CHART, *options]
    found = [each for each in yaml.safe_load_all(run(command)) if each]
    return [each for each in found if each["apiVersion"].startswith("cert-manager.io/")]


def test_the_chart_asks_for_one_certificate(namespace: str) -> None:
    assert [each["kind"] for each in rendered(namespace)] == ["Certificate"]


def test_the_secret_has_what_the_deployment_mounts(cluster: Cluster, namespace: str) -> None:
    assert {"tls.crt", "tls.key", "ca.crt"} <= set(read_secret(cluster, namespace, NAME))


async def test_a_server_with_the_certificate_is_believed_under_all_its_names(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    secret = read_secret(cluster, namespace, NAME)
    with serve(secret, tmp_path) as server:
        for name in (
            f"perdure-server.{namespace}.svc",
            f"perdure-server.{namespace}.svc.cluster.local",
            f"perdure-server.{namespace}",
            "perdure-server",
            "localhost",
            None,
        ):
            trust = TLSConfig(server_root_ca_cert=secret["ca.crt"], domain=name)
            async with await Client.connect(server.address, tls=trust) as client:
                assert [each async for each in client.list_workflows()] == []


async def test_a_renewed_certificate_is_taken_up_without_a_restart(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    first = read_secret(cluster, namespace, NAME)
    with serve(first, tmp_path) as server:
        authority = tmp_path / "ca.pem"
        authority.write_bytes(first["ca.crt"])
        options = ("--tls-ca", str(authority))
        with Worker(
            server.address, WORKFLOWS, log=tmp_path / "worker.log", options=options
        ) as worker:
            renew(cluster, namespace, NAME)
            cluster.eventually(
                lambda: read_secret(cluster, namespace, NAME)["tls.crt"] != first["tls.crt"],
                what="the certificate is issued anew",
            )
            second = read_secret(cluster, namespace, NAME)
            assert shown(server) == leaf(first)
            mount(second, tmp_path / "tls")

            until = time.monotonic() + 30
            while shown(server) != leaf(second) and time.monotonic() < until:
                time.sleep(0.5)
            assert shown(server) == leaf(second)
            assert second["ca.crt"] == first["ca.crt"]
            trust = TLSConfig(server_root_ca_cert=first["ca.crt"])
            async with await Client.connect(server.address, tls=trust) as client:
                assert [each async for each in client.list_workflows()] == []
            assert worker.is_alive


def serve(secret: dict[str, bytes], folder: Path) -> Server:
    """Start a server with the files of a Secret."""
    files = folder / "tls"
    files.mkdir()
    mount(secret, files)
    options = ("--tls-cert", str(files / "tls.crt"), "--tls-key", str(files / "tls.key"))
    return Server(folder / "perdure.db", *options, log=folder / "server.log")


def shown(server: Server) -> str:
    """Return the certificate that the server shows."""
    return ssl.get_server_certificate(("localhost", server.port)).strip()


def leaf(secret: dict[str, bytes]) -> str:
    """Return the first certificate of a chain."""
    end = "-----END CERTIFICATE-----"
    return secret["tls.crt"].decode().partition(end)[0] + end
