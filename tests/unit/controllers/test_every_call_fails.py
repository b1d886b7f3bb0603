"""Each call of the operator fails once, at each point of a story, and the end is the same.

A call fails before it did anything, or after: the answer is lost and what was asked for is done.
Then the operator looks again, as it was or started anew with nothing in its memory. Whatever
failed, the story ends as if nothing had, and nothing was done twice.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.protocol.verbs import VersionDescription
from perdure_operator.cluster import (
    ACTIVITIES,
    JOBS,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    ClusterError,
    ObjectKind,
    UnavailableError,
)
from perdure_operator.controllers.server import ServerError, error_for
from support.operator_scene import Scene, a_pool, a_workflow, an_activity, ref
from support.schedules import NAME as SCHEDULE
from support.schedules import a_schedule

Story = Callable[["Play"], Awaitable[None]]

CALLS = ("get", "list", "create", "apply", "apply_status", "delete")


class Play:
    """A scene whose calls are counted, and of which one fails."""

    def __init__(self, *, failing: int = -1, is_done: bool = False, anew: bool = False) -> None:
        self.scene = Scene()
        self.calls: list[str] = []
        self._failing, self._is_done, self._anew = failing, is_done, anew
        for name in CALLS:
            setattr(self.scene.cluster, name, self._cluster_call(name))
        self.scene.server.call = self._server_call(self.scene.server.call)  # type: ignore[method-assign]

    async def look(self, kind: ObjectKind, name: str) -> None:
        """Have an object looked at; when that fails, again."""
        try:
            plan = await self.scene.look(kind, name)
            is_blocked = bool(plan.blocked)
        except (ClusterError, ServerError):
            is_blocked = True
        if not is_blocked:
            return
        if self._anew:
            self._start_anew()
        await self.scene.look(kind, name)

    def _start_anew(self) -> None:
        """Have another operator, which remembers nothing but what its watches tell it."""
        fresh, queues = Scene(), self.scene.world.queues
        for field in ("latest", "roster", "shown", "pools"):
            object.__setattr__(self.scene.world, field, getattr(fresh.world, field))
        object.__setattr__(self.scene.world, "queues", queues)

    def _fails(self, what: str) -> bool:
        self.calls.append(what)
        return len(self.calls) - 1 == self._failing

    def _cluster_call(self, name: str) -> Any:
        real = getattr(self.scene.cluster, name)

        async def call(kind: ObjectKind, *args: Any, **kwargs: Any) -> Any:
            fails = self._fails(f"{name} {kind.plural}")
            if fails and not self._is_done:
                raise UnavailableError(name, "no answer")
            answer = await real(kind, *args, **kwargs)
            if fails:
                raise UnavailableError(name, "the answer was lost")
            return answer

        return call

    def _server_call(self, real: Any) -> Any:
        async def call(request: Any) -> Any:
            fails = self._fails(type(request).__name__)
            if fails and not self._is_done:
                raise error_for("Unavailable", "no answer")
            answer = await real(request)
            if fails:
                raise error_for("Unavailable", "the answer was lost")
            return answer

        return call

    # --- how it ended ----------------------------------------------------------------------

    @property
    def end(self) -> str:
        """Everything there is, without what counts writes."""
        objects = {
            f"{plural} {where}": _plain(body)
            for (plural, where), body in sorted(self.scene.cluster.objects.items(), key=str)
        }
        runs = [
            (run.request.workflow_id, run.status.value, run.signals, run.cancel_requested)
            for run in self.scene.server.runs
        ]
        declared = {str(key): str(each) for key, each in self.scene.server.declared.items()}
        text = json.dumps([objects, runs, declared], indent=1, sort_keys=True)
        return re.sub(r"uid-\d+", "uid", text)


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for field in ("resourceVersion", "uid", "generation"):
        body["metadata"].pop(field, None)
    return body


# --- stories -----------------------------------------------------------------------------------


async def a_workflow_to_its_end(play: Play) -> None:
    scene = play.scene
    scene.apply(a_pool(), a_workflow(signals=[{"id": "a1", "name": "approve"}]))
    await play.look(WORKFLOWS, "order-42")
    scene.cluster.edit(WORKFLOWS, ref("order-42"), suspend=True)
    await play.look(WORKFLOWS, "order-42")
    scene.cluster.edit(
        WORKFLOWS,
        ref("order-42"),
        suspend=False,
        signals=[{"id": "a1", "name": "approve"}, {"id": "a2", "name": "ship"}],
    )
    await play.look(WORKFLOWS, "order-42")
    scene.server.run.complete()
    await play.look(WORKFLOWS, "order-42")


async def a_workflow_that_is_deleted(play: Play) -> None:
    scene = play.scene
    scene.apply(a_pool(), a_workflow())
    await play.look(WORKFLOWS, "order-42")
    scene.cluster.ask_to_delete(WORKFLOWS, ref("order-42"))
    await play.look(WORKFLOWS, "order-42")
    scene.server.run.cancel()
    await play.look(WORKFLOWS, "order-42")


async def a_workflow_with_its_own_workers(play: Play) -> None:
    scene = play.scene
    scene.apply(a_workflow(worker={"image": "shop/orders:1", "modules": ["orders"]}))
    await play.look(WORKFLOWS, "order-42")
    scene.server.run.complete()
    await play.look(WORKFLOWS, "order-42")


async def a_workflow_whose_store_is_lost(play: Play) -> None:
    scene = play.scene
    scene.apply(a_pool(), a_workflow(signals=[{"id": "a1", "name": "approve"}]))
    await play.look(WORKFLOWS, "order-42")
    scene.server.runs.clear()
    await play.look(WORKFLOWS, "order-42")
    scene.server.run.complete()
    await play.look(WORKFLOWS, "order-42")


async def an_activity_to_its_end(play: Play) -> None:
    scene = play.scene
    scene.apply(a_pool(), an_activity())
    await play.look(ACTIVITIES, "resize-1")
    scene.server.run.complete()
    await play.look(ACTIVITIES, "resize-1")


async def a_pool_that_is_changed(play: Play) -> None:
    scene = play.scene
    scene.add_code("orders-code", orders="version = 1")
    scene.apply(a_pool(code={"configMap": "orders-code"}, slots=1))
    scene.tell_queue(backlog=2)
    await play.look(WORKER_POOLS, "orders")
    (old,) = {job["metadata"]["labels"]["perdure.dev/version"] for job in scene.cluster.all(JOBS)}
    scene.cluster.objects["configmaps", ref("orders-code")]["data"]["orders.py"] = "version = 2"
    scene.tell_queue(backlog=1, versions={old: VersionDescription(build_id=old, open_runs=1)})
    await play.look(WORKER_POOLS, "orders")
    scene.tell_queue(backlog=1)
    await play.look(WORKER_POOLS, "orders")
    scene.tell_queue()
    await play.look(WORKER_POOLS, "orders")


async def a_schedule_that_fires(play: Play) -> None:
    scene = play.scene
    scene.apply(a_pool(), a_schedule(cron=["@hourly"]))
    for _ in range(3):
        await play.look(SCHEDULES, SCHEDULE)
        scene.pass_time(hours=1)
    await play.look(SCHEDULES, SCHEDULE)


STORIES: list[Story] = [
    a_workflow_to_its_end,
    a_workflow_that_is_deleted,
    a_workflow_with_its_own_workers,
    a_workflow_whose_store_is_lost,
    an_activity_to_its_end,
    a_pool_that_is_changed,
    a_schedule_that_fires,
]


@pytest.mark.parametrize(
    ("is_done", "anew"),
    [
        pytest.param(False, False, id="not-done"),
        pytest.param(True, False, id="answer-lost"),
        pytest.param(True, True, id="answer-lost-and-operator-killed"),
    ],
)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_whichever_call_fails_the_end_is_the_same(
    story: Story, is_done: bool, anew: bool
) -> None:
    undisturbed = Play()
    await story(undisturbed)
    assert len(undisturbed.calls) >= 10
    for failing, what in enumerate(undisturbed.calls):
        play = Play(failing=failing, is_done=is_done, anew=anew)
        await story(play)
        assert play.end == undisturbed.end, f"call {failing} ({what}) failed"
