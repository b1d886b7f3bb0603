"""The chart's server as it is by default, with its own account's rights and no others.

Installed for the cluster, and for one namespace without any cluster role.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.protocol import verbs as vb
from perdure.protocol.tickets import new_ticket, ticket_manifest
from support.cluster import Cluster, a_cluster
from support.cluster_tools import CHECKOUT
from support.installed_server import CERTIFICATE, Installed, installed_server
from support.processes import Worker
from support.workflows import __file__ as WORKFLOWS  # noqa: N812 - a file's name is a constant

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with a_cluster(nodes=False) as cluster:
        crds = str(CHECKOUT / "crds")
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        yield cluster


@pytest.fixture(scope="module")
def bank(cluster: Cluster) -> Iterator[str]:
    """A namespace that nobody has granted anything in or to."""
    with cluster.namespace("bank") as namespace:
        yield namespace


@pytest.fixture(scope="module")
def wide(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with (
        cluster.namespace("perdure") as namespace,
        installed_server(cluster, namespace, tmp_path_factory.mktemp("wide")) as installed,
    ):
        yield installed


@pytest.fixture(scope="module")
def narrow(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("narrow")
    with (
        cluster.namespace("team") as namespace,
        installed_server(cluster, namespace, folder, "namespaced=true") as installed,
    ):
        yield installed


@pytest.fixture(params=["wide", "narrow"])
def installed(request: pytest.FixtureRequest) -> Installed:
    found: Installed = request.getfixturevalue(request.param)
    return found


def token(cluster: Cluster, namespace: str, account: str = "default", *options: str) -> str:
    options = options or ("--audience=perdure",)
    return cluster.kubectl("create", "token", account, "-n", namespace, *options).strip()


def edit(cluster: Cluster, namespace: str, account: str) -> None:
    """Make an account, and let it edit the namespace's workflows."""
    cluster.kubectl("create", "serviceaccount", account, "-n", namespace)
    resources = "--resource=workflows.perdure.dev,activities.perdure.dev"
    cluster.kubectl(
        "create", "role", account, "-n", namespace, "--verb=get,list,create,patch", resources
    )
    subject = f"--serviceaccount={namespace}:{account}"
    cluster.kubectl("create", "rolebinding", account, "-n", namespace, f"--role={account}", subject)


async def test_a_run_is_done_by_a_worker_that_nobody_was_asked_to_let_in(
    installed: Installed, bank: str, tmp_path: Path
) -> None:
    cluster, shop = installed.cluster, installed.namespace
    edit(cluster, shop, "ann")
    trust = installed.trust
    assert trust.server_root_ca_cert is not None
    (tmp_path / "ca.crt").write_bytes(trust.server_root_ca_cert)

    def worker(account_of: str, namespace: str) -> Worker:
        file = tmp_path / f"{account_of}.token"
        file.write_text(token(cluster, account_of))
        env = {"PERDURE_TOKEN_FILE": str(file), "PERDURE_TLS_CA": str(tmp_path / "ca.crt")}
        options = ("--namespace", namespace, "--task-queue", "q")
        log = tmp_path / f"{account_of}-{namespace}.log"
        return Worker(installed.server.address, WORKFLOWS, log=log, env=env, options=options)

    with worker(bank, shop) as stranger:
        assert stranger.wait(60) == 4
        assert f"{bank}:default may not create workerpools" in stranger.log.read_text()
    key = token(cluster, shop, "ann")
    with worker(shop, shop):
        async with await Client.connect(
            installed.server.address, namespace=shop, api_key=key, tls=trust
        ) as client:
            slept = await client.execute_workflow("Sleep", 0.1, id="nap", task_queue="q")
    assert slept >= 0.1


async def test_rights_are_those_of_the_namespace_and_nowhere_else(
    installed: Installed, bank: str
) -> None:
    cluster, shop = installed.cluster, installed.namespace
    edit(cluster, shop, "bea")
    edit(cluster, bank, f"bea-{shop}")
    own, other = token(cluster, shop, "bea"), token(cluster, bank, f"bea-{shop}")

    def listing(namespace: str) -> vb.ListRequest:
        return vb.ListRequest(namespace=namespace)

    assert await installed.outcome(own, listing(shop)) == "ok"
    assert await installed.outcome(own, listing(bank)) == "Forbidden"
    assert await installed.outcome(own, listing("")) == "Forbidden"
    assert await installed.outcome(other, listing(shop)) == "Forbidden"
    assert await installed.outcome(token(cluster, shop), listing(shop)) == "Forbidden"


async def test_tokens_that_are_not_for_this_server_are_refused(
    installed: Installed, bank: str
) -> None:
    cluster, shop = installed.cluster, installed.namespace
    request = vb.ListRequest(namespace=shop)
    header, payload, signature = token(cluster, shop).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = f"system:serviceaccount:{shop}:perdure"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    bad = {
        "for the API server": token(cluster, shop, "perdure", "--duration=10m"),
        "for another audience": token(cluster, shop, "perdure", "--audience=vault"),
        "forged": f"{header}.{forged}.{signature}",
        "a ticket that nobody made": new_ticket(),
        "garbage": "garbage",
    }

    found = {name: await installed.outcome(key, request) for name, key in bad.items()}

    assert found == dict.fromkeys(bad, "Unauthorized")
    log = installed.server.log.read_text()
    assert not [key for key in bad.values() if key in log and key != "garbage"]


async def test_a_token_of_a_pod_that_is_gone_is_refused_where_the_api_server_is_asked(
    installed: Installed,
) -> None:
    """For one namespace it is good until it expires: that is what doing without a role costs."""
    cluster, shop = installed.cluster, installed.namespace
    edit(cluster, shop, "dan")
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "leaver"},
        "spec": {
            "serviceAccountName": "dan",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "none", "securityContext": secure}],
        },
    }
    cluster.apply(pod, namespace=shop)
    bound = ("--audience=perdure", "--bound-object-kind=Pod", "--bound-object-name=leaver")
    key = token(cluster, shop, "dan", *bound)
    request = vb.ListRequest(namespace=shop)
    assert await installed.outcome(key, request) == "ok"

    cluster.kubectl("delete", "pod", "leaver", "-n", shop, "--force", "--grace-period=0")
    is_wide = installed.server.log.parent.name.startswith("wide")
    await asyncio.sleep(11)  # a verdict is remembered for ten seconds
    assert await installed.outcome(key, request) == ("Unauthorized" if is_wide else "ok")


async def test_the_operators_account_may_do_what_it_asks_of_the_server(
    installed: Installed,
) -> None:
    shop = installed.namespace
    key = token(installed.cluster, shop, "perdure")
    where = shop if installed.server.log.parent.name.startswith("narrow") else ""
    for request in (
        vb.ListRequest(namespace=where),
        vb.QueuesRequest(namespace=where),
        vb.StartRequest(namespace=shop, workflow_id="w", workflow_type="W", task_queue="none",
                        request_id="w"),
        vb.DescribeRequest(namespace=shop, workflow_id="w"),
        vb.SetCurrentVersionRequest(namespace=shop, task_queue="none", build_id="b"),
        vb.TerminateRequest(namespace=shop, workflow_id="w"),
    ):  # fmt: skip
        assert await installed.outcome(key, request) == "ok", request


async def test_a_ticket_opens_an_install_for_the_cluster_alone(
    wide: Installed, narrow: Installed
) -> None:
    ticket = new_ticket()
    manifest = json.dumps(ticket_manifest(ticket))
    wide.cluster.kubectl("create", "-f", "-", input=manifest)
    assert await wide.outcome(ticket, vb.ListRequest()) == "ok"
    assert await narrow.outcome(ticket, vb.ListRequest(namespace=narrow.namespace)) == (
        "Unauthorized"
    )


def test_the_certificate_is_made_once_and_outlives_upgrades_and_renderings(
    cluster: Cluster, tmp_path: Path
) -> None:
    def data(namespace: str) -> dict[str, str]:
        found: dict[str, str] = cluster.get("secret", CERTIFICATE, namespace=namespace)["data"]
        return found

    with cluster.namespace("perdure") as namespace:
        with installed_server(cluster, namespace, tmp_path, "namespaced=true") as installed:
            before = data(namespace)
            assert set(before) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
            options = ("-n", namespace, "--set=crds.install=false,namespaced=true")
            chart = str(CHECKOUT / "charts" / "perdure")
            cluster.helm("upgrade", "perdure", chart, *options)
            rendered = cluster.helm("template", "perdure", chart, *options)
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-n", namespace, "-f",
                            "-", input=rendered)  # fmt: skip
            assert data(namespace) == before
            served = ssl.get_server_certificate(
                ("127.0.0.1", installed.server.port),
                ca_certs=str(tmp_path / "ca" / "ca.crt"),
            )
            assert base64.b64decode(before["tls.crt"]).decode().startswith(served.strip())
        again = tmp_path / "again"
        again.mkdir()
        # Uninstalling has taken the Secret along; another install makes another one.
        with installed_server(cluster, namespace, again, "namespaced=true"):
            assert data(namespace)["ca.crt"] != before["ca.crt"]
