"""What becomes a Kubernetes Event, and how few of them there are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure_operator.cluster import (
    ACTIVITIES,
    EVENTS,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    ForbiddenError,
    Manifest,
    ObjectKind,
)
from perdure_operator.controllers.notices import Notice, notices_of
from perdure_operator.controllers.posting import BURST, RATE, SERIES_WINDOW, Poster
from support.fake_cluster import FakeClock, FakeCluster
from support.operator_scene import Scene, a_pool, a_workflow, manifest


def conditions(**said: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {"type": type_, "status": status, "reason": reason, "message": f"about {reason}"}
        for type_, (status, reason) in said.items()
    ]


NOT_READY = conditions(Ready=("False", "ExecutionFailed"))
STALLED = conditions(Stalled=("True", "TypeNotRegistered"))
CRASHING = conditions(WorkersReady=("False", "WorkersCrashing"))


@pytest.mark.parametrize(
    ("kind", "before", "after", "reasons"),
    [
        pytest.param(WORKFLOWS, {}, {"phase": "Pending"}, [], id="accepted"),
        pytest.param(WORKFLOWS, {}, {"phase": "Running"}, ["Started"], id="started"),
        pytest.param(
            WORKFLOWS, {"phase": "Running"}, {"phase": "Running", "x": 1}, [], id="goes-on"
        ),
        pytest.param(
            WORKFLOWS, {"phase": "Suspended"}, {"phase": "Running"}, ["Resumed"], id="resumed"
        ),
        pytest.param(
            WORKFLOWS, {"phase": "Running"}, {"phase": "Suspended"}, ["Suspended"], id="suspended"
        ),
        pytest.param(
            ACTIVITIES,
            {"phase": "Running"},
            {"phase": "Failed", "conditions": NOT_READY},
            ["!ExecutionFailed"],
            id="failed",
        ),
        pytest.param(
            WORKFLOWS, {"phase": "Running"}, {"phase": "Succeeded"}, ["Succeeded"], id="succeeded"
        ),
        pytest.param(WORKFLOWS, {"phase": "Failed"}, {"phase": "Failed"}, [], id="over"),
        pytest.param(
            WORKFLOWS,
            {"phase": "Running"},
            {"phase": "Running", "conditions": STALLED},
            ["!TypeNotRegistered"],
            id="stalled",
        ),
        pytest.param(
            WORKFLOWS,
            {"phase": "Running", "conditions": STALLED},
            {"phase": "Running", "conditions": STALLED, "x": 1},
            [],
            id="still-stalled",
        ),
        pytest.param(WORKER_POOLS, {}, {"activeJobs": 2}, ["ScaledUp"], id="scaled-up"),
        pytest.param(
            WORKER_POOLS, {"activeJobs": 2}, {"activeJobs": 0}, ["ScaledDown"], id="scaled-down"
        ),
        pytest.param(
            WORKER_POOLS, {}, {"conditions": CRASHING}, ["!WorkersCrashing"], id="crashing"
        ),
        pytest.param(
            SCHEDULES,
            {"started": 1, "skipped": 0, "missed": 3},
            {"started": 2, "skipped": 1, "missed": 4},
            ["Fired", "Skipped", "!Missed"],
            id="schedule",
        ),
    ],
)
def test_a_change_is_told_once_and_in_a_word(
    kind: ObjectKind, before: Manifest, after: Manifest, reasons: list[str]
) -> None:
    found = notices_of(kind, before, after)
    assert [f"{'!' * each.warning}{each.reason}" for each in found] == reasons
    assert all(each.action for each in found)


def order(uid: str = "u1") -> Manifest:
    return manifest(WORKFLOWS, "order-42", {}, uid=uid)


ORDER = order()
STARTED = Notice(reason="Started", action="StartRun", note="run r1 has started")


class Post:
    """A poster on a cluster in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.counted: list[str] = []
        self.poster = Poster(
            self.cluster, "operator-0", count=self.counted.append, now=self.clock.now
        )

    async def settle(self) -> list[dict[str, Any]]:
        """Send what there is, and return the Events."""
        task = asyncio.create_task(self.poster.send())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        return self.cluster.all(EVENTS)


async def test_an_event_says_what_happened_to_what() -> None:
    post = Post()
    post.poster.post(ORDER, STARTED)
    (event,) = await post.settle()

    assert (event["reason"], event["action"], event["type"]) == ("Started", "StartRun", "Normal")
    assert event["regarding"]["uid"] == "u1"
    assert event["regarding"]["kind"] == "Workflow"
    assert event["metadata"]["namespace"] == event["regarding"]["namespace"] == "shop"
    assert event["reportingController"] == "perdure.dev/operator"
    assert event["reportingInstance"] == "operator-0"
    assert "series" not in event


async def test_the_same_again_is_a_series_of_one_event() -> None:
    post = Post()
    for _ in range(5):
        post.poster.post(ORDER, STARTED)
        await post.settle()
        post.clock.pass_(timedelta(seconds=30))
    (event,) = post.cluster.all(EVENTS)
    assert event["series"]["count"] == 5
    assert post.counted.count("merged") == 4

    post.clock.pass_(SERIES_WINDOW)
    post.poster.post(ORDER, STARTED)
    assert len(await post.settle()) == 2


async def test_what_comes_too_fast_is_dropped_and_counted() -> None:
    post = Post()
    for number in range(BURST + 50):
        post.poster.post(order(f"u{number}"), STARTED)
    assert post.counted.count("dropped") == 50
    post.clock.pass_(timedelta(seconds=10 / RATE))
    for number in range(20):
        post.poster.post(order(f"later-{number}"), STARTED)
    assert post.counted.count("dropped") == 60


async def test_a_refused_event_is_counted_and_disturbs_nobody() -> None:
    post = Post()
    post.cluster.fail_with["apply events"] = ForbiddenError("apply events", "no right")
    post.poster.post(ORDER, STARTED)
    await post.settle()
    assert post.counted == ["failed"]


async def test_a_long_note_is_cut_to_what_the_api_takes() -> None:
    post = Post()
    post.poster.post(ORDER, Notice(reason="Failed", action="EndRun", note="ä" * 5000))
    (event,) = await post.settle()
    assert len(event["note"].encode()) <= 1024


async def test_of_a_run_that_succeeds_two_things_are_told() -> None:
    scene = Scene()
    scene.apply(a_pool(), a_workflow())
    await scene.look(WORKFLOWS, "order-42")
    scene.server.run.complete()
    await scene.look(WORKFLOWS, "order-42")
    await scene.look(WORKFLOWS, "order-42")
    assert scene.notices == ["Started", "Succeeded"]
