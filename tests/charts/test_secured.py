"""What the chart renders to when the server is secured: TLS, tokens and who may do what."""

from __future__ import annotations

import base64
import ssl

import pytest

from charts.test_chart import (
    LEADING,
    NAMESPACE,
    SETTINGS,
    WATCHED,
    Manifest,
    containers,
    helm,
    kinds,
    pick,
    pod_specs,
    render,
    rights,
    spell,
)
from support.cluster_tools import CommandError

HOST = "perdure-server.perdure-system.svc"
SECURED = ("secured", "secured-namespaced")


@pytest.mark.parametrize("setting", SECURED)
def test_a_secured_server_speaks_tls_asks_for_tokens_and_is_not_insecure(setting: str) -> None:
    server = containers(setting)["server"]

    assert server["args"][-3:] == [
        "--tls-cert=/etc/perdure/tls/tls.crt",
        "--tls-key=/etc/perdure/tls/tls.key",
        "--auth=kubernetes",
    ]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server[probe]["httpGet"]["scheme"] == "HTTPS"
    assert {"tls", "kube-api-access"} <= {mount["name"] for mount in server["volumeMounts"]}


@pytest.mark.parametrize("values", ["own-certificate", "cert-manager"])
def test_tls_without_authentication_is_said_to_be_insecure(values: str) -> None:
    assert "--insecure" in containers(values)["server"]["args"]


@pytest.mark.parametrize("setting", SECURED)
def test_the_operator_has_a_token_for_the_server_and_gives_workers_one(setting: str) -> None:
    operator = containers(setting)["operator"]
    (spec,) = [spec for spec in pod_specs(render(setting)) if len(spec["containers"]) == 2]

    args = " ".join(operator["args"])
    assert "--server https://127.0.0.1:7233" in args
    assert f"--worker-server https://{HOST}:7233" in args
    assert f"--tls-ca=/etc/perdure/ca/ca.crt --tls-server-name={HOST}" in args
    assert "--token-file=/var/run/secrets/perdure.dev/token --worker-audience=perdure" in args
    (volume,) = [each for each in spec["volumes"] if each["name"] == "server-access"]
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "perdure"
    assert source["serviceAccountToken"]["expirationSeconds"] <= 3600


def test_the_private_key_is_mounted_into_the_server_alone() -> None:
    holders = [
        container["name"]
        for spec in pod_specs(render("secured"))
        for container in spec["containers"]
        if any(mount["name"] == "tls" for mount in container["volumeMounts"])
    ]
    assert holders == ["server"]


def test_the_charts_own_certificate_is_for_the_names_by_which_the_server_is_reached() -> None:
    secret = pick(render("secured"), "Secret", "perdure-server-tls")
    authority, certificate = (
        base64.b64decode(secret["data"][key]).decode() for key in ("ca.crt", "tls.crt")
    )

    context = ssl.create_default_context(cadata=authority)
    (known,) = context.get_ca_certs()
    assert known["subject"] == known["issuer"]
    body = ssl.PEM_cert_to_DER_cert(certificate)
    for name in (HOST, "perdure-server.perdure-system", "localhost"):
        assert name.encode() in body
    assert bytes([127, 0, 0, 1]) in body


def test_another_secret_or_cert_manager_replaces_the_charts_own_certificate() -> None:
    assert "Secret" not in kinds(render("own-certificate")) | kinds(render("cert-manager"))
    spec = pick(render("cert-manager"), "Certificate")["spec"]
    assert spec["secretName"] == "perdure-server-tls"
    assert spec["issuerRef"] == {"kind": "ClusterIssuer", "name": "inside"}
    assert HOST in spec["dnsNames"]
    assert spec["ipAddresses"] == ["127.0.0.1"]
    volumes = next(pod_specs(render("own-certificate")))["volumes"]
    assert [v["secret"]["secretName"] for v in volumes if v["name"] == "tls"] == ["mine"]


def test_cert_manager_needs_an_issuer() -> None:
    with pytest.raises(CommandError) as error:
        helm("template", "perdure", values=("tls.enabled=true", "tls.certManager.enabled=true"))
    assert "tls.certManager.issuerName is needed" in str(error.value)


def test_a_monitor_and_the_helm_test_trust_the_authority() -> None:
    (endpoint,) = pick(render("own-certificate"), "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {
        "serverName": HOST,
        "ca": {"secret": {"name": "mine", "key": "ca.crt"}},
    }
    (container,) = pick(render("secured"), "Pod")["spec"]["containers"]
    assert container["command"][-2:] == [f"https://{HOST}:7233/readyz", "/etc/perdure/ca/ca.crt"]


TAKES = spell("perdure.dev/activities/take", "create")
CONNECT = spell("perdure.dev/workerpools/connect", "create")
REQUESTS = "certificates.k8s.io/certificatesigningrequests"
TICKETS = spell(REQUESTS, "create") | spell(REQUESTS, "get")


def test_with_authentication_the_operator_may_take_attempts_and_the_server_may_ask() -> None:
    wide, narrow = render("secured"), render("secured-namespaced")

    assert rights(wide, "ClusterRole") == WATCHED | TAKES | CONNECT | TICKETS
    assert rights(narrow, "Role") == WATCHED | TAKES | CONNECT | LEADING
    for manifests in (wide, narrow):
        binding = pick(manifests, "ClusterRoleBinding", "perdure-system-perdure-reviews")
        assert binding["roleRef"]["name"] == "system:auth-delegator"


def test_people_may_make_tickets_and_only_the_server_reads_them() -> None:
    manifests = render("secured")
    for what, kind in (("tickets", "Group"), ("ticket-reviews", "ServiceAccount")):
        name = f"perdure-system-perdure-{what}"
        binding = pick(manifests, "ClusterRoleBinding", name)
        assert binding["roleRef"]["name"] == name
        assert [each["kind"] for each in binding["subjects"]] == [kind]
    notes = pick(manifests, "Service")["metadata"]["annotations"]
    assert notes == {
        "perdure.dev/scheme": "https",
        "perdure.dev/auth": "kubernetes",
        "perdure.dev/tickets": "true",
    }


@pytest.mark.parametrize("without", ["auth.tickets=false", "namespaced=true"])
def test_without_tickets_there_is_no_cluster_role_for_them(without: str) -> None:
    rendered = helm("template", "perdure", values=("auth.mode=kubernetes", without))
    assert "certificatesigningrequests" not in rendered
    assert 'perdure.dev/tickets: "false"' in rendered


def worker_bindings(setting: str) -> list[Manifest]:
    return [
        manifest
        for manifest in render(setting)
        if manifest["kind"] == "RoleBinding" and manifest["metadata"]["name"] == "perdure-worker"
    ]


@pytest.mark.parametrize(
    ("setting", "namespaces"),
    [("secured", ["shop", "bank"]), ("secured-namespaced", [NAMESPACE])],
)
def test_accounts_may_work_in_their_own_namespace_only(setting: str, namespaces: list[str]) -> None:
    bindings = worker_bindings(setting)

    assert [each["metadata"]["namespace"] for each in bindings] == namespaces
    for binding, namespace in zip(bindings, namespaces, strict=True):
        (subject,) = binding["subjects"]
        assert subject["name"] == f"system:serviceaccounts:{namespace}"
        assert pick(render(setting), binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_by_default_the_server_is_neither_encrypted_nor_authenticated() -> None:
    """It changes when an install with both has been shown on a cluster with nodes."""
    assert "tls.enabled=true" not in SETTINGS["defaults"]
    assert "Secret" not in kinds(render("defaults"))
    assert "--auth=none" in containers()["server"]["args"]
