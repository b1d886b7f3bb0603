"""Versions of the code, with real processes: old runs on old code, new runs on new, and back."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import aiohttp

from perdure.client import WorkflowHandle
from perdure.protocol import events as ev
from perdure.protocol.verbs import QueuesRequest, SetCurrentVersionRequest, VersionDescription
from perdure_operator.controllers.service import ServiceServer
from support.processes import Worker
from support.scenes import Scene, events_of
from support.waiting import eventually

CODE = """
    from perdure import workflow

    @workflow.defn
    class Order:
        def __init__(self) -> None:
            self.said: list[str] = []

        @workflow.signal
        def say(self, what: str) -> None:
            self.said.append(what)

        @workflow.query
        def version(self) -> str:
            return "VERSION"

        @workflow.run
        async def run(self) -> list[str]:
            {first}
            done = ["begun on VERSION"]
            await workflow.wait_condition(lambda: "one" in self.said)
            done.append("one on VERSION")
            await workflow.wait_condition(lambda: "two" in self.said)
            return [*done, "two on VERSION"]
"""
NOTHING = "pass"
SLEEP = "await workflow.sleep(0.01)"
BUG = "if 'one' in self.said: raise ValueError('broken')"


def code(version: str, first: str = NOTHING) -> str:
    return CODE.replace("{first}", first).replace("VERSION", version)


def write(scene: Scene, version: str, first: str = NOTHING) -> Path:
    """Write a version of the code; each in a folder of its own, under one name."""
    folder = scene.folder / version
    folder.mkdir()
    return scene.write(f"{version}/shop.py", code(version, first))


def work(scene: Scene, file: Path) -> Worker:
    """Start a worker of the version that a file's folder is named for."""
    return scene.start_worker(file, options=("--build-id", file.parent.name))


async def ask(scene: Scene, request: Any) -> Any:
    async with scene.client() as client:
        return await ServiceServer(client.service).call(request)


async def declare(scene: Scene, build_id: str, *kept: str) -> None:
    await ask(
        scene,
        SetCurrentVersionRequest(
            namespace=scene.namespace, task_queue="default", build_id=build_id, kept=kept
        ),
    )


async def version(scene: Scene, build_id: str) -> VersionDescription:
    answer = await ask(scene, QueuesRequest(namespace=scene.namespace))
    (queue,) = answer.queues
    (found,) = (each for each in queue.versions if each.build_id == build_id)
    return found


async def begin(scene: Scene, client: Any, name: str) -> WorkflowHandle[Any, Any]:
    handle = await client.start_workflow("Order", id=name, task_queue="default")
    await eventually(lambda: is_pinned(handle), what=f"{name} has begun")
    return handle


async def is_pinned(handle: WorkflowHandle[Any, Any]) -> bool:
    return any(isinstance(each, ev.WorkflowTaskCompleted) for each in await events_of(handle))


async def test_old_runs_end_on_the_code_that_they_began_on_though_workers_are_killed(
    scene: Scene,
) -> None:
    first, second = write(scene, "v1"), write(scene, "v2", SLEEP)
    async with scene.client() as client:
        await declare(scene, "v1")
        worker = work(scene, first)
        old = await begin(scene, client, "old")
        await declare(scene, "v2", "v1")
        work(scene, second)
        new = await begin(scene, client, "new")
        assert await new.query("version") == "v2"
        assert await old.query("version") == "v1"

        worker.signal(signal.SIGKILL)
        worker.wait()
        await old.signal("say", "one")
        await eventually(lambda: has_backlog(scene, "v1"), what="it waits for a worker of v1")
        work(scene, first)
        for what in ("one", "two"):
            await new.signal("say", what)
            await old.signal("say", what)
        assert await old.result() == ["begun on v1", "one on v1", "two on v1"]
        assert await new.result() == ["begun on v2", "one on v2", "two on v2"]
        assert (await version(scene, "v1")).open_runs == 0


async def has_backlog(scene: Scene, build_id: str) -> bool:
    found = await version(scene, build_id)
    return found.backlog == 1 and found.open_runs == 1


async def test_rolling_back_is_declaring_the_old_version_again(scene: Scene) -> None:
    first, second = write(scene, "v1"), write(scene, "v2", SLEEP)
    async with scene.client() as client:
        await declare(scene, "v1")
        work(scene, first)
        work(scene, second)
        before = await begin(scene, client, "before")
        await declare(scene, "v2", "v1")
        between = await begin(scene, client, "between")
        await declare(scene, "v1", "v2")
        after = await begin(scene, client, "after")
        for handle in (before, between, after):
            await handle.signal("say", "one")
            await handle.signal("say", "two")
        assert (await before.result())[-1] == "two on v1"
        assert (await between.result())[-1] == "two on v2"
        assert (await after.result())[-1] == "two on v1"


async def test_code_that_keeps_failing_goes_on_with_the_mended_version(scene: Scene) -> None:
    first = write(scene, "v1", NOTHING)
    text = first.read_text().replace('done.append("one on v1")', "raise ValueError('broken on v1')")
    first.write_text(text)
    async with scene.client() as client:
        await declare(scene, "v1")
        work(scene, first)
        handle = await begin(scene, client, "mended")
        await handle.signal("say", "one")
        await eventually(lambda: is_failing(handle), what="its code fails")
        mended = write(scene, "v2")
        await declare(scene, "v2", "v1")
        work(scene, mended)
        await handle.signal("say", "two")
        assert await handle.result() == ["begun on v2", "one on v2", "two on v2"]


async def test_a_new_version_that_does_not_fit_leaves_a_failing_run_to_its_own(
    scene: Scene,
) -> None:
    first, second = write(scene, "v1"), write(scene, "v2", SLEEP)
    whole = first.read_text()
    first.write_text(whole.replace('done.append("one on v1")', "raise ValueError('broken')"))
    async with scene.client() as client:
        await declare(scene, "v1")
        worker = work(scene, first)
        handle = await begin(scene, client, "kept")
        recorded = await events_of(handle)
        await handle.signal("say", "one")
        await eventually(lambda: is_failing(handle), what="its code fails")
        await declare(scene, "v2", "v1")
        work(scene, second)
        await eventually(lambda: is_failing(handle, "Nondeterminism"), what="v2 does not fit")
        worker.stop()
        first.write_text(whole)
        work(scene, first)
        await handle.signal("say", "two")
        assert await handle.result() == ["begun on v1", "one on v1", "two on v1"]
        assert (await events_of(handle))[: len(recorded)] == recorded


async def is_failing(handle: WorkflowHandle[Any, Any], cause: str = "") -> bool:
    described = (await handle.describe()).raw_description
    return described.task_attempt > 1 and cause in described.task_failure_cause


async def test_a_restarted_server_still_knows_whose_runs_are_whose(own_scene: Scene) -> None:
    scene = own_scene
    server = scene.start_server()
    first = write(scene, "v1")
    async with scene.client() as client:
        await declare(scene, "v1")
        worker = work(scene, first)
        handle = await begin(scene, client, "old")
        await declare(scene, "v2", "v1")
        worker.stop()
        server.signal(signal.SIGKILL)
        server.wait()
        scene.restart_server()
        await eventually(lambda: is_counted(scene), what="the server is back")
        work(scene, write(scene, "v2", SLEEP))
        await handle.signal("say", "one")
        await eventually(lambda: has_backlog(scene, "v1"), what="it waits for a worker of v1")
        work(scene, first)
        await handle.signal("say", "two")
        assert (await handle.result())[-1] == "two on v1"


async def is_counted(scene: Scene) -> bool:
    return (await version(scene, "v1")).open_runs == 1


async def test_the_load_of_a_queue_is_read_over_http(scene: Scene) -> None:
    async with scene.client() as client, aiohttp.ClientSession() as session:
        await declare(scene, "v1")
        address = f"{_url(scene)}/api/v1/queues/{scene.namespace}/default"
        async with session.get(address) as answer:
            assert await answer.json() == {
                "namespace": scene.namespace,
                "taskQueue": "default",
                "backlog": 0,
                "held": 0,
                "demand": 0,
                "oldestAgeSeconds": 0,
                "workers": 0,
            }
        await client.start_workflow("Order", id="waits", task_queue="default")

        async def has_waited() -> bool:
            async with session.get(address) as answer:
                load = await answer.json()
            assert (load["backlog"], load["demand"]) == (1, 1)
            return bool(load["oldestAgeSeconds"] > 0)

        await eventually(has_waited, what="the age grows")


def _url(scene: Scene) -> str:
    return scene.address if "://" in scene.address else f"http://{scene.address}"
