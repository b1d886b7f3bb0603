"""Two operators on one API server: one leads, and one that led writes nothing any more.

Each has a proxy of its own before the API server, which records what it asks.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.operator_replicas import LEASE_SECONDS, ReplicaStage
from support.operator_scene import a_pool
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

POOL = a_pool(image="shop/hello:1", modules=["hello"])


@pytest.fixture
def stage(cluster: Cluster, tmp_path: Path) -> Iterator[ReplicaStage]:
    with cluster.namespace("lead") as namespace, ExitStack() as stack:
        stage = ReplicaStage(cluster, namespace, tmp_path, stack)
        cluster.apply({**POOL, "metadata": {"name": "orders"}}, namespace=namespace)
        yield stage
        for log in sorted(tmp_path.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-4000:]}")


def test_a_standby_writes_nothing_and_takes_over_from_a_killed_leader(stage: ReplicaStage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    stage.apply("order-1")
    stage.runs("order-1")
    assert not second.leads
    assert second.is_healthy
    assert second.api.writes() == []
    assert not [asked for asked in second.api.asked if asked.is_watch]

    first.process.kill()
    killed = time.monotonic()
    stage.apply("order-2")
    wait_until(lambda: second.leads, what="b leads")
    assert time.monotonic() - killed < LEASE_SECONDS + 1.5
    stage.runs("order-2")


def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: ReplicaStage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    began = time.monotonic()
    assert first.process.stop() == 0
    stopped = time.monotonic()
    wait_until(lambda: second.leads, what="b leads")

    assert stopped - began < 5
    assert time.monotonic() - stopped < 1.5
    assert "stopped" in first.log.read_text()
    assert second.process.stop() == 0


def test_a_leader_that_was_stopped_beyond_its_lease_writes_nothing_any_more(
    stage: ReplicaStage,
) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    stage.apply("order-1")
    stage.runs("order-1")
    first.process.signal(signal.SIGSTOP)
    # What it is to find when it wakes up: events that it has not read, and looks that are due.
    for number in range(2, 22):
        stage.apply(f"order-{number}")
    wait_until(lambda: second.leads, what="b leads")
    stage.runs("order-21")
    # Neither the server nor the lease tells it anything at first: its own clock has to.
    stage.server.signal(signal.SIGSTOP)
    first.api.fault = lambda asked: 10.0 if "/leases/" in asked.path else None
    for number in range(30, 40):
        stage.apply(f"order-{number}")
    woken = time.monotonic()
    first.process.signal(signal.SIGCONT)
    wait_until(lambda: any(each.time > woken for each in first.api.asked), what="a is awake")
    time.sleep(3)
    assert first.api.writes(since=woken) == []
    first.api.fault = lambda _asked: None
    stage.server.signal(signal.SIGCONT)
    wait_until(lambda: first.log.read_text().count("standing by") == 2, what="a knows")
    stage.runs("order-39")

    assert first.api.writes(since=woken) == []
    assert first.is_healthy
    assert not first.leads
    assert second.leads

    # It stands by again, and leads when it is its turn.
    second.process.kill()
    wait_until(lambda: first.leads, what="a leads again")
    stage.apply("order-22")
    stage.runs("order-22")


def test_a_leader_that_is_cut_off_stops_before_another_one_begins(stage: ReplicaStage) -> None:
    first, second = stage.leader("a"), stage.standby("b")
    first.api.cut_off()
    while first.leads:
        assert not second.leads
        time.sleep(0.05)
    wait_until(lambda: second.leads, what="b leads")
    reached = time.monotonic()
    first.api.is_cut_off = False
    wait_until(lambda: first.log.read_text().count("standing by") == 2, what="a knows")

    assert first.api.writes(since=reached) == []
    stage.apply("order-1")
    stage.runs("order-1")
