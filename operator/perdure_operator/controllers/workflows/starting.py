"""What starts a Workflow's run, and the workers of its own if it has some."""

from __future__ import annotations

import hashlib

from perdure.protocol.verbs import SignalRequest, StartRequest
from perdure_operator.cluster import WORKER_POOLS, Manifest
from perdure_operator.controllers.actions import ApplyObject, StartRun, SteerRun
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.steering import IDENTITY
from perdure_operator.controllers.values import (
    to_optional_millis,
    to_payloads,
)
from perdure_operator.model import Signal, Workflow
from perdure_operator.model.workerpool import POOL_NAME_MAX_LENGTH

_HASH_LENGTH = 8


def pool_name(workflow: Workflow) -> str:
    """Return the name of the pool whose workers run it."""
    if workflow.spec.worker_pool:
        return workflow.spec.worker_pool
    # Of the uid, so that neither a long name's end nor a Workflow of that name before it matters.
    digest = hashlib.sha256(workflow.metadata.uid.encode()).hexdigest()[:_HASH_LENGTH]
    stem = workflow.metadata.name[: POOL_NAME_MAX_LENGTH - _HASH_LENGTH - 1].rstrip("-.")
    return f"{stem}-{digest}"


def apply_own_pool(workflow: Workflow) -> ApplyObject:
    """Return the pool for a Workflow with workers of its own; it goes when the Workflow goes."""
    assert workflow.spec.worker is not None
    metadata = workflow.metadata
    owner = {
        "apiVersion": workflow.api_version,
        "kind": workflow.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
    }
    manifest: Manifest = {
        "apiVersion": WORKER_POOLS.api_version,
        "kind": WORKER_POOLS.kind,
        "metadata": {
            "name": pool_name(workflow),
            "namespace": metadata.namespace,
            "labels": {"app.kubernetes.io/managed-by": IDENTITY},
            "ownerReferences": [owner],
        },
        "spec": workflow.spec.worker.model_dump(
            mode="json", exclude_none=True, exclude_defaults=True
        ),
    }
    return ApplyObject(kind=WORKER_POOLS, manifest=manifest)


def start_run(workflow: Workflow, task_queue: str) -> StartRun:
    """Return the start of the run: the same one, however often it is asked for."""
    spec, metadata = workflow.spec, workflow.metadata
    memo = spec.memo or {}
    return StartRun(
        request=StartRequest(
            namespace=metadata.namespace,
            workflow_id=workflow.workflow_id,
            workflow_type=spec.type,
            task_queue=task_queue,
            input=to_payloads(spec.input),
            execution_timeout=to_optional_millis(spec.timeouts.execution),
            run_timeout=to_optional_millis(spec.timeouts.run),
            memo=dict(zip(memo, to_payloads(memo.values()), strict=True)),
            request_id=metadata.uid,
            identity=IDENTITY,
            watched=True,
        )
    )


def send_signal(run: RunFacts, signal: Signal) -> SteerRun:
    """Return the delivery of a signal; its id makes it one, however often it is sent."""
    return SteerRun(
        request=SignalRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            name=signal.name,
            input=to_payloads(signal.input),
            signal_id=signal.id,
            identity=IDENTITY,
        )
    )
