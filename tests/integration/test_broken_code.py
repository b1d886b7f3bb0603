"""Workflow code that cannot go on: everybody is told why, and mended code finishes the run."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.client import WorkflowHandle
from support.scenes import Scene, events_of, names_of
from support.waiting import eventually

CHARGE_THEN_SHIP = """
    import asyncio
    from datetime import timedelta
    from perdure import activity, workflow

    QUICK = {"start_to_close_timeout": timedelta(seconds=20)}

    @activity.defn
    async def charge() -> str:
        with open(__file__ + ".effects", "a") as effects:
            effects.write("charge\\n")
        return "paid"

    @activity.defn
    async def ship(paid: str) -> str:
        return f"{paid} and shipped"

    @workflow.defn
    class Shop:
        def __init__(self) -> None:
            self.confirmed = False

        @workflow.signal
        def confirm(self) -> None:
            self.confirmed = True

        @workflow.run
        async def run(self) -> str:
            paid = await workflow.execute_activity(charge, **QUICK)
            await workflow.wait_condition(lambda: self.confirmed)
            return await workflow.execute_activity(ship, paid, **QUICK)
"""
SLEEP_FIRST = CHARGE_THEN_SHIP.replace("paid = await", "await workflow.sleep(1); paid = await")
BUG = CHARGE_THEN_SHIP.replace("return await workflow", "return await work_flow")


async def charged(handle: WorkflowHandle[Any, Any]) -> bool:
    return "ActivityCompleted" in await names_of(handle)


async def failing_task(handle: WorkflowHandle[Any, Any], attempt: int = 2) -> Any:
    described = (await handle.describe()).raw_description
    assert described.status == "Running"
    return described if described.task_failure and described.task_attempt >= attempt else None


@pytest.mark.parametrize(
    ("broken", "cause", "told"),
    [
        pytest.param(
            SLEEP_FIRST, "Nondeterminism", ("ActivityScheduled 'charge'", "StartTimer of 1 s"),
            id="other-than-history",
        ),
        pytest.param(
            BUG, "WorkflowError", ("work_flow", "is not defined"), id="with-a-bug"
        ),
    ],
)  # fmt: skip
async def test_broken_code_is_told_loses_nothing_and_is_mended_under_a_run(
    scene: Scene, broken: str, cause: str, told: tuple[str, str]
) -> None:
    file = scene.write("shop.py", CHARGE_THEN_SHIP)
    worker = scene.start_worker(file)
    async with scene.client() as client:
        handle = await client.start_workflow("Shop", id="s", task_queue="default")
        await eventually(lambda: charged(handle))
        worker.stop()
        recorded = await events_of(handle)

        scene.write("shop.py", broken)
        worker = scene.start_worker(file)
        await handle.signal("confirm")
        described = await eventually(
            lambda: failing_task(handle, attempt=3), what="the code is tried again and fails again"
        )
        assert described.task_failure_cause == cause
        for part in told:
            assert part in described.task_failure.message
        shown = await scene.perdure_async("show", "s")
        assert f"Its code fails and is tried again ({cause})" in shown.out
        worker.stop()

        scene.write("shop.py", CHARGE_THEN_SHIP)
        scene.start_worker(file)
        assert await handle.result() == "paid and shipped"
        assert (await events_of(handle))[: len(recorded)] == recorded
        assert (await names_of(handle)).count("WorkflowTaskFailed") == 1, "the first one in a row"
        assert (scene.folder / "shop.py.effects").read_text() == "charge\n"


FORBIDDEN = """
    import os
    import socket
    import subprocess
    import threading
    import time
    from perdure import workflow

    @workflow.defn
    class Careless:
        @workflow.run
        async def run(self, what: str) -> str:
            match what:
                case "network":
                    socket.create_connection(("127.0.0.1", 1))  # here: network
                case "file":
                    open("/etc/hostname").read()  # here: file
                case "thread":
                    threading.Thread(target=print).start()  # here: thread
                case "process":
                    subprocess.run(["true"])  # here: process
                case "environment":
                    os.environ["HOME"]  # here: environment
                case "pause":
                    time.sleep(1)  # here: pause
            return "done"
"""


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("network", "await workflow.step(fn, ...)"),
        ("file", "await workflow.step(fn, ...)"),
        ("thread", "asyncio.create_task(...)"),
        ("process", "await workflow.execute_activity(fn, ...)"),
        ("environment", "Pass configuration as the workflow's input"),
        ("pause", "await workflow.sleep(...)"),
    ],
)
async def test_a_forbidden_call_names_its_line_and_the_remedy(
    careless: Scene, what: str, remedy: str
) -> None:
    async with careless.client() as client:
        handle = await client.start_workflow("Careless", what, id=what, task_queue="default")
        described = await eventually(lambda: failing_task(handle))
        await handle.terminate("seen enough")
    file = careless.folder / "careless.py"
    lines = file.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.endswith(f"# here: {what}"))
    message = described.task_failure.message
    assert message.startswith(f"{file}:{line}, in Careless.run: ")
    assert lines[line - 1].strip() in message
    assert remedy in message


@pytest.fixture(scope="module")
def careless(server, tmp_path_factory):
    """A scene with a worker whose workflow does what it must not, as it is told."""
    with Scene(tmp_path_factory.mktemp("careless"), server, namespace="careless") as scene:
        scene.start_worker(scene.write("careless.py", FORBIDDEN))
        yield scene
