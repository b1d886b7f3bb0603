"""What the Jobs of attempts are, and what their objects are called."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_operator.cluster import ACTIVITIES, Manifest
from perdure_operator.controllers.placements.names import job_name, label_value, shown_name
from perdure_operator.controllers.placements.templates import Attempt, Given, build_container_job
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.model import Activity
from support.operator_scene import manifest

DEFAULTS = WorkerDefaults(
    image="w:1", server="https://perdure:7233", audience="perdure", authority="-----BEGIN…"
)


def job_of(arguments: str = "[]", heartbeat: str = "", **template: Any) -> Manifest:
    body = manifest(ACTIVITIES, "resize", {"template": {"image": "busybox:1", **template}}, uid="u")
    attempt = Attempt(
        activity=Activity.from_manifest(body), name="job-1", workflow_id="w", run_id="r", seq=4,
        number=2,
    )  # fmt: skip
    given = Given(token="t.o.k", arguments=arguments, idempotency_key="r:4", heartbeat=heartbeat)
    return build_container_job(attempt, DEFAULTS, given)


def pod_of(job: Manifest) -> Manifest:
    spec: Manifest = job["spec"]["template"]["spec"]
    return spec


def env_of(job: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in pod_of(job)["containers"][0]["env"]}


def test_a_container_finds_what_it_needs_in_its_environment() -> None:
    env = env_of(job_of('["a"]'))

    assert env["PERDURE_INPUT"] == '["a"]'
    assert env["PERDURE_INPUT_FILE"] == "/perdure/input.json"
    assert env["PERDURE_ADDRESS"] == "https://perdure:7233"
    assert env["PERDURE_TASK_TOKEN"] == "t.o.k"
    assert env["PERDURE_ATTEMPT"] == "2"
    assert env["PERDURE_IDEMPOTENCY_KEY"] == "r:4"
    assert env["PERDURE_TLS_CA"].endswith("/ca.crt")


def test_a_container_is_told_the_last_heartbeat_of_the_attempt_before() -> None:
    assert env_of(job_of(heartbeat="[4711]"))["PERDURE_HEARTBEAT_DETAILS"] == "[4711]"
    assert "PERDURE_HEARTBEAT_DETAILS" not in env_of(job_of())
    assert "PERDURE_HEARTBEAT_DETAILS" not in env_of(job_of(heartbeat="[" + "1," * 40_000 + "1]"))


def test_an_input_with_dollars_reaches_the_container_as_it_is() -> None:
    # Kubernetes reads $(NAME) as a reference and $$ as one dollar.
    assert env_of(job_of('["$(HOME) $$"]'))["PERDURE_INPUT"] == '["$$(HOME) $$$$"]'


def test_a_long_input_is_in_the_file_alone() -> None:
    job = job_of('["' + "x" * 70_000 + '"]')

    assert "PERDURE_INPUT" not in env_of(job)
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    assert len(annotations["perdure.dev/input"]) == 70_004


def test_a_container_meets_pod_security_restricted_and_has_no_token_of_an_account() -> None:
    job = job_of()
    pod, text = pod_of(job), str(job)

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = pod["containers"][0]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "serviceAccountToken" not in text


def test_a_job_makes_one_pod_and_never_another() -> None:
    job = job_of()

    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert pod_of(job)["restartPolicy"] == "Never"


def test_everything_of_the_template_is_in_the_pod() -> None:
    mount = {"name": "data", "mountPath": "/data"}
    pod = pod_of(
        job_of(
            command=["sh", "-c"],
            args=["echo $(PERDURE_INPUT)"],
            env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            resources={"limits": {"memory": "1Gi"}},
            nodeSelector={"gpu": "yes"},
            tolerations=[{"operator": "Exists"}],
            volumes=[{"name": "data", "emptyDir": {}}],
            volumeMounts=[mount],
            serviceAccountName="media",
            imagePullSecrets=[{"name": "registry"}],
            imagePullPolicy="Always",
            pod={"spec": {"securityContext": {"runAsUser": 1000}}},
        )
    )
    container = pod["containers"][0]

    assert (container["command"], container["args"]) == (["sh", "-c"], ["echo $(PERDURE_INPUT)"])
    assert container["env"][-1]["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert mount in container["volumeMounts"]
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]
    assert pod["nodeSelector"] == {"gpu": "yes"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["serviceAccountName"] == "media"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert container["imagePullPolicy"] == "Always"
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_what_a_template_sets_itself_is_not_set_twice() -> None:
    job = job_of(env=[{"name": "PERDURE_ADDRESS", "value": "http://proxy"}])
    names = [each["name"] for each in pod_of(job)["containers"][0]["env"]]

    assert len(names) == len(set(names))
    assert env_of(job)["PERDURE_ADDRESS"] == "http://proxy"


def test_labels_by_which_things_are_found_cannot_be_overlaid() -> None:
    labels = {"perdure.dev/attempt": "9", "team": "media"}
    metadata = job_of(pod={"metadata": {"labels": labels}})["spec"]["template"]["metadata"]

    assert metadata["labels"]["perdure.dev/attempt"] == "2"
    assert metadata["labels"]["team"] == "media"


@pytest.mark.parametrize("workflow_id", ["order-42", "Order/42 (Ünïcode)", "x" * 900, "///"])
def test_names_fit_and_differ_by_run_seq_and_attempt(workflow_id: str) -> None:
    shown = {shown_name(workflow_id, run, seq) for run in ("r1", "r2") for seq in (1, 16777216)}
    jobs = {job_name("a" * 253, run, 1, attempt) for run in ("r1", "r2") for attempt in (1, 99999)}

    assert (len(shown), len(jobs)) == (4, 4)
    for name in shown | jobs:
        assert len(name) <= 63
        assert label_value(name) == name
    assert len(label_value(workflow_id)) <= 63
