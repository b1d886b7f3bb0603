"""Workers that are stopped, fenced, lost, forgetful, or cannot begin at all."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from perdure.client import Client
from perdure.protocol import events as ev
from support.processes import Process
from support.scenes import Scene, events_of, lines_of
from support.waiting import eventually, wait_until

WORKFLOWS = Path(__file__).parents[1] / "support" / "workflows.py"
QUEUE = "default"
FORGETFUL = f"""
    import asyncio, sys
    from pathlib import Path
    from perdure.cli.loading import load_definitions
    from perdure.client import Client
    from perdure.worker import Worker

    async def main(address: str, namespace: str) -> None:
        found = load_definitions([{str(WORKFLOWS)!r}])
        client = await Client.connect(address, namespace=namespace)
        await Worker(
            client,
            task_queue={QUEUE!r},
            workflows=found.workflows,
            activities=found.activities,
            max_cached_workflows=0,
        ).run()

    asyncio.run(main(*sys.argv[1:]))
"""


# --- fencing ----------------------------------------------------------------------------------


async def test_an_attempt_of_a_worker_that_slept_past_its_lease_is_not_recorded(
    own_scene: Scene,
) -> None:
    server = own_scene.start_server("--lease", "2", "--grace", "0.3")
    sleeper = own_scene.start_worker(WORKFLOWS)
    notes = own_scene.folder / "notes"
    given = {
        "activity": "work_for", "args": [0.7, str(notes)], "start_to_close": 60_000, "attempts": 2,
    }  # fmt: skip
    async with own_scene.client() as client:
        handle = await client.start_workflow("CallActivity", given, id="f", task_queue=QUEUE)
        await eventually(lambda: lines_of(notes))
        sleeper.signal(signal.SIGSTOP)
        other = own_scene.start_worker(WORKFLOWS)
        await eventually(lambda: len(lines_of(notes)) == 2, what="another worker tries again")
        sleeper.signal(signal.SIGCONT)

        assert await handle.result() == {"result": 2}
        await eventually(lambda: is_fenced(sleeper), what="the sleeper is told")
        events = await events_of(handle)
    assert [e.attempt for e in events if isinstance(e, ev.ActivityStarted)] == [2]
    assert sum(isinstance(each, ev.ActivityCompleted) for each in events) == 1
    assert lines_of(notes)[1] == f"{other.pid} began attempt 2"
    assert f"{other.pid} ended attempt 2" in lines_of(notes)
    assert server.is_alive


def is_fenced(worker: Process) -> bool:
    return "The report of attempt 1 of activity 1" in worker.log.read_text()


async def test_a_step_of_a_worker_that_slept_past_its_lease_is_not_recorded(
    own_scene: Scene,
) -> None:
    server = own_scene.start_server("--lease", "2", "--grace", "0.3")
    sleeper = own_scene.start_worker(WORKFLOWS)
    notes = own_scene.folder / "notes"
    async with own_scene.client() as client:
        handle = await client.start_workflow(
            "StepFor", args=[0.7, str(notes)], id="f", task_queue=QUEUE
        )
        await eventually(lambda: lines_of(notes))
        sleeper.signal(signal.SIGSTOP)
        other = own_scene.start_worker(WORKFLOWS)
        await eventually(lambda: len(lines_of(notes)) == 2, what="another worker runs it again")
        sleeper.signal(signal.SIGCONT)

        assert await handle.result() == other.pid
        events = await events_of(handle)
    assert sum(isinstance(each, ev.StepCompleted) for each in events) == 1
    assert server.is_alive
    assert sleeper.is_alive, "it goes on as a worker"


# --- leaving ----------------------------------------------------------------------------------


async def test_a_worker_that_is_asked_to_leave_finishes_its_activity(scene: Scene) -> None:
    notes = scene.folder / "notes"
    given = {
        "activity": "work_for", "args": [0.7, str(notes)], "start_to_close": 60_000, "attempts": 2,
    }  # fmt: skip
    worker = scene.start_worker(WORKFLOWS)
    async with scene.client() as client:
        handle = await client.start_workflow("CallActivity", given, id="g", task_queue=QUEUE)
        await eventually(lambda: lines_of(notes))
        assert worker.stop() == 0
        assert lines_of(notes) == [
            f"{worker.pid} began attempt 1",
            f"{worker.pid} ended attempt 1",
        ]
        scene.start_worker(WORKFLOWS)
        assert await handle.result() == {"result": 1}


async def test_a_worker_that_is_asked_to_leave_hands_back_what_waits(scene: Scene) -> None:
    worker = scene.start_worker(WORKFLOWS)
    async with scene.client() as client:
        handle = await client.start_workflow("Collect", 2, id="h", task_queue=QUEUE)
        await handle.signal("add", 1)
        assert await handle.query("gathered") == [1]
        assert worker.stop() == 0
        await handle.signal("add", 2)
        scene.start_worker(WORKFLOWS)
        assert await handle.result() == [1, 2]


# --- memory -----------------------------------------------------------------------------------


async def test_a_worker_that_keeps_no_run_in_memory_comes_to_the_same_results(
    scene: Scene,
) -> None:
    script = scene.write("forgetful.py", FORGETFUL)
    scene.start_process(sys.executable, script, scene.address, scene.namespace)
    async with scene.client() as client:
        collecting = await client.start_workflow("Collect", 5, id="c", task_queue=QUEUE)
        for number in range(5):
            handle = await client.start_workflow("Mixed", number, id=f"m{number}", task_queue=QUEUE)
            first, added, rolled, doubled, remembered = await handle.result()
            assert (first, added, doubled) == (number, number + 1, number * 2)
            assert rolled == remembered, "random numbers are the same on every replay"
            await collecting.signal("add", number)
            assert await collecting.query("gathered") == list(range(number + 1))
        assert await collecting.result() == [0, 1, 2, 3, 4]


async def test_a_closed_run_can_still_be_queried(client: Client) -> None:
    handle = await client.start_workflow("Collect", 2, id="closed", task_queue=QUEUE)
    for value in ("a", "b"):
        await handle.signal("add", value)
    assert await handle.result() == ["a", "b"]
    assert await handle.query("gathered") == ["a", "b"]


async def test_a_closed_run_can_be_queried_on_a_worker_that_never_saw_it(scene: Scene) -> None:
    worker = scene.start_worker(WORKFLOWS)
    async with scene.client() as client:
        handle = await client.start_workflow("Mixed", 1, id="closed", task_queue=QUEUE)
        await handle.result()
        collected = await client.start_workflow("Collect", 1, id="collected", task_queue=QUEUE)
        await collected.signal("add", 7)
        await collected.result()
        worker.kill()
        scene.start_worker(WORKFLOWS)
        told = await scene.perdure_async("query", "collected", "gathered")
        assert (told.code, told.out) == (0, "[7]\n")


# --- beginning --------------------------------------------------------------------------------


async def test_a_worker_waits_for_a_server_that_is_not_there_yet(own_scene: Scene) -> None:
    own_scene.start_server().kill()
    worker = own_scene.start_worker(WORKFLOWS)
    said = await eventually(lambda: own_scene.address in worker.log.read_text())
    assert said
    await eventually(lambda: "again" in worker.log.read_text(), what="it says that it tries on")
    assert worker.is_alive
    own_scene.restart_server()
    async with own_scene.client() as client:
        assert await client.execute_workflow("Same", 1, id="s", task_queue=QUEUE) == 1


def test_a_worker_without_a_server_leaves_when_asked(own_scene: Scene) -> None:
    own_scene.start_server().kill()
    worker = own_scene.start_worker(WORKFLOWS)
    wait_until(lambda: "again" in worker.log.read_text())
    assert worker.stop() == 0


def refused(scene: Scene, code: str) -> str:
    finished = scene.perdure("worker", scene.write("code.py", code))
    assert finished.code == 2
    assert "Traceback" not in finished.err
    return finished.err


def test_two_workflows_of_one_name_are_refused(scene: Scene) -> None:
    said = refused(
        scene,
        """
        from perdure import workflow

        @workflow.defn(name="Order")
        class First:
            @workflow.run
            async def run(self) -> None: ...

        @workflow.defn(name="Order")
        class Second:
            @workflow.run
            async def run(self) -> None: ...
        """,
    )
    assert "More than one workflow named 'Order'" in said
    assert "First" in said
    assert "Second" in said
    assert "@workflow.defn(name=...)" in said


def test_two_activities_of_one_name_are_refused(scene: Scene) -> None:
    said = refused(
        scene,
        """
        from perdure import activity

        @activity.defn(name="charge")
        def one() -> None: ...

        @activity.defn(name="charge")
        def other() -> None: ...
        """,
    )
    assert "More than one activity named 'charge'" in said


def test_a_module_that_holds_nothing_is_refused(scene: Scene) -> None:
    assert "no workflow and no activity in" in refused(scene, "answer = 42")


def test_a_module_that_cannot_be_imported_is_refused(scene: Scene) -> None:
    said = refused(scene, "import no_such_library")
    assert "cannot be imported" in said
    assert "code.py" in said
    assert "No module named 'no_such_library'" in said
