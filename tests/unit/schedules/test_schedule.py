"""A Schedule makes Workflows when it is time, as its policies say."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.verbs import CancelRequest, TerminateRequest
from perdure_operator.cluster import SCHEDULES, WORKFLOWS, ForbiddenError
from perdure_operator.model import WorkflowSpec
from perdure_operator.model.schedule import TemplateSpec
from support.operator_scene import a_workflow, ref
from support.schedules import NAME, ScheduleScene


@pytest.fixture
def scene() -> ScheduleScene:
    return ScheduleScene()


def conditions(scene: ScheduleScene) -> dict[str, tuple[str, str]]:
    return scene.conditions(SCHEDULES, NAME)


def test_a_template_is_a_workflow_without_what_steers_one_run() -> None:
    ours, theirs = TemplateSpec.model_fields, WorkflowSpec.model_fields
    steering = {"workflow_id", "suspend", "cancel", "signals", "retries"}
    steering.add("ttl_seconds_after_finished")
    assert ours.keys() == theirs.keys() - steering
    for name in ours.keys() - {"deletion_policy"}:
        assert ours[name].rebuild_annotation() == theirs[name].rebuild_annotation(), name


# --- firing ------------------------------------------------------------------------------------


async def test_first_sight_says_when_it_is_time_and_makes_nothing(scene: ScheduleScene) -> None:
    scene.schedule()
    plan = await scene.look_now()

    assert scene.workflows() == []
    assert scene.state["phase"] == "Active"
    assert scene.state["nextScheduleTimes"] == [f"2026-01-01T00:0{m}:00Z" for m in range(1, 6)]
    assert conditions(scene) == {"Ready": ("True", "Scheduled")}
    assert plan.again is not None
    assert plan.again.total_seconds() == 60


async def test_when_it_is_time_there_is_a_workflow_of_the_template(scene: ScheduleScene) -> None:
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"why": "b"}},
        "spec": {"type": "Report", "input": [{"a": None}], "workerPool": "orders"},
    }
    scene.schedule(workflowTemplate=template)
    await scene.sleep_until_told(await scene.look_now())

    (body,) = scene.cluster.all(WORKFLOWS)
    assert body["spec"] == template["spec"]
    metadata = body["metadata"]
    assert metadata["name"] == f"{NAME}-1767225660"
    assert metadata["labels"] == {"team": "a", "perdure.dev/schedule": NAME}
    assert metadata["annotations"]["perdure.dev/scheduled-time"] == "2026-01-01T00:01:00Z"
    assert metadata["ownerReferences"][0]["uid"] == scene.body(SCHEDULES, NAME)["metadata"]["uid"]
    assert scene.state["active"] == [{"name": metadata["name"], "uid": metadata["uid"]}]
    assert scene.state["lastScheduleTime"] == "2026-01-01T00:01:00Z"
    assert scene.state["lastWorkflow"] == metadata["name"]
    assert scene.state["started"] == 1


async def test_a_look_before_it_is_time_writes_nothing(scene: ScheduleScene) -> None:
    scene.schedule()
    await scene.look_now()
    writes = len(scene.cluster.writes)
    await scene.look_after(seconds=59)
    assert scene.cluster.writes[writes:] == []


async def test_what_was_missed_while_nobody_looked_is_caught_up(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll")
    await scene.look_now()
    await scene.look_after(minutes=5)
    assert scene.minutes() == [1, 2, 3, 4, 5]


async def test_what_is_later_than_the_window_is_left_out_and_counted(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll", catchUpWindow="2m")
    await scene.look_now()
    await scene.look_after(minutes=10, seconds=30)
    assert scene.minutes() == [9, 10]
    assert scene.state["missed"] == 8
    await scene.look_now()
    assert scene.state["missed"] == 8


async def test_many_at_once_are_made_a_few_at_a_time(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll")
    await scene.look_now()
    plan = await scene.look_after(minutes=120)
    assert scene.state["started"] == 50
    while plan.again is not None and not plan.again:
        plan = await scene.look_now()
    assert scene.minutes() == list(range(1, 121))
    assert scene.state["started"] == 120


# --- overlap -----------------------------------------------------------------------------------


async def begin(scene: ScheduleScene, policy: str) -> str:
    """Have one Workflow run when it is time for the next; return its name."""
    scene.schedule(overlapPolicy=policy)
    await scene.look_now()
    await scene.look_after(minutes=1)
    (name,) = scene.workflows()
    scene.run(name)
    return name


async def test_skip_leaves_out_what_overlaps(scene: ScheduleScene) -> None:
    name = await begin(scene, "Skip")
    await scene.look_after(minutes=2)
    assert scene.minutes() == [1]
    assert scene.state["skipped"] == 2
    scene.end(name)
    await scene.look_after(minutes=1)
    assert scene.minutes() == [1, 4]


async def test_buffer_one_keeps_the_first_that_overlaps(scene: ScheduleScene) -> None:
    name = await begin(scene, "BufferOne")
    await scene.look_after(minutes=3)
    assert scene.minutes() == [1]
    assert scene.state["skipped"] == 2
    scene.end(name)
    await scene.look_now()
    assert scene.minutes() == [1, 2]
    assert scene.state["buffered"] == []
    assert scene.state["started"] == 2


async def test_buffer_all_does_one_after_the_other(scene: ScheduleScene) -> None:
    await begin(scene, "BufferAll")
    await scene.look_after(minutes=3)
    assert len(scene.state["buffered"]) == 3
    for count in (2, 3, 4):
        scene.end(scene.created()[-1])
        await scene.look_now()
        assert len(scene.created()) == count
    assert scene.minutes() == [1, 2, 3, 4]
    assert scene.state["started"] == 4
    assert scene.state["skipped"] == 0


async def test_allow_all_starts_besides(scene: ScheduleScene) -> None:
    await begin(scene, "AllowAll")
    await scene.look_after(minutes=1)
    assert scene.minutes() == [1, 2]
    assert scene.state["activeCount"] == 2


@pytest.mark.parametrize(
    ("policy", "verb"), [("CancelOther", CancelRequest), ("TerminateOther", TerminateRequest)]
)
async def test_the_others_are_ended_and_then_the_last_starts(
    scene: ScheduleScene, policy: str, verb: type[Any]
) -> None:
    name = await begin(scene, policy)
    await scene.look_after(minutes=2)
    (asked,) = [call for call in scene.server.calls if isinstance(call, verb)]
    assert (asked.workflow_id, asked.run_id) == (f"{NAME}-{name}", f"r-{name}")
    assert scene.minutes() == [1]

    await scene.look_now()
    assert len([call for call in scene.server.calls if isinstance(call, verb)]) == 1
    scene.end(name, "Canceled")
    await scene.look_now()
    assert scene.minutes() == [1, 3]
    assert scene.state["skipped"] == 1


# --- holding -----------------------------------------------------------------------------------


async def test_a_pause_lets_times_pass_for_good(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll")
    await scene.look_now()
    scene.edit(pause=True)
    plan = await scene.look_now()
    assert plan.again is None
    assert scene.state["phase"] == "Paused"
    assert scene.state["nextScheduleTimes"] == []
    await scene.look_after(minutes=5, seconds=30)
    scene.edit(pause=False)
    await scene.look_now()
    assert scene.minutes() == []
    await scene.look_after(minutes=1)
    assert scene.minutes() == [6]


@pytest.mark.parametrize("phase", ["Failed", "TimedOut"])
async def test_a_failure_holds_it_until_the_spec_changes(scene: ScheduleScene, phase: str) -> None:
    scene.schedule(pauseOnFailure=True)
    await scene.look_now()
    await scene.look_after(minutes=1)
    scene.end(scene.workflows()[0], phase)
    await scene.look_after(minutes=3)
    assert scene.minutes() == [1]
    assert conditions(scene)["Stalled"] == ("True", "PausedOnFailure")
    assert scene.workflows()[0] in scene.message(SCHEDULES, NAME, "Stalled")

    scene.edit(triggers=[{"id": "try"}])
    await scene.look_now()
    assert conditions(scene)["Stalled"] == ("True", "PausedOnFailure")
    scene.end("trigger-try")
    scene.edit(note="looked at")
    await scene.look_now()
    assert conditions(scene) == {"Ready": ("True", "Scheduled")}
    await scene.look_after(minutes=1)
    assert len(scene.workflows()) == 3


async def test_a_cancellation_is_no_failure(scene: ScheduleScene) -> None:
    scene.schedule(pauseOnFailure=True)
    await scene.look_now()
    await scene.look_after(minutes=1)
    scene.end(scene.workflows()[0], "Canceled")
    await scene.look_after(minutes=1)
    assert scene.minutes() == [1, 2]


async def test_limited_actions_are_counted_and_then_it_is_over(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll", limitedActions=2)
    await scene.look_now()
    plan = await scene.look_after(minutes=5)
    assert scene.minutes() == [1, 2]
    assert scene.state["phase"] == "Completed"
    assert plan.again is None


async def test_after_its_end_it_is_over(scene: ScheduleScene) -> None:
    scene.schedule(endAt="2026-01-01T00:01:00Z")
    await scene.look_now()
    await scene.look_after(minutes=5)
    assert scene.minutes() == [1]
    assert conditions(scene) == {"Ready": ("True", "NoTimeLeft")}


async def test_other_times_count_from_their_change_on(scene: ScheduleScene) -> None:
    scene.schedule(cron=["0 0 * * *"], overlapPolicy="AllowAll")
    await scene.look_now()
    scene.pass_time(minutes=90)
    scene.edit(cron=["* * * * *"])
    await scene.look_now()
    assert scene.workflows() == []
    await scene.look_after(minutes=1)
    assert scene.minutes() == [91]


# --- asked for by name -------------------------------------------------------------------------


async def test_a_trigger_is_done_once(scene: ScheduleScene) -> None:
    scene.schedule(triggers=[{"id": "a"}])
    await scene.look_now()
    scene.edit(triggers=[{"id": "a"}, {"id": "b"}])
    await scene.look_now()
    await scene.look_now()
    assert scene.created() == ["trigger-a", "trigger-b"]
    assert scene.state["triggersDone"] == ["a", "b"]
    assert scene.state["started"] == 0


async def test_a_trigger_works_on_a_schedule_that_is_held(scene: ScheduleScene) -> None:
    scene.schedule(pause=True, triggers=[{"id": "a"}])
    await scene.look_now()
    assert scene.workflows() == ["trigger-a"]


async def test_a_backfill_does_each_of_its_times_once_one_after_the_other(
    scene: ScheduleScene,
) -> None:
    span = {"id": "gap", "start": "2025-12-01T10:00:00Z", "end": "2025-12-01T12:00:00Z"}
    scene.schedule(cron=["@hourly"], pause=True, backfills=[span])
    await scene.look_now()
    for count in (1, 2, 3):
        assert len(scene.created()) == count
        scene.end(scene.created()[-1])
        await scene.look_now()
    assert scene.created() == [f"backfill-gap-{1764583200 + 3600 * n}" for n in range(3)]
    (progress,) = scene.state["backfills"]
    assert progress["done"] is True
    assert scene.state["started"] == 0


# --- what is kept ------------------------------------------------------------------------------


async def test_only_the_last_workflows_are_kept(scene: ScheduleScene) -> None:
    scene.schedule(successfulWorkflowsLimit=2, failedWorkflowsLimit=1)
    await scene.look_now()
    for phase in ("Succeeded", "Failed", "Succeeded", "Canceled", "Succeeded"):
        await scene.look_after(minutes=1)
        scene.end(scene.created()[-1], phase)
    await scene.look_now()
    assert scene.minutes() == [3, 4, 5]
    assert scene.state["lastSuccessfulTime"] == "2026-01-01T00:05:00Z"


async def test_what_runs_is_never_deleted_for_being_old(scene: ScheduleScene) -> None:
    scene.schedule(overlapPolicy="AllowAll", successfulWorkflowsLimit=0, failedWorkflowsLimit=0)
    await scene.look_now()
    await scene.look_after(minutes=10)
    assert len(scene.workflows()) == 10


# --- trouble -----------------------------------------------------------------------------------


async def test_a_name_that_is_taken_is_said_and_passes(scene: ScheduleScene) -> None:
    scene.schedule()
    await scene.look_now()
    scene.apply(a_workflow(f"{NAME}-1767225660"))
    plan = await scene.look_after(minutes=1)
    assert plan.blocked
    assert conditions(scene)["Stalled"] == ("True", "NameTaken")
    scene.cluster.ask_to_delete(WORKFLOWS, ref(f"{NAME}-1767225660"))
    await scene.look_now()
    assert scene.minutes() == [1]
    assert conditions(scene) == {"Ready": ("True", "Scheduled")}


async def test_a_refusal_is_said_and_the_time_is_not_lost(scene: ScheduleScene) -> None:
    scene.schedule()
    await scene.look_now()
    scene.cluster.fail_with["create workflows"] = ForbiddenError("create", "quota exceeded")
    plan = await scene.look_after(minutes=1)
    assert "quota exceeded" in plan.blocked
    assert conditions(scene)["Stalled"] == ("True", "Forbidden")
    scene.cluster.fail_with.clear()
    await scene.look_after(minutes=0.5)
    assert scene.minutes() == [1]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"timeZone": "Europe/Berlni"}, "no time zone 'Europe/Berlni'"),
        ({"cron": ["0 9 31 2 *"]}, "not a cron expression (bad day-of-month)"),
    ],
)
async def test_what_only_the_operator_can_see_is_said_in_a_condition(
    scene: ScheduleScene, spec: dict[str, Any], words: str
) -> None:
    scene.schedule(**spec)
    await scene.look_now()
    assert conditions(scene)["Stalled"] == ("True", "InvalidSpec")
    assert words in scene.message(SCHEDULES, NAME, "Stalled")
