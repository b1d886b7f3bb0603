"""What may be laid over a worker's pod, and the words for what may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from perdure_operator.model import WorkerPool


def a_pool(template: Any) -> WorkerPool:
    spec = {"image": "shop/orders:1", "modules": ["orders"], "template": template}
    metadata = {"name": "orders", "namespace": "shop"}
    return WorkerPool.from_manifest(
        {
            "apiVersion": "perdure.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": metadata,
            "spec": spec,
        }
    )


def of_worker(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="empty"),
        pytest.param({"metadata": {"labels": {"team": "shop"}}}, id="label"),
        pytest.param({"spec": {"restartPolicy": "Never", "nodeSelector": {"a": "b"}}}, id="spec"),
        pytest.param(of_worker(resources={"limits": {"memory": "1Gi"}}), id="resources"),
        pytest.param(of_worker(command=["sh", "-c"], env=[{"name": "A"}]), id="command"),
        pytest.param({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}, id="volume"),
        pytest.param({"spec": {"containers": [{"name": "proxy", "image": "p:1"}]}}, id="sidecar"),
        pytest.param({"spec": {"serviceAccountName": None}}, id="taken-away"),
    ],
)
def test_what_pods_have_may_be_laid_over_them(template: Any) -> None:
    assert a_pool(template).spec.template == template


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param({"kind": "Pod"}, "kind is no part of a pod template", id="kind"),
        pytest.param({"spec": None}, "spec must be an object", id="no-spec"),
        pytest.param({"spec": []}, "spec must be an object", id="list"),
        pytest.param({"metadata": "x"}, "metadata must be an object", id="metadata"),
        pytest.param(
            {"metadata": {"name": "x"}}, "metadata.name cannot be set: it has labels", id="name"
        ),
        pytest.param(
            {"metadata": {"labels": {"a": 1}}}, 'quote numbers, as in "1"', id="number-as-label"
        ),
        pytest.param(
            {"metadata": {"labels": {"perdure.dev/pool": "x"}}},
            "'perdure.dev/pool' is the operator's own",
            id="our-label",
        ),
        pytest.param(
            {"spec": {"restartPolicy": "Always"}},
            "spec.restartPolicy cannot be 'Always'",
            id="restart",
        ),
        pytest.param(
            {"spec": {"activeDeadlineSeconds": 5}},
            "it would kill workers in the middle of their tasks",
            id="deadline",
        ),
        pytest.param(
            {"spec": {"ephemeralContainers": []}}, "for kubectl debug alone", id="ephemeral"
        ),
        pytest.param(
            {"spec": {"containers": None}}, "spec.containers must be a list", id="no-containers"
        ),
        pytest.param({"spec": {"containers": [None]}}, "must be a list of objects", id="nothing"),
        pytest.param({"spec": {"containers": [{"image": "x"}]}}, "each needs a name", id="no-name"),
        pytest.param({"spec": {"volumes": [{"emptyDir": {}}]}}, "each needs a name", id="volume"),
        pytest.param({"spec": {"initContainers": "x"}}, "must be a list of objects", id="init"),
        pytest.param(
            {"spec": {"containers": [{"name": "worker"}, {"name": "worker"}]}},
            "spec.containers has 'worker' twice",
            id="twice",
        ),
        pytest.param(of_worker(args=None), "args must be a list of texts", id="no-args"),
        pytest.param(of_worker(args="x y"), "args must be a list of texts", id="args-as-text"),
        pytest.param(of_worker(command=[1]), "command must be a list of texts", id="command"),
        pytest.param(of_worker(env=None), "env must be a list of objects", id="env"),
        pytest.param(of_worker(volumeMounts={}), "volumeMounts must be a list", id="mounts"),
    ],
)
def test_what_cannot_be_laid_over_a_pod_is_refused_with_words(template: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_pool(template)
    (error,) = caught.value.errors()
    assert error["loc"] == ("spec", "template")
    assert words in error["msg"]
