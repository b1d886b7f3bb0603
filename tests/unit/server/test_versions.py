"""Versions of the code: who gets whose tasks, when runs change over, and who is counted where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.protocol import commands as cmd
from perdure.protocol import messages as msg
from perdure.protocol.events import StepCompleted
from perdure.protocol.failures import Failure
from perdure.protocol.verbs import (
    DescribeRequest,
    QueryRequest,
    QueueDescription,
    RetryRequest,
    SetCurrentVersionRequest,
    SignalRequest,
    VersionDescription,
)
from perdure_operator.server.errors import VerbError
from perdure_operator.server.versioning import set_current
from perdure_operator.server.versions import Versions
from perdure_operator.store.port import StoreUnavailableError
from support.hosts import ByHand, World, settle
from support.runs import schedule

pytestmark = pytest.mark.looptime
HOUR = 3_600_000
"""A lease for workers that say nothing for long."""
TARGET = {"namespace": "default", "workflow_id": "order-42"}


async def declare(world: World, build_id: str, *kept: str) -> None:
    request = SetCurrentVersionRequest(
        namespace="default", task_queue="q", build_id=build_id, kept=kept
    )
    await set_current(world.host, request)
    await settle()


async def signal(world: World, workflow_id: str = "order-42") -> None:
    await world.verbs.signal(SignalRequest(namespace="default", workflow_id=workflow_id, name="go"))


def queue(world: World) -> QueueDescription:
    (found,) = world.host.dispatcher.describe("default")
    return found


def version(world: World, build_id: str) -> VersionDescription:
    (found,) = (each for each in queue(world).versions if each.build_id == build_id)
    return found


async def pinned_run(world: World, worker: ByHand, workflow_id: str = "order-42") -> str:
    """Return a run that waits for a signal, run so far by this worker."""
    run_id = await world.start(workflow_id)
    await worker.progress(await worker.take(msg.WorkflowTask))
    return run_id


async def fail(worker: ByHand, cause: str = "WorkflowError") -> None:
    task = await worker.take(msg.WorkflowTask)
    failure = Failure(message="broken")
    await worker.say(msg.TaskFailed(task=task.task, cause=cause, failure=failure))


# --- whose tasks --------------------------------------------------------------------------------


async def test_without_a_declaration_any_worker_takes_anything() -> None:
    async with World() as world:
        first = await world.worker("w1", build_id="v1")
        await pinned_run(world, first)
        first.disconnect()
        other = await world.worker("w2", build_id="v2")
        await signal(world)
        assert await other.has(msg.WorkflowTask)


async def test_new_runs_go_to_the_current_version_only() -> None:
    async with World() as world:
        await declare(world, "v2", "v1")
        old = await world.worker("w1", build_id="v1")
        await world.start()
        assert not await old.has(msg.WorkflowTask)
        new = await world.worker("w2", build_id="v2")
        assert await new.has(msg.WorkflowTask)


async def test_a_pinned_run_goes_to_its_version_only_until_it_ends() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        run_id = await pinned_run(world, old)
        await declare(world, "v2", "v1")
        new = await world.worker("w2", build_id="v2")
        old.disconnect()
        await signal(world)
        assert not await new.has(msg.WorkflowTask)
        assert version(world, "v1").backlog == 1

        again = await world.worker("w3", build_id="v1")
        task = await again.take(msg.WorkflowTask)
        await again.progress(task, cmd.CompleteWorkflow())
        assert (await world.names(run_id))[-1] == "WorkflowCompleted"
        assert not await new.has(msg.WorkflowTask)


async def test_a_worker_without_a_build_id_takes_anything_and_pins_nothing() -> None:
    async with World() as world:
        await declare(world, "v1")
        by_hand = await world.worker("w1")
        await pinned_run(world, by_hand)
        assert version(world, "v1").open_runs == 0
        await declare(world, "v2", "v1")
        await signal(world)
        assert await by_hand.has(msg.WorkflowTask)


async def test_what_waits_for_one_version_is_not_in_the_way_of_another() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        old.disconnect()
        await signal(world)
        await world.start("order-43")
        new = await world.worker("w2", build_id="v2")

        assert (await new.take(msg.WorkflowTask)).run.workflow_id == "order-43"
        assert not await new.has(msg.WorkflowTask)


async def test_a_version_that_is_not_kept_leaves_its_runs_to_the_current_one() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2")
        new = await world.worker("w2", build_id="v2")
        await signal(world)

        task = await new.take(msg.WorkflowTask)
        assert task.complete, "the worker that has it cached is of another version"
        await new.progress(task)
        assert version(world, "v2").open_runs == 1


async def test_a_first_step_pins_as_well() -> None:
    async with World() as world:
        await declare(world, "v1")
        worker = await world.worker("w1", build_id="v1")
        run_id = await world.start()
        task = await worker.take(msg.WorkflowTask)
        steps = (msg.StepResult(seq=1, name="a"),)
        await worker.progress(task, steps=steps, done=False)
        told = await worker.take(msg.TaskEvents)
        steps = (msg.StepResult(seq=2, name="b"),)
        await worker.progress(task, through=told.events[-1].id, steps=steps, done=False)

        assert version(world, "v1").open_runs == 1
        history = await world.history(run_id)
        said = [e.event.build_id for e in history if isinstance(e.event, StepCompleted)]
        assert said == ["v1", ""], "said once"


async def test_a_restarted_server_knows_versions_and_pins() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        old.disconnect()
        await signal(world)
        await world.restart()

        assert (queue(world).current, queue(world).kept) == ("v2", ("v1",))
        assert version(world, "v1") == VersionDescription(build_id="v1", backlog=1, open_runs=1)
        new = await world.worker("w2", build_id="v2")
        assert not await new.has(msg.WorkflowTask)
        again = await world.worker("w3", build_id="v1")
        assert await again.has(msg.WorkflowTask)


async def test_taking_the_declaration_back_lets_anybody_work() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        old.disconnect()
        new = await world.worker("w2", build_id="v2")
        await signal(world)
        assert not await new.has(msg.WorkflowTask)
        await declare(world, "")
        assert await new.has(msg.WorkflowTask)
        assert queue(world).versions == ()


# --- activities and queries ---------------------------------------------------------------------


async def activity_of_old_run(world: World) -> tuple[ByHand, ByHand]:
    """Return workers of v1 and v2; a run that v1 was current for has asked for an activity."""
    await declare(world, "v1")
    old = await world.worker("w1", build_id="v1")
    await world.start()
    task = await old.take(msg.WorkflowTask)
    await declare(world, "v2", "v1")
    new = await world.worker("w2", build_id="v2")
    await old.progress(task, schedule())
    return old, new


async def test_an_activity_goes_to_the_version_of_its_run() -> None:
    async with World() as world:
        old, new = await activity_of_old_run(world)
        assert await old.has(msg.ActivityTask)
        assert not await new.has(msg.ActivityTask)


async def test_an_activity_that_failed_is_tried_by_the_current_version_in_turn() -> None:
    async with World(lease=HOUR) as world:
        old, new = await activity_of_old_run(world)
        for worker in (old, new, old):
            attempt = await worker.take(msg.ActivityTask)
            failure = Failure(message="no")
            await worker.say(msg.ActivityReport(attempt=attempt.attempt, failure=failure))
            await asyncio.sleep(60)


async def test_a_question_goes_to_the_version_of_the_run() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        new = await world.worker("w2", build_id="v2")
        old.disconnect()
        asking = asyncio.ensure_future(
            world.verbs.query(QueryRequest(**TARGET, name="state", timeout=5_000))
        )
        assert not await new.has(msg.AskQuery)
        assert version(world, "v1").backlog == 1

        again = await world.worker("w3", build_id="v1")
        question = await again.take(msg.AskQuery)
        await again.say(msg.QueryAnswer(query=question.query))
        await asking


# --- code that keeps failing --------------------------------------------------------------------


async def test_code_that_keeps_failing_is_tried_by_its_own_and_the_current_version_in_turn() -> (
    None
):
    async with World(lease=HOUR) as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        new = await world.worker("w2", build_id="v2")
        await signal(world)
        for worker, cause in ((old, "x"), (old, "x"), (new, "Nondeterminism"), (old, "x")):
            await fail(worker, cause)
            await asyncio.sleep(60)
        task = await new.take(msg.WorkflowTask)
        await new.progress(task)

        described = await world.verbs.describe(DescribeRequest(**TARGET))
        assert described.build_id == "v2"
        assert version(world, "v2").open_runs == 1, "it fits, so it is pinned to that now"
        assert version(world, "v1").open_runs == 0
        await signal(world)
        assert await new.has(msg.WorkflowTask)


async def test_a_new_version_tries_at_once_what_keeps_failing() -> None:
    async with World(lease=HOUR) as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await signal(world)
        for _ in range(7):
            await fail(old)
            await asyncio.sleep(60)
        await fail(old)
        await declare(world, "v2", "v1")
        mended = await world.worker("w2", build_id="v2")
        assert await mended.has(msg.WorkflowTask)


async def test_success_ends_the_turns() -> None:
    async with World() as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await pinned_run(world, old)
        await declare(world, "v2", "v1")
        await signal(world)
        await fail(old)
        await asyncio.sleep(2)
        await old.progress(await old.take(msg.WorkflowTask))
        new = await world.worker("w2", build_id="v2")
        await signal(world)
        assert await old.has(msg.WorkflowTask)
        assert not await new.has(msg.WorkflowTask)


async def test_a_retried_run_is_tried_by_the_current_version_first_and_then_by_its_own() -> None:
    async with World(lease=HOUR) as world:
        await declare(world, "v1")
        old = await world.worker("w1", build_id="v1")
        await world.start()
        await old.progress(await old.take(msg.WorkflowTask), schedule())
        attempt = await old.take(msg.ActivityTask)
        await old.say(msg.ActivityReport(attempt=attempt.attempt))
        broken = cmd.FailWorkflow(failure=Failure(message="the card is broken"))
        await old.progress(await old.take(msg.WorkflowTask), broken)
        await declare(world, "v2", "v1")
        new = await world.worker("w2", build_id="v2")
        await world.verbs.retry(RetryRequest(**TARGET))
        await fail(new, "Nondeterminism")
        await asyncio.sleep(2)
        assert await old.has(msg.WorkflowTask)


# --- counting -----------------------------------------------------------------------------------


async def test_open_runs_are_counted_until_they_end() -> None:
    async with World() as world:
        await declare(world, "v1")
        worker = await world.worker("w1", build_id="v1")
        for name in ("a", "b", "c"):
            await pinned_run(world, worker, name)
        assert version(world, "v1").open_runs == 3
        await signal(world, "b")
        task = await worker.take(msg.WorkflowTask)
        assert version(world, "v1").held == 1
        await worker.progress(task, cmd.CompleteWorkflow())
        assert version(world, "v1") == VersionDescription(build_id="v1", open_runs=2)
        await world.restart()
        assert version(world, "v1") == VersionDescription(build_id="v1", open_runs=2)


async def test_a_declared_queue_is_told_of_also_when_nothing_is_there() -> None:
    async with World() as world:
        await declare(world, "v2", "v1")
        assert queue(world).versions == (
            VersionDescription(build_id="v2"),
            VersionDescription(build_id="v1"),
        )


async def test_declaring_the_same_again_writes_nothing() -> None:
    async with World() as world:
        await declare(world, "v2", "v1", "v2", "v1")
        world.store.declare_versions = refuse  # type: ignore[method-assign] # must not be called
        await declare(world, "v2", "v1")
        with pytest.raises(StoreUnavailableError):
            await declare(world, "v3", "v1")
        assert queue(world).current == "v2", "nothing is true that is not on disk"


async def refuse(_versions: object) -> None:
    raise StoreUnavailableError("the disk is full")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"task_queue": ""}, "must be given", id="no-queue"),
        pytest.param({"build_id": "", "kept": ("v1",)}, "without a current one", id="no-current"),
        pytest.param({"build_id": "v" * 2000}, "is longer than", id="too-long"),
        pytest.param({"kept": ("",)}, "must have a build id", id="empty"),
        pytest.param({"kept": tuple(map(str, range(2000)))}, "at most 1000", id="too-many"),
    ],
)
async def test_a_declaration_that_makes_no_sense_is_refused(
    wrong: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {"namespace": "default", "task_queue": "q", "build_id": "v2", **wrong}
    async with World() as world:
        with pytest.raises(VerbError, match=says):
            await set_current(world.host, SetCurrentVersionRequest(**given))


@pytest.mark.parametrize(
    ("versions", "pin", "home"),
    [
        pytest.param(Versions(), "v1", "", id="undeclared"),
        pytest.param(Versions("v2", ("v1",)), "", "v2", id="new"),
        pytest.param(Versions("v2", ("v1",)), "v1", "v1", id="kept"),
        pytest.param(Versions("v2", ("v1",)), "v2", "v2", id="current"),
        pytest.param(Versions("v2", ("v1",)), "v0", "v2", id="forgotten"),
    ],
)
def test_where_a_pin_is_at_home(versions: Versions, pin: str, home: str) -> None:
    assert versions.home(pin) == home
    assert versions.lets("", pin)
    assert versions.lets(home or "anything", pin)
