"""A spec that cannot be read is said in words, and what the status remembers is kept."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from perdure_operator.cluster import SCHEDULES, WORKFLOWS
from perdure_operator.controllers.invalid import explain_invalid
from perdure_operator.model import Activity, Resource, Schedule
from perdure_operator.model.crons import HOW_TO_WRITE
from support.manifests import Manifest, manifest_of
from support.operator_scene import Scene, a_pool, a_workflow, ref
from support.schedules import NAME, ScheduleScene

TEMPLATE = {"spec": {"type": "T", "workerPool": "p"}}


async def test_a_trigger_that_was_done_is_not_done_again_once_a_wrong_spec_is_mended() -> None:
    scene = ScheduleScene()
    scene.schedule(triggers=[{"id": "now"}])
    await scene.look_now()
    known = scene.state
    assert scene.workflows() == ["trigger-now"]

    scene.edit(timeZone="Berlin")
    await scene.look_after(seconds=1)
    assert scene.conditions(SCHEDULES, NAME)["Stalled"] == ("True", "InvalidSpec")
    kept = scene.state
    assert kept | {field: known[field] for field in ("conditions", "observedGeneration")} == known

    scene.edit(timeZone="UTC")
    await scene.look_after(seconds=1)
    assert scene.state["triggersDone"] == ["now"]
    assert scene.created() == ["trigger-now"]
    assert scene.conditions(SCHEDULES, NAME) == {"Ready": ("True", "Scheduled")}


async def test_a_time_that_passes_under_a_wrong_spec_is_made_up_for() -> None:
    scene = ScheduleScene()
    scene.schedule(overlapPolicy="AllowAll")
    await scene.look_now()
    await scene.look_after(minutes=1)
    scene.edit(timeZone="Berlin")
    await scene.look_after(minutes=1)
    scene.edit(timeZone="UTC")
    await scene.look_after(minutes=1)
    assert scene.minutes() == [1, 2, 3]


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    scene.apply(a_pool())
    scene.apply(a_workflow())
    await scene.look(WORKFLOWS, "order-42")
    return scene


async def test_a_run_is_still_known_while_its_spec_cannot_be_read(scene: Scene) -> None:
    known = scene.status(WORKFLOWS, "order-42")
    assert known["runId"]
    scene.cluster.edit(WORKFLOWS, ref("order-42"), fromTheFuture=True)
    await scene.look(WORKFLOWS, "order-42")
    kept = scene.status(WORKFLOWS, "order-42")
    assert kept | {field: known[field] for field in ("conditions", "observedGeneration")} == known
    assert scene.conditions(WORKFLOWS, "order-42")["Stalled"] == ("True", "InvalidSpec")


async def test_a_wrong_spec_is_written_down_once(scene: Scene) -> None:
    scene.cluster.edit(WORKFLOWS, ref("order-42"), fromTheFuture=True)
    await scene.look(WORKFLOWS, "order-42")
    writes = len(scene.cluster.writes)
    scene.pass_time(minutes=1)
    await scene.look(WORKFLOWS, "order-42")
    assert scene.cluster.writes[writes:] == []


async def test_what_is_over_stays_over_whatever_its_spec_reads_like(scene: Scene) -> None:
    ended = scene.status(WORKFLOWS, "order-42")
    complete = {"type": "Complete", "status": "True", "reason": "Succeeded", "message": ""}
    complete["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = ended | {"phase": "Succeeded", "conditions": [complete]}
    scene.cluster.set_status(WORKFLOWS, ref("order-42"), status)
    scene.cluster.edit(WORKFLOWS, ref("order-42"), fromTheFuture=True)
    await scene.look(WORKFLOWS, "order-42")
    assert scene.status(WORKFLOWS, "order-42") == status


@pytest.mark.parametrize(
    ("model", "manifest", "words"),
    [
        pytest.param(
            Schedule,
            manifest_of("Schedule", "a", cron=["0 9 31 2 *"], workflowTemplate=TEMPLATE),
            f"spec.cron[0]: '0 9 31 2 *' is not a cron expression (bad day-of-month): "
            f"{HOW_TO_WRITE}",
            id="a-list-is-not-wrong-besides-what-is-in-it",
        ),
        pytest.param(
            Activity,
            manifest_of("Activity", "a", type="f", workerPool="p", parallelism=2),
            "spec: parallelism is for a batch: give items with it, or leave it out",
            id="the-whole-spec",
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_manifest(
    model: type[Resource], manifest: Manifest, words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.from_manifest(manifest)
    assert explain_invalid(caught.value) == words
