"""What the chart renders to when the server is secured: TLS, tokens and who may do what."""

from __future__ import annotations

import pytest
import yaml

from charts.test_chart import (
    NAMESPACE,
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
SECURED = ("defaults", "namespaced")


@pytest.mark.parametrize("setting", SECURED)
def test_a_secured_server_speaks_tls_asks_for_tokens_and_is_not_insecure(setting: str) -> None:
    server = containers(setting)["server"]

    args = " ".join(server["args"])
    assert "--tls-cert=/etc/perdure/tls/tls.crt --tls-key=/etc/perdure/tls/tls.key " in args
    assert "--auth=kubernetes --auth-workers=own-namespace" in args
    assert "--insecure" not in args
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server[probe]["httpGet"]["scheme"] == "HTTPS"
    assert {"tls", "kube-api-access"} <= {mount["name"] for mount in server["volumeMounts"]}


@pytest.mark.parametrize("setting", ["encrypted-alone", "asking-alone", "open"])
def test_one_guard_without_the_other_is_said_to_be_insecure(setting: str) -> None:
    assert "--insecure" in containers(setting)["server"]["args"]


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
        for setting in ("defaults", "own-certificate")
        for spec in pod_specs(render(setting))
        for container in spec["containers"]
        if any(mount["name"] == "tls" for mount in container["volumeMounts"])
    ]
    assert holders == ["server", "server"]


def test_the_servers_own_certificate_is_for_the_names_by_which_it_is_reached() -> None:
    args = containers()["server"]["args"]

    names = [each.removeprefix("--tls-name=") for each in args if each.startswith("--tls-name=")]
    assert names == [
        HOST,
        "perdure-server.perdure-system",
        "perdure-server",
        f"{HOST}.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    assert "--tls-secret=perdure-system/perdure-server-certificate" in args
    assert "--tls-ca=/etc/perdure/ca/ca.crt" in args


def test_what_is_rendered_holds_no_key_and_is_the_same_each_time() -> None:
    secret = pick(render("defaults"), "Secret", "perdure-server-certificate")

    assert not {"data", "stringData"} & set(secret)
    again = helm("template", "perdure", "--namespace", NAMESPACE)
    assert [each for each in yaml.safe_load_all(again) if each] == render("defaults")


def test_the_operator_finds_the_authority_where_the_server_lays_it_down() -> None:
    (spec,) = [spec for spec in pod_specs(render("defaults")) if len(spec["containers"]) == 2]
    by_name = {each["name"]: each for each in spec["volumes"]}
    mounts = {
        container["name"]: {each["name"]: each for each in container["volumeMounts"]}
        for container in spec["containers"]
    }

    assert by_name["tls"]["emptyDir"] == {"medium": "Memory"}
    assert by_name["tls-ca"] == {"name": "tls-ca", "emptyDir": {}}
    assert not mounts["server"]["tls-ca"].get("readOnly")
    assert mounts["operator"]["tls-ca"]["readOnly"] is True
    assert "tls" not in mounts["operator"]


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
        helm("template", "perdure", values=("tls.certManager.enabled=true",))
    assert "tls.certManager.issuerName is needed" in str(error.value)


def test_a_monitor_and_the_helm_test_trust_the_authority() -> None:
    (endpoint,) = pick(render("own-certificate"), "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {
        "serverName": HOST,
        "ca": {"secret": {"name": "mine", "key": "ca.crt"}},
    }
    (container,) = pick(render("defaults"), "Pod")["spec"]["containers"]
    assert container["command"][-2:] == [f"https://{HOST}:7233/readyz", "/etc/perdure/ca/ca.crt"]


CONNECT = spell("perdure.dev/workerpools/connect", "create")


def test_the_server_may_ask_by_a_cluster_role_or_in_its_namespace_alone() -> None:
    binding = pick(render("defaults"), "ClusterRoleBinding", "perdure-system-perdure-reviews")
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    narrow = pick(render("namespaced"), "RoleBinding", "perdure-reviews")
    assert narrow["metadata"]["namespace"] == NAMESPACE
    role = pick(render("namespaced"), "Role", "perdure-reviews")
    assert role["rules"] == [
        {
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["localsubjectaccessreviews"],
            "verbs": ["create"],
        }
    ]


def test_people_may_make_tickets_and_only_the_server_reads_them() -> None:
    manifests = render("defaults")
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
    [("granted", ["shop", "bank"]), ("granted-namespaced", [NAMESPACE])],
)
def test_where_it_is_granted_accounts_may_work_in_the_namespaces_that_are_named(
    setting: str, namespaces: list[str]
) -> None:
    bindings = worker_bindings(setting)

    assert [each["metadata"]["namespace"] for each in bindings] == namespaces
    for binding, namespace in zip(bindings, namespaces, strict=True):
        (subject,) = binding["subjects"]
        assert subject["name"] == f"system:serviceaccounts:{namespace}"
        assert pick(render(setting), binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_by_default_nobody_has_to_be_granted_to_work_at_home() -> None:
    assert not worker_bindings("defaults") + worker_bindings("namespaced")
    assert not CONNECT & rights(render("defaults"), "ClusterRole", "Role")
    assert "--auth-workers=granted" in containers("granted")["server"]["args"]
    assert rights(render("granted"), "ClusterRole") >= CONNECT


def test_the_pod_of_helm_test_reaches_a_server_that_lets_named_peers_in_only() -> None:
    named = ("networkPolicy.enabled=true", "networkPolicy.from[0].podSelector.matchLabels.a=b")
    text = helm("template", "perdure", "--namespace", NAMESPACE, values=named)
    manifests = [each for each in yaml.safe_load_all(text) if each]
    (rule,) = pick(manifests, "NetworkPolicy")["spec"]["ingress"]
    labels = pick(manifests, "Pod")["metadata"]["labels"]
    admitted = [
        peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in rule["from"]
    ]
    assert admitted == [False, True]
