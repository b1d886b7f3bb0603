"""Activities on a real worker: timeouts, retries, cancellation, heartbeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from perdure.exceptions import ApplicationError, CancelledError
from perdure.protocol import events as ev
from support.scenes import Scene, events_of, lines_of
from support.waiting import eventually

WORKFLOWS = Path(__file__).parents[1] / "support" / "workflows.py"
QUEUE = "default"


async def call(client: Client, workflow_id: str, **fields: Any) -> Any:
    return await client.execute_workflow("CallActivity", fields, id=workflow_id, task_queue=QUEUE)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        pytest.param(
            "START_TO_CLOSE", {"activity": "nap", "args": [5], "start_to_close": 200},
            id="start-to-close",
        ),
        pytest.param(
            "START_TO_CLOSE", {"activity": "nap_in_thread", "args": [5], "start_to_close": 200},
            id="start-to-close-in-a-thread",
        ),
        pytest.param(
            "SCHEDULE_TO_START",
            {
                "activity": "nap", "args": [5], "start_to_close": 5000, "schedule_to_start": 200,
                "task_queue": "nobody",
            },
            id="schedule-to-start",
        ),
        pytest.param(
            "SCHEDULE_TO_CLOSE", {"activity": "nap", "args": [5], "schedule_to_close": 200},
            id="schedule-to-close",
        ),
        pytest.param(
            "HEARTBEAT",
            {
                "activity": "wait_to_be_cancelled", "args": ["/dev/null"], "start_to_close": 9000,
                "heartbeat": 200,
            },
            id="heartbeat",
        ),
    ],
)  # fmt: skip
async def test_each_timeout_ends_an_activity_under_its_own_name(
    client: Client, kind: str, fields: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    assert await call(client, request.node.name, **fields) == {"timeout": kind}
    handle = client.get_workflow_handle(request.node.name)
    assert sum(isinstance(event, ev.ActivityTimedOut) for event in await events_of(handle)) == 1


async def test_an_attempt_that_timed_out_is_told_to_stop(client: Client, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    ended = await call(
        client, "stopped", activity="wait_to_be_cancelled", args=[str(notes)], start_to_close=200
    )
    assert ended == {"timeout": "START_TO_CLOSE"}
    await eventually(lambda: lines_of(notes) == ["waiting", "cancelled"])


async def test_a_failing_activity_is_tried_again_and_only_the_last_attempt_is_recorded(
    client: Client,
) -> None:
    ended = await call(
        client, "retried", activity="fail_until", args=[3], start_to_close=5000, attempts=5
    )
    assert ended == {"result": 3}
    events = await events_of(client.get_workflow_handle("retried"))
    (started,) = [event for event in events if isinstance(event, ev.ActivityStarted)]
    assert started.attempt == 3
    assert started.last_failure is not None
    assert started.last_failure.message == "attempt 2 fails"


async def test_an_activity_without_attempts_left_fails_with_its_last_error(client: Client) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await call(
            client, "given-up", activity="fail_until", args=[3], start_to_close=5000, attempts=2
        )
    cause = caught.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("NotYet", "attempt 2 fails")


@pytest.mark.parametrize("name", ["wait_to_be_cancelled", "wait_to_be_cancelled_in_thread"])
async def test_cancellation_reaches_an_activity_without_heartbeats(
    client: Client, tmp_path: Path, name: str
) -> None:
    notes = tmp_path / "notes"
    given = {"activity": name, "args": [str(notes)], "start_to_close": 30_000, "wait": True}
    handle = await client.start_workflow(
        "CallActivity", given, id=f"cancelled-{name}", task_queue=QUEUE
    )
    await eventually(lambda: lines_of(notes) == ["waiting"])
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert lines_of(notes) == ["waiting", "cancelled"]
    assert any(isinstance(event, ev.ActivityCanceled) for event in await events_of(handle))


async def test_a_terminated_run_stops_its_activity(client: Client, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    given = {"activity": "wait_to_be_cancelled", "args": [str(notes)], "start_to_close": 30_000}
    handle = await client.start_workflow("CallActivity", given, id="ended", task_queue=QUEUE)
    await eventually(lambda: lines_of(notes) == ["waiting"])
    await handle.terminate("enough")
    await eventually(lambda: lines_of(notes) == ["waiting", "cancelled"])


async def test_heartbeat_details_survive_a_worker_that_is_killed(scene: Scene) -> None:
    notes = scene.folder / "notes"
    given = {
        "activity": "beat_then_hang", "args": [str(notes)],
        "start_to_close": 60_000, "heartbeat": 30_000, "attempts": 2,
    }  # fmt: skip
    worker = scene.start_worker(WORKFLOWS)
    async with scene.client() as client:
        handle = await client.start_workflow("CallActivity", given, id="b", task_queue=QUEUE)

        async def recorded() -> bool:
            (pending,) = (await handle.describe()).raw_description.pending_activities
            return len(pending.heartbeat_details) == 2

        await eventually(lambda: lines_of(notes))
        await eventually(recorded)
        worker.kill()
        scene.start_worker(WORKFLOWS)
        assert await handle.result() == {"result": ["half", 50]}
        events = await events_of(handle)
    (started,) = [event for event in events if isinstance(event, ev.ActivityStarted)]
    assert started.attempt == 2
    assert lines_of(notes) == ["attempt 1 beat"]
