"""KEDA's scaler reads the server's numbers by the ScaledObject of the how-to."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from perdure.client import Client
from support.cluster import Cluster
from support.cluster_tools import CHECKOUT, CommandError, run, tools
from support.interop_programs import program
from support.pki import AUTHORITY, write_pair
from support.processes import Server

HOWTO = (CHECKOUT / "docs" / "how-to" / "scale-workers.md").read_text(encoding="utf-8")
QUEUE = "orders"

pytestmark = pytest.mark.timeout(3600)


def shown_trigger() -> dict[str, Any]:
    """Return the trigger that the how-to shows."""
    blocks = [part.partition("```")[0] for part in HOWTO.split("```yaml\n")[1:]]
    (found,) = [each for each in map(yaml.safe_load, blocks) if each["kind"] == "ScaledObject"]
    trigger: dict[str, Any] = found["spec"]["triggers"][0]
    return trigger


TRIGGER = shown_trigger()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without guards."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder / "perdure.db", log=folder / "server.log") as server:
        yield server


async def test_the_scaler_counts_what_waits(server: Server) -> None:
    idle = scaled(server)
    async with await Client.connect(server.address, namespace="shop") as client:
        for number in range(250):
            await client.start_workflow("Order", id=f"order-{number}", task_queue=QUEUE)
    busy = scaled(server)

    assert (idle["active"], idle["value"]) == (False, 0)
    assert (busy["active"], busy["value"]) == (True, 250_000)
    # 250 by 100 slots is three workers, as the HorizontalPodAutoscaler divides and rounds up.
    assert -(-busy["value"] // busy["target"]) == 3


def test_without_a_number_it_fails_and_nothing_is_scaled(server: Server, tmp_path: Path) -> None:
    address = server.address
    with Server(tmp_path / "other.db", log=tmp_path / "other.log") as other:
        gone = other.address

    with pytest.raises(CommandError, match="refused"):
        scaled_at(gone)
    with pytest.raises(CommandError, match="404"):
        scaled_at(address, path="/api/v1/queues/shop")


@pytest.fixture
def secured(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Server, Path]]:
    """A server with TLS and tokens, and the folder with its authority."""
    certificate, key = write_pair(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--auth", "kubernetes")
    trusted = tmp_path / "ca"
    trusted.mkdir()
    (trusted / "perdure.crt").write_bytes(AUTHORITY.read_bytes())
    with Server(tmp_path / "perdure.db", *options, log=tmp_path / "server.log") as server:
        yield server, trusted


def test_a_scaler_with_the_token_of_the_how_to_may_read_its_queue_and_no_other(
    cluster: Cluster, secured: tuple[Server, Path]
) -> None:
    server, trusted = secured
    bearer = {"authMode": "bearer"}
    with cluster.namespace("shop") as shop:
        token = make_token(cluster, shop)
        mine, other = (f"/api/v1/queues/{shop}/{queue}" for queue in (QUEUE, "refunds"))

        def scale(path: str, token: str, trusted: Path = trusted) -> dict[str, Any]:
            options = {"metadata": bearer, "token": token, "trusted": trusted}
            return scaled_at(f"https://{server.address}", path=path, **options)

        assert scale(mine, token)["value"] == 0
        with pytest.raises(CommandError, match="403"):
            scale(other, token)
        with pytest.raises(CommandError, match="401"):
            scale(mine, "stolen")
        with pytest.raises(CommandError, match="unknown authority"):
            scale(mine, token, Path("nothing"))


def make_token(cluster: Cluster, shop: str) -> str:
    """Run the commands of the how-to, in a namespace of the test, and return the token."""
    (block,) = [
        part.partition("```")[0]
        for part in HOWTO.split("```sh\n")[1:]
        if "create serviceaccount scaler" in part
    ]
    env = {"KUBECONFIG": str(cluster.kubeconfig)}
    kubectl = f"{tools().kubectl} -n {shop}"
    run(
        [
            "bash",
            "-euc",
            block.replace("kubectl -n shop", kubectl).replace("shop:scaler", f"{shop}:scaler"),
        ],
        env=env,
    )
    secret = cluster.get("secret", "scaler", namespace=shop)
    return b64decode(secret["data"]["token"]).decode()


def scaled(server: Server) -> dict[str, Any]:
    """Return what KEDA makes of the how-to's trigger, at a server."""
    return scaled_at(server.address)


def scaled_at(
    address: str,
    *,
    path: str = "",
    metadata: Mapping[str, str] | None = None,
    token: str = "",
    trusted: Path = Path("nothing"),
) -> dict[str, Any]:
    base = address if "://" in address else f"http://{address}"
    there = base + (path or urlsplit(TRIGGER["metadata"]["url"]).path)
    trigger = {
        "metadata": TRIGGER["metadata"] | {"url": there} | dict(metadata or {}),
        "authParams": {"token": token} if token else {},
    }
    command = [program("keda-scaler"), trusted]
    answer: dict[str, Any] = json.loads(run(command, input=json.dumps(trigger)))
    return answer
