"""Schedules on a real API server: each time once, whatever becomes of the operator."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster
from support.operator_processes import Operator, runs_started
from support.operator_scene import a_pool
from support.schedules import NAME, a_schedule

pytestmark = pytest.mark.timeout(300)

POOL = a_pool(image="shop/report:1", modules=["report"])
KEPT = {"successfulWorkflowsLimit": 1000, "failedWorkflowsLimit": 1000}
KILLS = 6
SECOND = timedelta(seconds=1)


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    with cluster.namespace("schedules") as namespace, Operator(cluster, namespace, tmp_path) as own:
        yield own


def times(operator: Operator, prefix: str = "") -> list[datetime]:
    """Return the times that there are Workflows for, in order."""
    stamps = (
        each["metadata"]["annotations"]["perdure.dev/scheduled-time"]
        for each in operator.items("workflows")
        if each["metadata"]["name"].startswith(f"{NAME}-{prefix}")
    )
    return sorted(datetime.fromisoformat(each) for each in stamps)


def status(operator: Operator) -> dict[str, Any]:
    found: dict[str, Any] = operator.get("schedule", NAME).get("status", {})
    return found


def test_a_schedule_of_every_second_misses_and_doubles_none_while_its_operator_is_killed(
    operator: Operator,
) -> None:
    chance = random.Random(4)
    every_second = {"intervals": [{"every": "1s"}], "overlapPolicy": "AllowAll"}
    operator.apply(POOL, a_schedule(**every_second, **KEPT))
    operator.eventually(lambda: len(times(operator)) >= 2, "it has begun")
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.5))
        operator.operator.kill()
        operator.start_operator()
    killed = status(operator)["lastScheduleTime"]
    operator.eventually(lambda: status(operator)["lastScheduleTime"] > killed, "it goes on")
    operator.patch("schedule", NAME, {"spec": {"pause": True}})
    operator.phase("schedule", NAME, "Paused")

    found = times(operator)
    assert found == [found[0] + number * SECOND for number in range(len(found))]
    first = operator.get("schedule", NAME)["metadata"]["creationTimestamp"]
    assert found[0] == datetime.fromisoformat(first) + SECOND
    assert status(operator)["started"] == len(found)
    assert status(operator)["missed"] == status(operator)["skipped"] == 0
    operator.eventually(lambda: runs_started(operator) == len(found), "each has one run")


def test_a_backfill_is_done_once_though_the_operator_is_killed_in_the_middle(
    operator: Operator,
) -> None:
    span = {"id": "gap", "start": "2025-12-01T00:00:00Z", "end": "2025-12-01T23:59:59Z"}
    backfill = {**span, "overlapPolicy": "AllowAll"}
    schedule = a_schedule(cron=["*/15 * * * *"], pause=True, backfills=[backfill], **KEPT)
    operator.apply(POOL, schedule)
    operator.eventually(lambda: len(times(operator, "backfill-gap-")) >= 3, "it has begun")
    operator.operator.kill()
    operator.start_operator()
    operator.eventually(
        lambda: [each.get("done") for each in status(operator).get("backfills", ())] == [True],
        "it is done",
    )

    quarter = timedelta(minutes=15)
    found = times(operator, "backfill-gap-")
    assert found == [datetime.fromisoformat(span["start"]) + n * quarter for n in range(96)]
    operator.apply(schedule)
    operator.eventually(lambda: runs_started(operator) == 96, "each has one run")


def test_a_schedule_cancels_skips_and_cleans_up(operator: Operator) -> None:
    operator.apply(POOL, a_schedule(intervals=[{"every": "1s"}], overlapPolicy="CancelOther"))
    operator.eventually(
        lambda: any(
            each.get("status", {}).get("phase") == "Running" for each in operator.items("workflows")
        ),
        "one runs",
    )
    operator.cluster.wait_for(
        "condition=Ready", f"schedule/{NAME}", namespace=operator.namespace, timeout=30
    )
    # Nobody runs their code, so what is asked to end waits for a worker.
    operator.eventually(lambda: bool(status(operator)["buffered"]), "the next one waits")
    assert status(operator)["activeCount"] == 1
    operator.cluster.delete("schedule", NAME, namespace=operator.namespace)
    operator.eventually(
        lambda: all(
            "deletionTimestamp" in each["metadata"] for each in operator.items("workflows")
        ),
        "its Workflows go with it",
    )
