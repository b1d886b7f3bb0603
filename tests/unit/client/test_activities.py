"""Standalone activities."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from perdure import activity
from perdure.client import ActivityAlreadyStartedError, ActivityFailureError, RPCError
from perdure.common import ActivityIDConflictPolicy, ActivityIDReusePolicy, Pod, RetryPolicy
from perdure.converter import default
from perdure.exceptions import ApplicationError, UsageError
from perdure.protocol import verbs
from perdure.protocol.placements import Placement
from perdure.protocol.verbs import IdConflictPolicy, IdReusePolicy, RunStatus

WHERE = {"id": "resize-1", "task_queue": "media", "start_to_close_timeout": timedelta(seconds=5)}
STARTED = verbs.StartResponse(run_id="r1")


@dataclass
class Image:
    width: int


@activity.defn(name="resize-image")
async def resize(width: int) -> Image:
    return Image(width)


@activity.defn(dynamic=True)
async def anything(*args: object) -> None: ...


async def undecorated() -> None: ...


def closed(status, **more):
    return verbs.ResultResponse(run_id="r1", status=status, **more)


async def test_a_start_says_everything_that_was_given(server, client):
    server.answer("start", STARTED)
    handle = await client.start_activity(
        resize,
        3,
        **WHERE,
        schedule_to_close_timeout=timedelta(minutes=1),
        schedule_to_start_timeout=timedelta(seconds=2),
        heartbeat_timeout=timedelta(seconds=1),
        retry_policy=RetryPolicy(maximum_attempts=4),
        id_reuse_policy=ActivityIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
        memo={"owner": "ann"},
        pod=Pod(resources={"limits": {"cpu": "2"}}),
        request_id="mine",
    )
    assert server.asked("start") == [
        verbs.StartRequest(
            namespace="shop",
            workflow_id="resize-1",
            workflow_type="resize-image",
            task_queue="media",
            input=default().to_payloads([3]),
            kind="activity",
            activity=verbs.ActivityOptions(
                start_to_close_timeout=5_000,
                schedule_to_close_timeout=60_000,
                schedule_to_start_timeout=2_000,
                heartbeat_timeout=1_000,
                retry_policy=RetryPolicy(maximum_attempts=4).to_protocol(),
                placement=Placement(template={"resources": {"limits": {"cpu": "2"}}}),
            ),
            memo={"owner": default().to_payload("ann")},
            id_reuse_policy=IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            id_conflict_policy=IdConflictPolicy.USE_EXISTING,
            request_id="mine",
            identity="tester",
        )
    ]
    assert (handle.id, handle.run_id) == ("resize-1", "r1")


async def test_executing_waits_for_the_typed_result(server, client):
    server.answer("start", STARTED)
    server.answer("result", closed(RunStatus.COMPLETED, result=default().to_payload(Image(3))))
    assert await client.execute_activity(resize, 3, **WHERE) == Image(3)


async def test_an_activity_goes_by_its_name_too(server, client):
    server.answer("start", STARTED)
    server.answer("result", closed(RunStatus.COMPLETED, result=default().to_payload({"width": 1})))
    result = await client.execute_activity("resize-image", args=[1], result_type=Image, **WHERE)
    assert result == Image(1)


async def test_a_failure_is_raised_with_its_cause(server, client):
    failure = default().to_failure(ApplicationError("broken file", type="Broken"))
    server.answer("result", closed(RunStatus.FAILED, failure=failure))
    with pytest.raises(ActivityFailureError) as caught:
        await client.get_activity_handle("resize-1").result()
    assert caught.value.cause.type == "Broken"


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        pytest.param(undecorated, WHERE, "'undecorated' is no activity", id="undecorated"),
        pytest.param(anything, WHERE, "start it by the name", id="dynamic"),
        pytest.param(resize, {**WHERE, "id": ""}, "must not be empty", id="no-id"),
        pytest.param(
            resize,
            {"id": "a", "task_queue": "b"},
            "give start_to_close_timeout",
            id="without-a-limit",
        ),
    ],
)
async def test_a_start_that_makes_no_sense_never_leaves(server, client, what, options, message):
    with pytest.raises(UsageError, match=message):
        await client.start_activity(what, **options)
    assert not server.requests


async def test_an_id_that_is_taken_is_an_error_of_its_own(server, client):
    server.refuse("start", 409, "AlreadyStarted", run_id="r0")
    with pytest.raises(ActivityAlreadyStartedError, match="resize-1") as caught:
        await client.start_activity(resize, 1, **WHERE)
    error = caught.value
    assert (error.activity_id, error.activity_type, error.run_id) == (
        "resize-1",
        "resize-image",
        "r0",
    )


async def test_another_refusal_of_a_start_stays_what_it_is(server, client):
    server.refuse("start", 400, "Invalid", "too long")
    with pytest.raises(RPCError, match="too long"):
        await client.start_activity(resize, 1, **WHERE)


async def test_a_handle_stops_and_describes_its_run(server, client):
    server.answer("cancel", verbs.Done())
    server.answer("terminate", verbs.Done())
    raw = verbs.RunDescription(
        namespace="shop",
        workflow_id="resize-1",
        run_id="r1",
        workflow_type="resize-image",
        task_queue="media",
        kind="activity",
        status=RunStatus.RUNNING,
        started=0,
    )
    server.answer("describe", raw)
    handle = client.get_activity_handle("resize-1", run_id="r1")
    await handle.cancel(reason="a")
    await handle.terminate(reason="b")
    assert (await handle.describe()).workflow_type == "resize-image"
    target = {"namespace": "shop", "workflow_id": "resize-1", "run_id": "r1"}
    assert server.asked("cancel") == [verbs.CancelRequest(**target, reason="a", identity="tester")]
    assert server.asked("terminate") == [
        verbs.TerminateRequest(**target, reason="b", identity="tester")
    ]
