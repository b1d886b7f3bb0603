"""Worker Jobs as they are made: restricted, named, hashed; and the user's template over them."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_operator.cluster import Manifest
from perdure_operator.controllers.pools.overlaying import overlay
from perdure_operator.controllers.pools.templates import Code, WorkerTemplate, build_template
from perdure_operator.model import WorkerPool
from support.operator_scene import DEFAULTS, a_pool

CODE = Code(files={"orders.py": "x = 1", "README.md": "text", "shop.py": ""})


def template(files: Code | None = None, /, **spec: Any) -> WorkerTemplate:
    return build_template(WorkerPool.from_manifest(a_pool(**spec)), DEFAULTS, files)


def pod(job: Manifest) -> Manifest:
    found: Manifest = job["spec"]["template"]["spec"]
    return found


def container(job: Manifest, name: str = "worker") -> Manifest:
    (found,) = (each for each in pod(job)["containers"] if each["name"] == name)
    return found  # type: ignore[no-any-return] # out of JSON


def variables(job: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(job)["env"]}


def test_a_worker_is_told_what_to_poll_and_where() -> None:
    made = template(taskQueue="express", slots=7, scaling={"idleAfter": "90s"})
    worker = container(made.job(0))

    assert worker["image"] == "shop/orders:1"
    assert worker["command"] == ["perdure", "worker"]
    assert " ".join(worker["args"]) == (
        "orders --task-queue express --address http://perdure.test:7233 --namespace shop "
        f"--slots 7 --idle-after 90s --build-id {made.version}"
    )


def test_a_job_is_named_labelled_and_owned() -> None:
    made = template()
    metadata = made.job(3, failures=2)["metadata"]

    assert metadata["name"] == f"orders-{made.version}-3"
    assert metadata["labels"]["perdure.dev/pool"] == "orders"
    assert metadata["labels"]["perdure.dev/version"] == made.version
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "perdure-operator"
    assert metadata["annotations"]["perdure.dev/failures-before"] == "2"
    assert metadata["ownerReferences"][0]["name"] == "orders"


def test_the_pod_carries_the_labels_that_it_is_found_by() -> None:
    made = template(template={"metadata": {"labels": {"perdure.dev/pool": "mine", "team": "a"}}})
    labels = made.job(0)["spec"]["template"]["metadata"]["labels"]

    assert labels["perdure.dev/pool"] == "orders"
    assert labels["team"] == "a"


def test_a_failed_worker_is_not_restarted_behind_our_back() -> None:
    spec = template().job(0)["spec"]

    assert spec["backoffLimit"] == 0
    assert pod(template().job(0))["restartPolicy"] == "Never"
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert spec["ttlSecondsAfterFinished"] == 3600


def test_a_pod_passes_pod_security_restricted() -> None:
    job = template().job(0)
    context, of_container = pod(job)["securityContext"], container(job)["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(job)["automountServiceAccountToken"] is False
    assert {"name": "tmp", "mountPath": "/tmp"} in container(job)["volumeMounts"]
    assert container(job)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_code_is_mounted_and_comes_first_on_the_path() -> None:
    made = template(CODE, code={"configMap": "orders-code"})
    job, version = made.job(0), made.version

    assert container(job)["image"] == DEFAULTS.image
    assert container(job)["args"][:2] == ["orders", "shop"]
    assert {"name": "code", "configMap": {"name": f"orders-{version}"}} in pod(job)["volumes"]
    assert {"name": "code", "mountPath": "/code"} in container(job)["volumeMounts"]
    assert variables(job)["PYTHONPATH"] == "/code:/app"


def test_a_path_of_the_users_stays_behind_the_code() -> None:
    env = [{"name": "PYTHONPATH", "value": "/lib/shop"}]
    job = template(CODE, code={"configMap": "orders-code"}, env=env).job(0)

    assert variables(job)["PYTHONPATH"] == "/code:/lib/shop"


def test_named_modules_are_taken_instead_of_every_file() -> None:
    job = template(CODE, code={"configMap": "orders-code"}, modules=["shop"]).job(0)

    assert container(job)["args"][0] == "shop"
    assert "orders" not in container(job)["args"][:1]


def test_environment_account_and_pull_policy_are_the_pools() -> None:
    env = [
        {"name": "CARD", "valueFrom": {"secretKeyRef": {"name": "card", "key": "token"}}},
        {"name": "HOME", "value": "/elsewhere"},
    ]
    job = template(env=env, serviceAccountName="payer", imagePullPolicy="Always").job(0)

    assert env[0] in container(job)["env"]
    assert variables(job)["HOME"] == "/elsewhere"
    assert len(variables(job)) == len(container(job)["env"])
    assert pod(job)["serviceAccountName"] == "payer"
    assert container(job)["imagePullPolicy"] == "Always"


def test_the_users_template_is_laid_over_ours() -> None:
    above = {
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "containers": [
                {
                    "name": "worker",
                    "resources": {"limits": {"memory": "1Gi"}},
                    "env": [{"name": "EXTRA", "value": "1"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                },
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }
    }
    job = template(template=above).job(0)

    assert pod(job)["nodeSelector"] == {"gpu": "yes"}
    assert container(job)["resources"] == {"limits": {"memory": "1Gi"}}
    assert container(job)["command"] == ["perdure", "worker"]
    assert variables(job)["EXTRA"] == "1"
    assert {each["mountPath"] for each in container(job)["volumeMounts"]} == {"/tmp", "/data"}
    assert {each["name"] for each in pod(job)["volumes"]} == {"tmp", "data"}


def test_further_containers_are_sidecars_so_that_the_job_ends_with_its_worker() -> None:
    above = {
        "spec": {
            "initContainers": [{"name": "prepare", "image": "prepare:1"}],
            "containers": [{"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 1}]}],
        }
    }
    spec = pod(template(template=above).job(0))

    assert [each["name"] for each in spec["containers"]] == ["worker"]
    assert spec["initContainers"] == [
        {"name": "prepare", "image": "prepare:1"},
        {
            "name": "proxy",
            "image": "proxy:1",
            "ports": [{"containerPort": 1}],
            "restartPolicy": "Always",
        },
    ]


def test_arguments_that_a_template_takes_away_are_missed_by_the_worker_and_by_nobody_else() -> None:
    above = {"spec": {"containers": [{"name": "worker", "args": None}]}}
    (worker,) = pod(template(template=above).job(0))["containers"]

    assert worker["args"][-2] == "--build-id"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(template(image="shop/orders:2"), id="image"),
        pytest.param(template(modules=["others"]), id="modules"),
        pytest.param(template(slots=3), id="slots"),
        pytest.param(template(env=[{"name": "A", "value": "b"}]), id="environment"),
        pytest.param(template(taskQueue="q"), id="queue"),
        pytest.param(template(template={"spec": {"nodeName": "n"}}), id="overrides"),
        pytest.param(template(scaling={"idleAfter": "5s"}), id="idle-time"),
        pytest.param(template(CODE, code={"configMap": "c"}), id="code"),
    ],
)
def test_whatever_defines_a_worker_makes_another_version(other: WorkerTemplate) -> None:
    assert other.version != template().version


def test_what_does_not_define_a_worker_makes_no_other_version() -> None:
    assert template(scaling={"min": 2, "max": 9}).version == template().version
    assert template().version == template().version


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="fields-are-added"),
        pytest.param({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}, id="objects-merge"),
        pytest.param({"a": 1}, {"a": None}, {}, id="null-takes-away"),
        pytest.param({"a": [1]}, {"a": [2]}, {"a": [2]}, id="plain-lists-are-replaced"),
        pytest.param(
            {"a": [{"name": "x", "v": 1}]},
            {"a": [{"name": "x", "w": 2}, {"name": "y"}]},
            {"a": [{"name": "x", "v": 1, "w": 2}, {"name": "y"}]},
            id="named-lists-merge-by-name",
        ),
        pytest.param(
            {"a": [{"name": "d", "mountPath": "/x"}]},
            {"a": [{"name": "d", "mountPath": "/y"}]},
            {"a": [{"name": "d", "mountPath": "/x"}, {"name": "d", "mountPath": "/y"}]},
            id="mounts-merge-by-path",
        ),
        pytest.param({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}, id="other-shapes-are-replaced"),
    ],
)
def test_overlaying_merges_as_kubectl_patch_does(
    below: Manifest, above: Manifest, merged: Manifest
) -> None:
    assert overlay(below, above) == merged


def test_overlaying_leaves_what_it_was_given_alone() -> None:
    below = {"a": {"x": 1}}
    overlay(below, {"a": {"y": 2}})

    assert below == {"a": {"x": 1}}
