"""How the chart has one of several operators lead."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml

from support.cluster_tools import CHECKOUT, CommandError, run, tools

CHART = CHECKOUT / "charts" / "perdure"
NAMESPACE = "perdure-system"

Manifest = dict[str, Any]


@cache
def render(*values: str) -> list[Manifest]:
    options = [option for value in values for option in ("--set", value)]
    command = [tools().helm, "template", "perdure", "--namespace", NAMESPACE, CHART, *options]
    return [document for document in yaml.safe_load_all(run(command)) if document]


def pod(manifests: list[Manifest], name: str) -> Manifest:
    (found,) = [
        each
        for each in manifests
        if each["kind"] == "Deployment" and each["metadata"]["name"] == name
    ]
    template: Manifest = found["spec"]["template"]
    return template


def operator(template: Manifest) -> Manifest:
    (found,) = [each for each in template["spec"]["containers"] if each["name"] == "operator"]
    return dict(found)


def test_of_leases_the_operator_may_change_its_own_only() -> None:
    (role,) = (
        each
        for each in render()
        if (each["kind"], each["metadata"]["name"]) == ("Role", "perdure-operator")
    )
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in role["rules"]] == [
        (["create"], None),
        (["get", "patch"], ["perdure-operator"]),
    ]


def test_the_operator_holds_a_lease_under_the_name_of_its_pod() -> None:
    found = operator(pod(render(), "perdure"))
    assert f"--lease={NAMESPACE}/perdure-operator" in found["args"]
    assert "--lease-duration=10" in found["args"]
    assert "--identity=$(POD_NAME)" in found["args"]
    assert found["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_an_operator_that_is_alone_holds_none() -> None:
    found = operator(pod(render("operator.leaderElection.enabled=false"), "perdure"))
    assert not [each for each in found["args"] if "lease" in each]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((), id="defaults"),
        pytest.param(("tls.enabled=false", "auth.mode=none"), id="open"),
    ],
)
def test_standbys_are_the_same_operator_at_the_servers_address(values: tuple[str, ...]) -> None:
    manifests = render("operator.standbys=2", *values)
    scheme = "http" if values else "https"
    beside, template = operator(pod(manifests, "perdure")), pod(manifests, "perdure-standby")
    own = operator(template)
    local = f"{scheme}://127.0.0.1:7233"
    remote = f"{scheme}://perdure-server.{NAMESPACE}.svc:7233"

    assert own["args"] == [remote if each == local else each for each in beside["args"]]
    assert {**own, "args": []} == {**beside, "args": []}
    assert [each["name"] for each in template["spec"]["containers"]] == ["operator"]
    assert [each for each in template["spec"]["volumes"] if each["name"] == "tls-ca"] == (
        []
        if values
        else [
            {
                "name": "tls-ca",
                "secret": {
                    "secretName": "perdure-server-certificate",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                },
            }
        ]
    )
    assert {each["name"] for each in own["volumeMounts"]} == {
        each["name"] for each in template["spec"]["volumes"]
    }
    account = pod(manifests, "perdure")["spec"]["serviceAccountName"]
    assert template["spec"]["serviceAccountName"] == account
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert own["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_standby_is_behind_the_servers_service() -> None:
    manifests = render("operator.standbys=1")
    services = [each for each in manifests if each["kind"] == "Service"]
    labels = pod(manifests, "perdure-standby")["metadata"]["labels"]
    assert services
    for service in services:
        assert not service["spec"]["selector"].items() <= labels.items()


def test_standbys_reach_a_server_that_lets_named_peers_in_only() -> None:
    values = ("networkPolicy.enabled=true", "networkPolicy.from[0].podSelector.a=b")
    manifests = render("operator.standbys=1", *values)
    (policy,) = (each for each in manifests if each["kind"] == "NetworkPolicy")
    (rule,) = policy["spec"]["ingress"]
    labels = pod(manifests, "perdure-standby")["metadata"]["labels"]
    assert any(
        peer["podSelector"].get("matchLabels", {"": ""}).items() <= labels.items()
        for peer in rule["from"]
    )


def test_standbys_without_an_election_are_refused() -> None:
    with pytest.raises(CommandError, match=r"needs operator\.leaderElection\.enabled"):
        render("operator.standbys=1", "operator.leaderElection.enabled=false")


def test_a_lease_that_is_too_short_is_refused() -> None:
    with pytest.raises(CommandError, match="leaseSeconds"):
        render("operator.leaderElection.leaseSeconds=1")
