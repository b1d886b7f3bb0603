"""Kubernetes' own HorizontalPodAutoscaler scales a WorkerPool by the server's numbers.

It asks an external metrics API, as it would ask KEDA's, and writes the `scale` subresource; the
operator makes the workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from perdure.client import Client
from support.cluster import Cluster
from support.interop_metrics_api import external_metrics
from support.operator_processes import Operator
from support.operator_scene import a_pool

SLOTS = 100

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    """An operator on a pool that is scaled from outside."""
    with cluster.namespace("scaled") as namespace, Operator(cluster, namespace, tmp_path) as own:
        scaling = {"mode": "External"}
        own.apply(a_pool("orders", slots=SLOTS, replicas=1, scaling=scaling))
        own.the_job()
        yield own


def autoscaler() -> dict[str, Any]:
    """Return what KEDA would make of the how-to's ScaledObject."""
    target = {"type": "AverageValue", "averageValue": str(SLOTS)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "orders"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "perdure.dev/v1alpha1",
                "kind": "WorkerPool",
                "name": "orders",
            },
            "minReplicas": 1,
            "maxReplicas": 20,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "s0-metric-api-demand"}, "target": target},
                }
            ],
        },
    }


async def test_the_autoscaler_makes_workers_by_demand_and_takes_them_away(
    cluster: Cluster, operator: Operator, tmp_path: Path
) -> None:
    queue = f"{operator.server.address}/api/v1/queues/{operator.namespace}/orders"
    url = queue if "://" in queue else f"http://{queue}"

    def demand() -> int:
        with urlopen(url) as answer:
            return int(json.load(answer)["demand"])

    with external_metrics(cluster, operator.namespace, demand, tmp_path):
        async with await Client.connect(
            operator.server.address, namespace=operator.namespace
        ) as client:
            started = [
                await client.start_workflow("Order", id=f"order-{number}", task_queue="orders")
                for number in range(2 * SLOTS + 50)
            ]
            operator.apply(autoscaler())
            cluster.eventually(
                lambda: operator.get("workerpool", "orders")["spec"]["replicas"] == 3,
                what="three workers are wanted for 250 tasks of 100 slots",
                timeout=120,
            )
            operator.eventually(lambda: len(operator.items("jobs")) == 3, "there are three Jobs")
            for each in started:
                await each.terminate()
        cluster.eventually(
            lambda: operator.get("workerpool", "orders")["spec"]["replicas"] == 1,
            what="one worker is left",
            timeout=120,
        )
        conditions = operator.get("hpa", "orders")["status"]["conditions"]

    assert {each["type"]: each["status"] for each in conditions}["AbleToScale"] == "True"
    assert {each["type"]: each["status"] for each in conditions}["ScalingActive"] == "True"
