"""Reading custom resources from manifests, and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from perdure_operator.model import (
    KINDS,
    Activity,
    ConditionStatus,
    DeletionPolicy,
    Resource,
    WorkerPool,
    Workflow,
    WorkflowPhase,
)
from support.manifests import ACCEPTED, REFUSED_BY_MODEL, Refused, manifest_of

MODELS: Mapping[str, type[Resource]] = {kind.name: kind.model for kind in KINDS}


def read(manifest: Mapping[str, Any]) -> Resource:
    return MODELS[manifest["kind"]].from_manifest(manifest)


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_manifest_is_read(manifest: Mapping[str, Any]) -> None:
    assert read(manifest).metadata.name == manifest["metadata"]["name"]


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_written_is_read_again_as_the_same(manifest: Mapping[str, Any]) -> None:
    resource = read(manifest)

    assert read(resource.to_manifest()) == resource


@pytest.mark.parametrize("case", REFUSED_BY_MODEL.values(), ids=REFUSED_BY_MODEL)
def test_a_bad_manifest_is_refused_and_the_error_says_what_is_wrong(case: Refused) -> None:
    with pytest.raises(ValidationError) as error:
        read(case.manifest)

    assert case.model_says in str(error.value)


def test_the_design_manifest_of_a_workflow_has_all_that_it_says() -> None:
    workflow = Workflow.from_manifest(ACCEPTED["workflow-in-full"])

    assert workflow.workflow_id == "order-42"
    assert workflow.spec.input == ({"orderId": "42"},)
    assert workflow.spec.worker_pool == "orders"
    assert workflow.spec.timeouts.execution == timedelta(days=30)
    assert workflow.spec.signals[0].input == (True,)
    assert workflow.spec.deletion_policy is DeletionPolicy.CANCEL
    assert not workflow.spec.suspend
    assert workflow.status.phase is None


def test_a_workflow_id_replaces_the_name() -> None:
    manifest = manifest_of("Workflow", "a", type="T", workerPool="p", workflowId="order/1")

    assert Workflow.from_manifest(manifest).workflow_id == "order/1"


def test_a_pool_polls_the_queue_of_its_name_unless_told_otherwise() -> None:
    spec = {"image": "x", "modules": ["m"]}

    assert WorkerPool.from_manifest(manifest_of("WorkerPool", "a", **spec)).task_queue == "a"
    assert (
        WorkerPool.from_manifest(manifest_of("WorkerPool", "a", taskQueue="q", **spec)).task_queue
        == "q"
    )


def test_a_pool_scales_between_zero_and_twenty_by_default() -> None:
    pool = WorkerPool.from_manifest(manifest_of("WorkerPool", "a", code={"configMap": "c"}))

    assert (pool.spec.scaling.min, pool.spec.scaling.max) == (0, 20)
    assert pool.spec.scaling.idle_after == timedelta(seconds=60)
    assert pool.spec.slots == 100


def test_an_activity_is_retried_as_temporal_does_by_default() -> None:
    activity = Activity.from_manifest(manifest_of("Activity", "a", type="f", workerPool="p"))

    policy = activity.spec.retry_policy
    assert policy.initial_interval == timedelta(seconds=1)
    assert policy.backoff_coefficient == 2.0
    assert policy.maximum_interval is None
    assert policy.maximum_attempts == 0


def test_nulls_inside_of_user_values_are_kept() -> None:
    manifest = manifest_of("Workflow", "a", type="T", workerPool="p", input=[None, {"a": None}])

    written = Workflow.from_manifest(manifest).to_manifest()

    assert written["spec"]["input"] == [None, {"a": None}]


def test_a_status_from_a_newer_operator_is_read_without_what_is_new_in_it() -> None:
    status = {
        "phase": "Running",
        "weather": "fine",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "SomethingNew",
                "message": "",
                "lastTransitionTime": "2026-11-22T08:23:12Z",
                "mood": "good",
            }
        ],
    }

    workflow = Workflow.from_manifest(ACCEPTED["workflow-in-full"] | {"status": status})

    assert workflow.status.phase is WorkflowPhase.RUNNING
    assert workflow.status.conditions[0].status is ConditionStatus.FALSE


def test_metadata_that_nobody_reads_is_skipped() -> None:
    manifest = ACCEPTED["workflow-in-full"] | {
        "metadata": {
            "name": "order-42",
            "namespace": "shop",
            "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "deletionTimestamp": "2026-11-22T08:23:12Z",
        }
    }

    metadata = Workflow.from_manifest(manifest).metadata

    assert (metadata.namespace, metadata.generation) == ("shop", 3)
    assert metadata.is_being_deleted


@pytest.mark.parametrize(
    ("phase", "final"),
    [
        (WorkflowPhase.PENDING, False),
        (WorkflowPhase.RUNNING, False),
        (WorkflowPhase.SUSPENDED, False),
        (WorkflowPhase.SUCCEEDED, True),
        (WorkflowPhase.FAILED, True),
        (WorkflowPhase.CANCELED, True),
        (WorkflowPhase.TERMINATED, True),
        (WorkflowPhase.TIMED_OUT, True),
    ],
)
def test_a_run_is_over_in_every_phase_but_three(phase: WorkflowPhase, final: bool) -> None:
    assert phase.is_final is final


def test_a_resource_is_written_without_what_is_not_set() -> None:
    text = yaml.safe_dump(Workflow.from_manifest(ACCEPTED["workflow-in-full"]).to_manifest())

    assert "null" not in text
    assert "execution: 30d" in text
