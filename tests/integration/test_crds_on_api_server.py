"""The custom resource definitions on a real API server: what it accepts, refuses and defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from perdure_operator.model import (
    KINDS,
    Activity,
    ActivityPhase,
    ActivityStatus,
    Checkpoint,
    ConditionStatus,
    ConditionType,
    Failure,
    HistorySummary,
    PoolPhase,
    Reason,
    Resource,
    ResourceKind,
    WorkerPoolStatus,
    Workflow,
    WorkflowPhase,
    WorkflowStatus,
    set_condition,
)
from support.cluster import Cluster, CommandError
from support.manifests import (
    ACCEPTED,
    CHANGES,
    REFUSED_BY_SERVER,
    Change,
    Manifest,
    Refused,
    manifest_of,
)

MODELS = {kind.name: kind.model for kind in KINDS}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("crds") as name:
        for id_ in ("workflow-in-full", "activity-batch", "pool-with-image", "schedule-in-full"):
            cluster.apply(ACCEPTED[id_], namespace=name)
        yield name


def create(cluster: Cluster, manifest: Manifest, namespace: str) -> Manifest:
    """Return what the API server would make of ``manifest``, under a free name; nothing is kept."""
    options = ("--dry-run=server", "--validate=strict", "-o", "json", "-n", namespace)
    renamed = manifest | {"metadata": {"name": f"{manifest['metadata']['name']}-0"}}
    answer = cluster.kubectl("create", *options, "-f", "-", input=json.dumps(renamed))
    return dict(json.loads(answer))


def write_status(cluster: Cluster, resource: Resource, namespace: str) -> Manifest:
    """Write the resource's status and return the object as the API server then has it.

    It is replaced, because a merge patch would take a null within a result for "remove this".
    """
    there = cluster.get(resource.KIND, resource.metadata.name, namespace=namespace)
    body = there | {"status": resource.to_manifest()["status"]}
    options = ("--subresource=status", "-o=json", f"-n={namespace}")
    answer = cluster.kubectl("replace", *options, "-f", "-", input=json.dumps(body))
    return dict(json.loads(answer))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_definition_is_accepted_without_a_complaint(
    cluster: Cluster, kind: ResourceKind
) -> None:
    crd = cluster.get("crd", kind.crd_name)

    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_manifest_is_accepted_and_defaulted_as_the_model_does(
    cluster: Cluster, namespace: str, manifest: Manifest
) -> None:
    answer = create(cluster, manifest, namespace)

    model = MODELS[manifest["kind"]]
    assert model.from_manifest(answer).spec == model.from_manifest(manifest).spec
    assert set(answer["spec"]) == set(model.from_manifest(manifest).to_manifest()["spec"])


@pytest.mark.parametrize("case", REFUSED_BY_SERVER.values(), ids=REFUSED_BY_SERVER)
def test_a_bad_manifest_is_refused_and_the_error_says_what_is_wrong(
    cluster: Cluster, namespace: str, case: Refused
) -> None:
    with pytest.raises(CommandError) as error:
        create(cluster, case.manifest, namespace)

    assert case.server_says in str(error.value)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_steers_may_change_and_what_defines_a_run_may_not(
    cluster: Cluster, namespace: str, change: Change
) -> None:
    kind, name = change.manifest["kind"], change.manifest["metadata"]["name"]

    def patch() -> str:
        options = ("--type=merge", "--dry-run=server", "-n", namespace)
        return cluster.kubectl("patch", kind, name, *options, "-p", json.dumps(change.patch))

    if change.refused_with is None:
        assert "patched" in patch()
        return
    with pytest.raises(CommandError) as error:
        patch()
    assert change.refused_with in str(error.value)
    # One fault, one message: except where two fields change at once.
    assert str(error.value).count("cannot be changed") <= len(change.patch["spec"])


def test_the_same_manifest_applied_again_changes_nothing(cluster: Cluster, namespace: str) -> None:
    assert "unchanged" in cluster.apply(ACCEPTED["workflow-in-full"], namespace=namespace)


def test_nulls_in_user_values_survive_a_server_side_apply(cluster: Cluster, namespace: str) -> None:
    manifest = manifest_of("Workflow", "nulls", type="T", workerPool="p", input=[None, {"a": None}])

    cluster.kubectl(
        "apply", "--server-side", "-n", namespace, "-f", "-", input=json.dumps(manifest)
    )

    assert cluster.get("workflow", "nulls", namespace=namespace)["spec"]["input"] == [
        None,
        {"a": None},
    ]


def test_a_full_workflow_status_is_stored_as_written_and_understood_by_kubectl(
    cluster: Cluster, namespace: str
) -> None:
    conditions = set_condition(
        (), ConditionType.COMPLETE, ConditionStatus.TRUE, Reason.SUCCEEDED, "done", 1, NOON
    )
    status = WorkflowStatus(
        phase=WorkflowPhase.SUCCEEDED,
        workflow_id="order-42",
        run_id="r1",
        task_queue="orders",
        current_step="x" * 300,
        start_time=NOON,
        completion_time=NOON,
        result={"paymentId": "pay_991", "note": None},
        failure=Failure(message="m" * 5000, type="E", step="charge", cause="c", stack_trace="s"),
        history=HistorySummary(events=12, digest="sha256:0", tail=("a", "b")),
        checkpoint=Checkpoint(events=12, encoding="zstd+base64", data="A" * 22000),
        delivered_signals=("a1",),
        observed_generation=1,
        conditions=conditions,
    )
    workflow = Workflow.from_manifest(ACCEPTED["workflow-in-full"])
    workflow = workflow.model_copy(update={"status": status})

    answer = write_status(cluster, workflow, namespace)

    assert answer["status"] == workflow.to_manifest()["status"]
    assert Workflow.from_manifest(answer).status == status
    cluster.wait_for("condition=Complete", "workflow/order-42", namespace=namespace, timeout=5)
    row = cluster.kubectl("get", "pwf", "order-42", "-n", namespace, "--no-headers")
    assert row.split()[:3] == ["order-42", "OrderWorkflow", "Succeeded"]
    selected = ("get", "workflows", "-n", namespace, "-o", "name", "--field-selector")
    assert "order-42" in cluster.kubectl(*selected, "status.phase=Succeeded")
    assert "order-42" not in cluster.kubectl(*selected, "status.phase=Running")


def test_statuses_of_the_other_kinds_are_stored_as_written(
    cluster: Cluster, namespace: str
) -> None:
    activity = Activity.from_manifest(ACCEPTED["activity-batch"]).model_copy(
        update={
            "status": ActivityStatus(
                phase=ActivityPhase.FAILED,
                activity_id="a",
                attempt=3,
                start_time=NOON,
                completion_time=NOON,
                last_failure=Failure(message="no", type="ValueError"),
                items_total=4,
                items_running=1,
                progress="3/4",
                items_succeeded=1,
                items_failed=2,
                worker="w",
            )
        }
    )
    pool = MODELS["WorkerPool"].from_manifest(ACCEPTED["pool-with-image"])
    pool = pool.model_copy(
        update={
            "status": WorkerPoolStatus(
                phase=PoolPhase.ACTIVE,
                task_queue="orders",
                version="abc",
                active_jobs=2,
                ready_workers=1,
                backlog=7,
            )
        }
    )

    for resource in (activity, pool):
        answer = write_status(cluster, resource, namespace)
        assert answer["status"] == resource.to_manifest()["status"]

    listed = cluster.kubectl("get", "perdure", "-o", "name", "-n", namespace)
    assert {line.partition(".")[0] for line in listed.split()} == {
        "workflow",
        "activity",
        "workerpool",
        "schedule",
    }
