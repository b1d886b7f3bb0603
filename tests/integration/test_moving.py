"""Runs that leave one server as a file and go on in another, whose database is empty."""

from __future__ import annotations

import json

from perdure.client import Client, WorkflowExecutionStatus
from support.scenes import Scene, lines_of, names_of
from support.waiting import eventually

CODE = """
    from datetime import timedelta
    from pathlib import Path

    from perdure import activity, workflow

    QUICK = {"start_to_close_timeout": timedelta(seconds=20)}


    @activity.defn
    def charge(ledger: str, what: str) -> str:
        with Path(ledger).open("a") as file:
            file.write(f"{what} {activity.info().idempotency_key}\\n")
        return f"paid-{what}"


    @workflow.defn
    class Order:
        def __init__(self) -> None:
            self.answered = False

        @workflow.signal
        def warehouse_answered(self) -> None:
            self.answered = True

        @workflow.run
        async def run(self, ledger: str) -> list[str]:
            paid = await workflow.execute_activity(charge, args=[ledger, "charge"], **QUICK)
            await workflow.wait_condition(lambda: self.answered)
            await workflow.sleep(0.2)
            return [paid, await workflow.execute_activity(charge, args=[ledger, "ship"], **QUICK)]
"""


async def test_a_half_done_order_finishes_elsewhere_and_is_charged_once(
    own_scene: Scene, new_scene: Scene
) -> None:
    code, ledger = own_scene.write("orders.py", CODE), own_scene.folder / "ledger"
    own_scene.start_server()
    worker = own_scene.start_worker(code)
    async with own_scene.client() as client:
        handle = await start(client, "order-42", str(ledger))
        run_id = handle.result_run_id
        await eventually(lambda: is_charged(handle), what="the order waits for the warehouse")
        waiting = await start(client, "order-43", str(ledger))
        await eventually(lambda: is_charged(waiting))
        await waiting.terminate("not wanted")
    worker.stop()
    exported = await own_scene.perdure_async("history", "export", "--all", "--file", "store.jsonl")
    assert exported.out == "exported 2 runs to store.jsonl\n", exported.err
    own_scene.server.stop()

    new_scene.start_server()
    file = own_scene.folder / "store.jsonl"
    imported = await new_scene.perdure_async("history", "import", file)
    assert imported.code == 0, imported.err
    assert f"imported order-42 (run {run_id}), " in imported.out
    again = await new_scene.perdure_async("history", "import", file)
    assert again.out.count("was there already: order-4") == 2

    new_scene.start_worker(code)
    async with new_scene.client() as client:
        handle = client.get_workflow_handle("order-42")
        await handle.signal("warehouse_answered")
        assert await handle.result() == ["paid-charge", "paid-ship"]
        ended = await client.get_workflow_handle("order-43").describe()
        assert ended.status is WorkflowExecutionStatus.TERMINATED
    keys = [line for line in lines_of(ledger) if run_id in line]
    assert [line.partition(" ")[0] for line in keys] == ["charge", "ship"]
    assert len({line.partition(" ")[2] for line in keys}) == 2


async def test_an_import_that_was_changed_on_its_way_is_refused(
    own_scene: Scene, new_scene: Scene
) -> None:
    own_scene.start_server()
    async with own_scene.client() as client:
        await start(client, "order-42", "ledger")
    exported = await own_scene.perdure_async("history", "export", "order-42")
    assert exported.code == 0, exported.err
    header, started = exported.out.splitlines()
    fields = json.loads(started)
    forged = json.dumps({**fields, "workflow_type": "Refund"})
    file = own_scene.write("forged.jsonl", f"{header}\n{forged}\n")

    new_scene.start_server()
    refused = await new_scene.perdure_async("history", "import", file)
    assert refused.code == 4
    assert "it was changed on its way here" in refused.err
    nothing = await new_scene.perdure_async("show", "order-42")
    assert nothing.code == 4


async def start(client: Client, workflow_id: str, ledger: str):
    return await client.start_workflow("Order", ledger, id=workflow_id, task_queue="default")


async def is_charged(handle) -> bool:
    return "ActivityCompleted" in await names_of(handle)
