"""The verb ``import``: a run leaves one server with its history and goes on in another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus
from perdure_operator.server.errors import VerbError
from perdure_operator.store.port import RunFilter
from support.hosts import World

pytestmark = pytest.mark.looptime

CHARGED = Payload({"encoding": b"json/plain"}, b'"pay_991"')
TARGET = {"namespace": "default", "workflow_id": "order-42"}
CHARGE = cmd.ScheduleActivity(
    seq=1, activity_id="1", activity_type="charge", start_to_close_timeout=60_000
)
SHIP = cmd.ScheduleActivity(
    seq=3, activity_id="3", activity_type="charge", start_to_close_timeout=60_000
)


async def half_done(world: World) -> vb.ImportRequest:
    """Play an order that is charged, waits ten minutes and has begun to ship; export it."""
    run_id = await world.start(watched=True)
    worker = await world.worker()
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, CHARGE)
    attempt = (await worker.take(msg.ActivityTask)).attempt
    await worker.say(msg.ActivityReport(attempt=attempt, result=CHARGED))
    task = await worker.take(msg.WorkflowTask)
    await worker.progress(task, cmd.StartTimer(seq=2, delay=600_000), SHIP)
    await worker.take(msg.ActivityTask)
    return await export(world, run_id)


async def export(world: World, run_id: str) -> vb.ImportRequest:
    described = await world.verbs.describe(vb.DescribeRequest(**TARGET, run_id=run_id))
    page = await world.verbs.history(vb.HistoryRequest(**TARGET, run_id=run_id))
    return vb.ImportRequest(
        **TARGET,
        run_id=run_id,
        events=page.events,
        digest=described.digest,
        watched=described.watched,
    )


async def test_an_imported_run_goes_on_and_repeats_nothing_that_was_recorded() -> None:
    async with World() as old, World(lease=3_600_000) as new:
        request = await half_done(old)
        answer = await new.verbs.import_(request)
        assert answer == vb.ImportResponse(run_id=request.run_id)
        assert await new.history(request.run_id) == list(request.events)

        worker = await new.worker("w2")
        shipping = await worker.take(msg.ActivityTask)
        assert (shipping.attempt.seq, shipping.attempt.attempt) == (3, 1)
        assert not await worker.has(msg.ActivityTask), "charged again"
        assert not await worker.has(msg.WorkflowTask), "there was nothing new to tell"
        await worker.say(msg.ActivityReport(attempt=shipping.attempt))
        task = await worker.take(msg.WorkflowTask)
        results = [
            each.event for each in task.events if isinstance(each.event, ev.ActivityCompleted)
        ]
        assert results == [ev.ActivityCompleted(seq=1, result=CHARGED), ev.ActivityCompleted(seq=3)]
        await worker.progress(task)

        await asyncio.sleep(601)
        assert (await new.history(request.run_id))[-1].event == ev.TimerFired(seq=2)
        task = await worker.take(msg.WorkflowTask)
        await worker.progress(task, cmd.CompleteWorkflow(result=CHARGED))
        result = await new.verbs.result(vb.ResultRequest(**TARGET, wait=0))
        assert (result.status, result.result) == (RunStatus.COMPLETED, CHARGED)


async def test_an_imported_run_outlives_a_restart() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await new.verbs.import_(request)
        await new.restart()
        worker = await new.worker("w2")
        assert (await worker.take(msg.ActivityTask)).attempt.seq == 3
        await asyncio.sleep(601)
        assert "TimerFired" in await new.names(request.run_id)


async def test_an_activity_that_was_to_stop_is_canceled_when_it_comes_in() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        events = (
            *request.events,
            replace(request.events[-1], id=len(request.events) + 1, event=_told(request)),
            replace(
                request.events[-1],
                id=len(request.events) + 2,
                event=ev.ActivityCancelRequested(seq=3),
            ),
        )
        await new.verbs.import_(replace(request, events=events, digest=""))
        worker = await new.worker("w2")
        await asyncio.sleep(1)
        assert not await worker.has(msg.ActivityTask)
        assert (await new.names(request.run_id))[-1] == "ActivityCanceled"
        assert await worker.has(msg.WorkflowTask)


def _told(request: vb.ImportRequest) -> ev.WorkflowTaskCompleted:
    return ev.WorkflowTaskCompleted(through=len(request.events), started=request.events[-1].time)


async def test_a_watched_run_is_told_of_when_it_has_come_in() -> None:
    async with World() as old, World() as new:
        await new.verbs.import_(await half_done(old))
        told = await new.verbs.watch(vb.WatchRequest(wait=0))
        assert [each.workflow_id for each in told.changes] == ["order-42"]


async def test_a_closed_run_comes_in_beside_an_open_one_of_its_id() -> None:
    async with World() as old, World() as new:
        run_id = await old.start()
        await old.verbs.terminate(vb.TerminateRequest(**TARGET))
        request = await export(old, run_id)
        request = renamed(request, "an-older-run")
        newer = await new.start()
        await new.verbs.import_(request)

        closed = await new.verbs.describe(vb.DescribeRequest(**TARGET, run_id="an-older-run"))
        assert closed.status is RunStatus.TERMINATED
        assert (await new.verbs.describe(vb.DescribeRequest(**TARGET))).run_id == newer


def renamed(request: vb.ImportRequest, run_id: str) -> vb.ImportRequest:
    """Return the same history as that of a run of another id."""
    first, *others = request.events
    first = replace(first, event=replace(first.event, run_id=run_id))
    return replace(request, run_id=run_id, events=(first, *others), digest="")


# --- again, and refused ------------------------------------------------------------------------


async def test_importing_again_changes_nothing_also_when_the_run_has_gone_on() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await new.verbs.import_(request)
        again = vb.ImportResponse(run_id=request.run_id, imported=False)
        assert await new.verbs.import_(request) == again
        await new.verbs.signal(vb.SignalRequest(**TARGET, name="hurry"))
        commits = new.store.commits
        assert await new.verbs.import_(request) == again
        assert new.store.commits == commits
        assert await old.verbs.import_(request) == again


async def refused(world: World, request: vb.ImportRequest) -> VerbError:
    before = world.store.commits
    with pytest.raises(VerbError) as caught:
        await world.verbs.import_(request)
    assert world.store.commits == before or caught.value.code == "AlreadyStarted"
    return caught.value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"events": ()}, "begins with WorkflowStarted", id="empty"),
        pytest.param({"digest": "00"}, "was changed on its way", id="another-digest"),
        pytest.param({"run_id": "other"}, "is that of run run-1", id="another-run"),
        pytest.param({"run_id": ""}, "run_id has from 1 to 1,000", id="no-run-id"),
        pytest.param({"namespace": "n" * 1_001}, "namespace has from 1", id="long-namespace"),
    ],
)
async def test_what_is_no_whole_history_is_refused(change: dict[str, Any], words: str) -> None:
    async with World() as old, World() as new:
        error = await refused(new, replace(await half_done(old), **change))
        assert error.code == "Invalid"
        assert words in str(error)
        assert await new.store.list_runs(RunFilter()) == []


async def test_an_event_that_cannot_follow_is_refused() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        error = await refused(new, replace(request, events=request.events[:3] + request.events[4:]))
        assert "this is no whole history: run run-1" in str(error)


async def test_an_id_with_an_open_run_is_left_to_it() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await new.start()
        error = await refused(new, renamed(request, "another-run"))
        assert (error.code, error.run_id) == ("AlreadyStarted", "run-1")
        assert "end that one first" in str(error)
        assert await new.store.get_run("another-run") is None


async def test_a_run_with_another_history_is_left_as_it_is() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await new.start(workflow_type="Another")
        error = await refused(new, request)
        assert error.code == "AlreadyStarted"
        assert "is there with another history (1 events" in str(error)
        error = await refused(new, replace(request, workflow_id="order-43"))
        assert error.code == "AlreadyStarted"


async def test_two_imports_at_once_make_one_run() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        first, second = await asyncio.gather(new.verbs.import_(request), new.verbs.import_(request))
        assert (first.imported, second.imported) == (True, False)


async def test_a_store_that_fails_has_imported_nothing() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        new.store.failing = True
        error = await refused(new, request)
        assert error.code == "Unavailable"
        new.store.failing = False
        await asyncio.sleep(2)
        assert (await new.verbs.import_(request)).imported


# --- brought forward ---------------------------------------------------------------------------


async def put_back(world: World, request: vb.ImportRequest, events: int) -> None:
    """Have the run as an older backup has it."""
    await world.verbs.import_(replace(request, events=request.events[:events], digest=""))


async def test_a_run_of_an_older_backup_is_brought_forward_and_repeats_nothing() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await put_back(new, request, 4)
        assert await new.verbs.import_(request) == vb.ImportResponse(run_id=request.run_id)
        assert await new.history(request.run_id) == list(request.events)
        described = await new.verbs.describe(vb.DescribeRequest(**TARGET))
        assert (described.digest, described.status) == (request.digest, RunStatus.RUNNING)

        worker = await new.worker("w2")
        shipping = await worker.take(msg.ActivityTask)
        assert shipping.attempt.seq == 3
        assert not await worker.has(msg.ActivityTask), "charged again"
        await worker.say(msg.ActivityReport(attempt=shipping.attempt))
        task = await worker.take(msg.WorkflowTask)
        assert task.events[-1].event == ev.ActivityCompleted(seq=3)
        await worker.progress(task)
        await asyncio.sleep(601)
        assert (await new.history(request.run_id))[-1].event == ev.TimerFired(seq=2)


async def test_it_is_still_forward_after_a_restart() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await put_back(new, request, 4)
        await new.verbs.import_(request)
        await new.restart()
        assert (await new.verbs.import_(request)).imported is False
        worker = await new.worker("w2")
        assert (await worker.take(msg.ActivityTask)).attempt.seq == 3
        assert not await worker.has(msg.ActivityTask)


async def test_what_a_worker_does_for_the_older_run_is_not_recorded() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        worker = await new.worker("w2")
        await put_back(new, request, 4)
        charging = await worker.take(msg.ActivityTask)
        assert charging.attempt.seq == 1
        await new.verbs.import_(request)
        await worker.say(msg.ActivityReport(attempt=charging.attempt, result=CHARGED))
        assert not (await worker.take(msg.ReportAccepted)).accepted
        assert await new.history(request.run_id) == list(request.events)


async def test_an_attempt_that_runs_goes_on_when_its_activity_is_still_open() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        worker = await new.worker("w2")
        await put_back(new, request, len(request.events))
        shipping = await worker.take(msg.ActivityTask)
        await old.verbs.signal(vb.SignalRequest(**TARGET, name="hurry"))
        later = await export(old, request.run_id)
        assert (await new.verbs.import_(later)).imported
        assert not await worker.has(msg.ActivityTask), "it runs already"
        await worker.say(msg.ActivityReport(attempt=shipping.attempt))
        assert (await worker.take(msg.ReportAccepted)).accepted


async def test_a_run_that_has_ended_since_the_backup_has_ended() -> None:
    async with World() as old, World() as new:
        before = await half_done(old)
        await old.verbs.terminate(vb.TerminateRequest(**TARGET, reason="enough"))
        request = await export(old, before.run_id)
        worker = await new.worker("w2")
        await put_back(new, request, 4)
        charging = await worker.take(msg.ActivityTask)
        await new.verbs.import_(request)
        described = await new.verbs.describe(vb.DescribeRequest(**TARGET))
        assert described.status is RunStatus.TERMINATED
        assert (await worker.take(msg.CancelActivity)).attempt == charging.attempt


async def test_a_run_that_went_another_way_since_the_backup_is_left_as_it_is() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await put_back(new, request, 4)
        await new.verbs.signal(vb.SignalRequest(**TARGET, name="hurry"))
        error = await refused(new, request)
        assert (error.code, error.run_id) == ("AlreadyStarted", request.run_id)
        assert "is there with another history (5 events" in str(error)


async def test_a_store_that_fails_brings_nothing_forward() -> None:
    async with World() as old, World() as new:
        request = await half_done(old)
        await put_back(new, request, 4)
        new.store.failing = True
        error = await refused(new, request)
        assert error.code == "Unavailable"
        new.store.failing = False
        await asyncio.sleep(3)
        assert len(await new.history(request.run_id)) == 4
        assert (await new.verbs.import_(request)).imported
