"""What a worker's pod is given to reach a server that asks who comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perdure.exceptions import UsageError
from perdure_operator.controllers.main import build_defaults, open_service
from perdure_operator.controllers.options import parse_options
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.templates import build_template
from perdure_operator.model import WorkerPool
from support.pki import AUTHORITY

PLAIN = WorkerDefaults(image="worker:1", server="http://perdure.test:7233")
SECURED = replace(PLAIN, audience="perdure", authority="-----BEGIN CERTIFICATE-----\n")
POOL = WorkerPool.model_validate(
    {
        "apiVersion": "perdure.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u1"},
        "spec": {"image": "orders:1", "modules": ["orders"]},
    }
)


def pod(defaults: WorkerDefaults) -> dict[str, Any]:
    found: dict[str, Any] = build_template(POOL, defaults, None).job(0)["spec"]["template"]
    return found


def names(items: list[dict[str, Any]]) -> set[str]:
    return {item["name"] for item in items}


def test_a_worker_gets_a_short_lived_token_for_the_server_and_none_for_the_api_server() -> None:
    spec = pod(SECURED)["spec"]

    assert spec["automountServiceAccountToken"] is False
    (volume,) = [each for each in spec["volumes"] if "projected" in each]
    token, authority = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "perdure"
    assert token["serviceAccountToken"]["expirationSeconds"] <= 3600
    (item,) = authority["downwardAPI"]["items"]
    assert item["fieldRef"] == {"fieldPath": "metadata.annotations['perdure.dev/server-ca']"}
    annotations = pod(SECURED)["metadata"]["annotations"]
    assert annotations == {"perdure.dev/server-ca": SECURED.authority}


def test_the_worker_is_told_where_they_are() -> None:
    (container,) = pod(SECURED)["spec"]["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "perdure-access"]
    env = {each["name"]: each["value"] for each in container["env"]}

    assert mount["readOnly"] is True
    assert env["PERDURE_TOKEN_FILE"] == f"{mount['mountPath']}/token"
    assert env["PERDURE_TLS_CA"] == f"{mount['mountPath']}/ca.crt"


def test_a_server_that_asks_for_nothing_leaves_the_pod_as_it_was() -> None:
    assert "annotations" not in pod(PLAIN)["metadata"]
    assert names(pod(PLAIN)["spec"]["volumes"]) == {"tmp"}
    (container,) = pod(PLAIN)["spec"]["containers"]
    assert not [name for name in names(container["env"]) if name.startswith("PERDURE_")]


def test_a_new_authority_makes_no_new_version_of_the_code() -> None:
    renewed = replace(SECURED, authority="another")

    before, after = (build_template(POOL, each, None) for each in (SECURED, renewed))

    assert before.version == after.version
    assert (
        after.job(0)["spec"]["template"]["metadata"]["annotations"]
        != (before.job(0)["spec"]["template"]["metadata"]["annotations"])
    )


def test_the_operator_gives_on_what_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t1")
    options = parse_options(
        ["--server=https://127.0.0.1:7233", "--default-image=w", "--worker-audience=perdure",
         f"--tls-ca={AUTHORITY}", "--tls-server-name=perdure.svc",
         f"--token-file={tmp_path / 'token'}"]
    )  # fmt: skip

    connection = open_service(options).connection

    assert build_defaults(options).authority == AUTHORITY.read_text()
    assert build_defaults(options).audience == "perdure"
    assert connection.server_hostname == "perdure.svc"
    assert connection.headers["Authorization"] == "Bearer t1"
    (tmp_path / "token").write_text("t2\n")
    assert connection.headers["Authorization"] == "Bearer t2"
    (tmp_path / "token").write_text("two words")
    with pytest.raises(UsageError, match="holds no token"):
        assert connection.headers
