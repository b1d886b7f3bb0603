"""Tokens and rights as a real API server reviews them, for a real server process."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, RPCError, RPCStatusCode, TLSConfig
from perdure.protocol import verbs as vb
from perdure.protocol.tickets import new_ticket, object_name, ticket_manifest
from support.cluster import Cluster
from support.pki import AUTHORITY, write_pair
from support.processes import Server, Worker
from support.workflows import __file__ as WORKFLOWS  # noqa: N812 - a file's name is a constant

pytestmark = pytest.mark.timeout(600)

TRUST = TLSConfig(server_root_ca_cert=AUTHORITY.read_bytes())


@pytest.fixture(scope="module")
def shops(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Two namespaces, each with an ``editor``, a ``viewer``, a ``worker`` and a ``nobody``."""
    with cluster.namespace("shop") as shop, cluster.namespace("bank") as bank:
        for name in (shop, bank):
            for account in ("editor", "viewer", "worker", "nobody"):
                cluster.kubectl("create", "serviceaccount", account, "-n", name)
            grant(cluster, name, "editor", "get,list,watch,create,patch", "workflows.perdure.dev")
            grant(cluster, name, "viewer", "get,list,watch", "workflows.perdure.dev")
            grant(cluster, name, "worker", "create", "workerpools.perdure.dev/connect")
        yield shop, bank


def grant(cluster: Cluster, namespace: str, account: str, verbs: str, resource: str) -> None:
    """Grant it with the very commands that a refusal names."""
    cluster.kubectl(
        "create", "role", account, "-n", namespace, f"--verb={verbs}", f"--resource={resource}"
    )
    subject = f"--serviceaccount={namespace}:{account}"
    cluster.kubectl("create", "rolebinding", account, "-n", namespace, f"--role={account}", subject)


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("access")
    certificate, key = write_pair(folder)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--auth", "kubernetes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        with Server(folder / "perdure.db", *options, log=folder / "server.log") as server:
            yield server


def token(cluster: Cluster, namespace: str, account: str, *options: str) -> str:
    return cluster.kubectl(
        "create", "token", account, "-n", namespace, *(options or ("--audience=perdure",))
    ).strip()


async def outcome(server: Server, key: str | None, request: Any) -> str:
    """Return ``ok``, or the code of the refusal."""
    async with await Client.connect(server.address, api_key=key, tls=TRUST, lazy=True) as client:
        try:
            await client.service.call(request)
        except RPCError as error:
            return error.code
        return "ok"


def start(namespace: str, workflow_id: str = "a") -> vb.StartRequest:
    return vb.StartRequest(
        namespace=namespace, workflow_id=workflow_id, workflow_type="Order", task_queue="q",
        request_id=workflow_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("editor", ("ok", "ok", "ok", "ok")),
        ("viewer", ("Forbidden", "Forbidden", "ok", "ok")),
        ("worker", ("Forbidden", "Forbidden", "Forbidden", "Forbidden")),
        ("nobody", ("Forbidden", "Forbidden", "Forbidden", "Forbidden")),
    ],
)
async def test_each_account_does_what_its_role_says_and_nothing_elsewhere(
    cluster: Cluster,
    shops: tuple[str, str],
    server: Server,
    account: str,
    expected: tuple[str, ...],
) -> None:
    shop, bank = shops
    assert await outcome(server, token(cluster, shop, "editor"), start(shop)) == "ok"
    key = token(cluster, shop, account)

    def requests(namespace: str) -> tuple[Any, ...]:
        target = {"namespace": namespace, "workflow_id": "a"}
        return (
            start(namespace),
            vb.SignalRequest(**target, name="go"),
            vb.DescribeRequest(**target),
            vb.ListRequest(namespace=namespace, kind="workflow"),
        )

    assert tuple([await outcome(server, key, each) for each in requests(shop)]) == expected
    for request in (*requests(bank), vb.ListRequest(kind="workflow"), vb.QueuesRequest()):
        assert await outcome(server, key, request) == "Forbidden"


async def test_a_role_for_one_run_by_its_name_opens_that_run_only(
    cluster: Cluster, shops: tuple[str, str], server: Server
) -> None:
    shop, _bank = shops
    editor = token(cluster, shop, "editor")
    for workflow_id in ("mine", "yours"):
        assert await outcome(server, editor, start(shop, workflow_id)) == "ok"
    cluster.kubectl("create", "serviceaccount", "owner", "-n", shop)
    cluster.kubectl(
        "create", "role", "owner", "-n", shop, "--verb=get", "--resource=workflows.perdure.dev",
        "--resource-name=mine",
    )  # fmt: skip
    subject = f"--serviceaccount={shop}:owner"
    cluster.kubectl("create", "rolebinding", "owner", "-n", shop, "--role=owner", subject)

    key = token(cluster, shop, "owner")
    for workflow_id, expected in (("mine", "ok"), ("yours", "Forbidden")):
        request = vb.DescribeRequest(namespace=shop, workflow_id=workflow_id)
        assert await outcome(server, key, request) == expected


async def test_tokens_that_are_not_for_this_server_are_refused(
    cluster: Cluster, shops: tuple[str, str], server: Server
) -> None:
    shop, _bank = shops
    good = token(cluster, shop, "editor")
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = f"system:serviceaccount:{shop}:worker"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    bad = {
        "for another audience": token(cluster, shop, "editor", "--audience=vault"),
        "for the API server": token(cluster, shop, "editor", "--duration=10m"),
        "garbage": "garbage",
        "forged": f"{header}.{forged}.{signature}",
    }
    request = vb.ListRequest(namespace=shop, kind="workflow")

    found = {name: await outcome(server, key, request) for name, key in bad.items()}

    assert found == dict.fromkeys(bad, "Unauthorized")
    assert await outcome(server, None, request) == "Unauthorized"
    assert await outcome(server, good, request) == "ok"
    log = server.log.read_text()
    assert not [key for key in (good, *bad.values()) if key in log and key != "garbage"]


async def test_a_token_whose_account_is_gone_is_refused(
    cluster: Cluster, shops: tuple[str, str], server: Server
) -> None:
    shop, _bank = shops
    cluster.kubectl("create", "serviceaccount", "leaver", "-n", shop)
    key = token(cluster, shop, "leaver")
    cluster.kubectl("delete", "serviceaccount", "leaver", "-n", shop)
    request = vb.ListRequest(namespace=shop)
    deadline = time.monotonic() + 30
    while await outcome(server, key, request) != "Unauthorized":
        assert time.monotonic() < deadline


async def test_a_run_is_done_by_a_worker_of_its_namespace_with_a_token_from_a_file(
    cluster: Cluster, shops: tuple[str, str], server: Server, tmp_path: Path
) -> None:
    shop, bank = shops
    (tmp_path / "token").write_text(token(cluster, shop, "worker"))
    env = {
        "PERDURE_TOKEN_FILE": str(tmp_path / "token"),
        "PERDURE_TLS_CA": str(AUTHORITY),
    }

    def worker(namespace: str) -> Worker:
        options = ("--namespace", namespace, "--task-queue", "q")
        log = tmp_path / f"{namespace}.log"
        return Worker(server.address, str(WORKFLOWS), log=log, env=env, options=options)

    with worker(bank) as stranger:
        assert stranger.wait(60) == 4
        assert f"{shop}:worker may not create workerpools" in stranger.log.read_text()
    with worker(shop):
        key = token(cluster, shop, "editor")
        async with await Client.connect(
            server.address, namespace=shop, api_key=key, tls=TRUST
        ) as client:
            slept = await client.execute_workflow("Sleep", 0.1, id="nap", task_queue="q")
    assert slept >= 0.1


async def test_a_server_that_cannot_ask_lets_nobody_in(
    cluster: Cluster, shops: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _bank = shops
    away = cluster.kubeconfig.read_text()
    config = tmp_path / "kubeconfig"
    config.write_text(away)
    subprocess.run(
        ["kubectl", "config", "set-cluster", json.loads(cluster.kubectl(
            "config", "view", "-o", "json"))["clusters"][0]["name"],
         "--server=https://127.0.0.1:1", "--kubeconfig", str(config)],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", str(config))
    certificate, key = write_pair(tmp_path)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--auth", "kubernetes")
    with Server(tmp_path / "perdure.db", *options, log=tmp_path / "server.log") as server:
        async with await Client.connect(
            server.address, api_key=token(cluster, shop, "editor"), tls=TRUST, lazy=True
        ) as client:
            client.service.retry_config.max_elapsed_time_millis = 0
            with pytest.raises(RPCError) as error:
                await client.service.call(vb.ListRequest(namespace=shop))
    assert (error.value.code, error.value.status) == ("Unavailable", RPCStatusCode.UNAVAILABLE)


async def test_a_ticket_speaks_for_the_person_who_made_it_and_for_nobody_after_it_is_gone(
    cluster: Cluster, shops: tuple[str, str], server: Server
) -> None:
    shop, bank = shops
    resource = "--resource=certificatesigningrequests.certificates.k8s.io"
    cluster.kubectl("create", "clusterrole", "tickets", "--verb=create", resource)
    cluster.kubectl("create", "clusterrolebinding", "tickets", "--clusterrole=tickets",
                    "--group=system:authenticated")  # fmt: skip
    request = vb.ListRequest(namespace=shop, kind="workflow")

    def ticket(*person: str) -> str:
        made = new_ticket()
        manifest = json.dumps(ticket_manifest(made))
        cluster.kubectl(*person, "create", "-f", "-", input=manifest)
        return made

    ann = ticket("--as=ann", "--as-group=system:authenticated", "--as-group=shopkeepers")
    assert await outcome(server, ann, request) == "Forbidden"
    cluster.kubectl("create", "rolebinding", "keepers", "-n", shop, "--role=viewer",
                    "--group=shopkeepers")  # fmt: skip
    deadline = time.monotonic() + 30
    while await outcome(server, ann, request) != "ok":
        assert time.monotonic() < deadline
    assert await outcome(server, ann, start(shop, "no")) == "Forbidden"
    assert await outcome(server, ann, vb.ListRequest(namespace=bank)) == "Forbidden"

    assert await outcome(server, new_ticket(), request) == "Unauthorized"
    cluster.kubectl("delete", "csr", object_name(ann))
    deadline = time.monotonic() + 30
    while await outcome(server, ann, request) != "Unauthorized":
        assert time.monotonic() < deadline
    assert ann not in server.log.read_text()
