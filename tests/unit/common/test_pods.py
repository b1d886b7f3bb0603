"""A pod of its own: what is written of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.common import Pod


def test_what_is_not_given_is_not_written() -> None:
    assert Pod().to_template() == {}


def test_everything_is_written_as_a_manifest_has_it() -> None:
    pod = Pod(
        image="registry.example/gpu:2",
        image_pull_policy="Never",
        image_pull_secrets=["registry"],
        env={"LEVEL": "debug", "TOKEN": {"secretKeyRef": {"name": "card", "key": "token"}}},
        resources={"limits": {"nvidia.com/gpu": 1}},
        node_selector={"gpu": "yes"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        volumes=[{"name": "models", "emptyDir": {}}],
        volume_mounts=[{"name": "models", "mountPath": "/models"}],
        service_account="trainer",
        template={"spec": {"priorityClassName": "low"}},
    )

    assert pod.to_template() == {
        "image": "registry.example/gpu:2",
        "imagePullPolicy": "Never",
        "imagePullSecrets": [{"name": "registry"}],
        "env": [
            {"name": "LEVEL", "value": "debug"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "card", "key": "token"}}},
        ],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [{"name": "models", "emptyDir": {}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "serviceAccountName": "trainer",
        "pod": {"spec": {"priorityClassName": "low"}},
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"env": {"N": 1}}, "env 'N' is 1: give a string", id="number-in-env"),
        pytest.param({"resources": {"memory": "2Gi"}}, "resources has 'memory'", id="flat"),
        pytest.param({"resources": {"limits": "2Gi"}}, "resources has 'limits'", id="no-map"),
        pytest.param({"volumes": {"name": "a"}}, "volumes is one thing: give a list", id="one"),
        pytest.param({"image_pull_secrets": "registry"}, "give a list of them", id="word"),
    ],
)
def test_what_no_pod_can_have_is_refused_where_it_is_written(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Pod(**given)


def test_what_a_manifest_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="written as JSON"):
        Pod(template={"spec": {"when": object()}}).to_template()


def test_what_was_written_does_not_change_with_what_it_was_made_from() -> None:
    toleration = {"key": "gpu"}
    pod = Pod(tolerations=[toleration], resources={"limits": {"cpu": "1"}})
    written = pod.to_template()
    toleration["key"] = "other"
    assert written["tolerations"] == [{"key": "gpu"}]
