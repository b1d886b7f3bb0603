"""What cannot be read is not known, and what is not known is no reason to end or delete anything.

Every case is one step before something destructive: the deletion of a Job, a Workflow or an
Activity, the cancellation or termination of a run, the removal of a finalizer. First it is shown
that the step is taken when all is known, then that it is not when something cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from perdure.protocol.verbs import CancelRequest, TerminateRequest
from perdure_operator.cluster import (
    ACTIVITIES,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    ClusterError,
    ForbiddenError,
    ObjectKind,
    UnavailableError,
)
from perdure_operator.controllers.server import ServerError
from support.operator_scene import Scene, a_pool, a_workflow, an_activity, ref
from support.schedules import NAME, a_schedule

AWAY = UnavailableError("any", "no answer")
FORBIDDEN = ForbiddenError("any", "no right")


async def a_deleted_workflow(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_pool(), a_workflow())
    await scene.look(WORKFLOWS, "order-42")
    scene.cluster.ask_to_delete(WORKFLOWS, ref("order-42"))
    return WORKFLOWS, "order-42"


async def a_workflow_deleted_long_ago(scene: Scene) -> tuple[ObjectKind, str]:
    where = await a_deleted_workflow(scene)
    await scene.look(*where)
    scene.pass_time(minutes=5)
    return where


async def a_workflow_to_cancel(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_pool(), a_workflow())
    await scene.look(WORKFLOWS, "order-42")
    scene.cluster.edit(WORKFLOWS, ref("order-42"), cancel=True)
    return WORKFLOWS, "order-42"


async def a_workflow_to_terminate(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_pool(), a_workflow(deletionPolicy="Terminate"))
    await scene.look(WORKFLOWS, "order-42")
    scene.cluster.ask_to_delete(WORKFLOWS, ref("order-42"))
    return WORKFLOWS, "order-42"


async def a_workflow_that_expired(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_pool(), a_workflow(ttlSecondsAfterFinished=1))
    await scene.look(WORKFLOWS, "order-42")
    scene.server.run.complete()
    await scene.look(WORKFLOWS, "order-42")
    scene.pass_time(hours=1)
    return WORKFLOWS, "order-42"


async def a_deleted_activity(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_pool(), an_activity())
    await scene.look(ACTIVITIES, "resize-1")
    scene.cluster.ask_to_delete(ACTIVITIES, ref("resize-1"))
    return ACTIVITIES, "resize-1"


async def a_pool_with_a_job_that_is_over(scene: Scene) -> tuple[ObjectKind, str]:
    scene.add_code("code", orders="x = 1")
    scene.apply(a_pool(code={"configMap": "code"}))
    scene.tell_queue(backlog=1)
    await scene.look(WORKER_POOLS, "orders")
    (job,) = scene.jobs()
    scene.cluster.end_job(ref(job), succeeded=True)
    scene.tell_queue()
    return WORKER_POOLS, "orders"


async def a_pool_of_new_code(scene: Scene) -> tuple[ObjectKind, str]:
    scene.add_code("code", orders="x = 1")
    scene.apply(a_pool(code={"configMap": "code"}))
    scene.tell_queue(backlog=1)
    await scene.look(WORKER_POOLS, "orders")
    scene.cluster.objects["configmaps", ref("code")]["data"] = {"orders.py": "x = 2"}
    return WORKER_POOLS, "orders"


async def a_schedule_with_more_than_it_keeps(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_schedule(cron=["* * * * *"], successfulWorkflowsLimit=0))
    await scene.look(SCHEDULES, NAME)
    scene.pass_time(minutes=1)
    await scene.look(SCHEDULES, NAME)
    (child,) = scene.cluster.all(WORKFLOWS)
    ended = {"phase": "Succeeded", "completionTime": scene.clock.now().isoformat()}
    scene.cluster.set_status(WORKFLOWS, ref(child["metadata"]["name"]), ended)
    return SCHEDULES, NAME


async def a_schedule_that_replaces(scene: Scene) -> tuple[ObjectKind, str]:
    scene.apply(a_schedule(cron=["* * * * *"], overlapPolicy="TerminateOther"))
    await scene.look(SCHEDULES, NAME)
    scene.pass_time(minutes=1)
    await scene.look(SCHEDULES, NAME)
    (child,) = scene.cluster.all(WORKFLOWS)
    running = {"phase": "Running", "runId": "r1"}
    scene.cluster.set_status(WORKFLOWS, ref(child["metadata"]["name"]), running)
    scene.pass_time(minutes=1)
    return SCHEDULES, NAME


def no_server(scene: Scene) -> None:
    scene.server.is_away = True
    scene.world.queues.forget()


def no_api(scene: Scene) -> None:
    for verb in ("get", "list"):
        for plural in ("workflows", "activities", "workerpools", "schedules"):
            scene.cluster.fail_with[f"{verb} {plural}"] = AWAY
        for plural in ("jobs", "pods", "configmaps"):
            scene.cluster.fail_with[f"{verb} {plural}"] = AWAY


def no_right(*what: str) -> Callable[[Scene], None]:
    def take(scene: Scene) -> None:
        scene.cluster.fail_with.update(dict.fromkeys(what, FORBIDDEN))

    return take


Prepare = Callable[[Scene], Coroutine[Any, Any, tuple[ObjectKind, str]]]


@dataclass(frozen=True)
class Case:
    """What is about to be done, and what it must not be done without."""

    prepare: Prepare
    unknown: Callable[[Scene], None]


CASES = {
    "cancel-on-deletion": Case(a_deleted_workflow, no_server),
    "cancel-on-deletion-of-an-activity": Case(a_deleted_activity, no_server),
    "let-go-after-the-grace": Case(a_workflow_deleted_long_ago, no_server),
    "cancel": Case(a_workflow_to_cancel, no_server),
    "terminate": Case(a_workflow_to_terminate, no_server),
    "expire": Case(a_workflow_that_expired, no_api),
    "clear-jobs": Case(a_pool_with_a_job_that_is_over, no_server),
    "clear-jobs-of-unknown-jobs": Case(a_pool_with_a_job_that_is_over, no_right("list jobs")),
    "clear-jobs-of-unknown-code": Case(a_pool_with_a_job_that_is_over, no_right("get configmaps")),
    "replace-jobs": Case(a_pool_of_new_code, no_server),
    "replace-jobs-of-unknown-code": Case(a_pool_of_new_code, no_right("get configmaps")),
    "replace-jobs-of-unknown-pods": Case(a_pool_of_new_code, no_right("list pods")),
    "replace-jobs-without-api": Case(a_pool_of_new_code, no_api),
    "keep-no-more-than": Case(a_schedule_with_more_than_it_keeps, no_right("list workflows")),
    "replace-runs": Case(a_schedule_that_replaces, no_right("list workflows")),
}


async def look_for_destruction(scene: Scene, where: tuple[ObjectKind, str]) -> list[str]:
    """Look at the object, and return what was ended, deleted or let go by that."""
    before, asked = set(scene.cluster.objects), len(scene.server.calls)
    # As the queue does: it is looked at again later.
    with suppress(ClusterError, ServerError):
        await scene.look(*where)
    gone = [f"{plural} {each}" for plural, each in before - set(scene.cluster.objects)]
    ended = (CancelRequest, TerminateRequest)
    return gone + [
        type(each).__name__ for each in scene.server.calls[asked:] if isinstance(each, ended)
    ]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_is_not_known_destroys_nothing(case: Case) -> None:
    known, scene = Scene(), Scene()
    assert await look_for_destruction(known, await case.prepare(known))

    where = await case.prepare(scene)
    case.unknown(scene)
    for _ in range(3):
        assert await look_for_destruction(scene, where) == []
        scene.pass_time(seconds=30)


async def test_a_deletion_waits_for_a_server_that_is_away_and_no_longer_than_it_says() -> None:
    scene = Scene()
    where = await a_deleted_workflow(scene)
    no_server(scene)
    scene.pass_time(minutes=9)
    assert await look_for_destruction(scene, where) == []
    scene.pass_time(minutes=2)
    assert await look_for_destruction(scene, where) == ["workflows shop/order-42"]
