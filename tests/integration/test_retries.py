"""A failed run is retried by the command line and by the client, over real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.client import Client, RPCError, WorkflowFailureError
from support.retried_order import CODE, DONE
from support.scenes import Scene, lines_of

BROKEN = CODE.replace('return "shipped"', 'raise ApplicationError("the code is wrong")')


async def failed(client: Client, scene: Scene, *more: bool) -> str:
    handle = await client.start_workflow(
        "Order", args=[str(scene.folder), *more], id="order-42", task_queue="default"
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    return handle.result_run_id or ""


def ledger(scene: Scene) -> list[str]:
    return lines_of(scene.folder / "ledger")


async def test_a_failed_order_is_mended_and_retried_and_charged_once(own_scene: Scene) -> None:
    (own_scene.folder / "stock").touch()
    own_scene.start_server()
    worker = own_scene.start_worker(own_scene.write("orders.py", BROKEN))
    async with own_scene.client() as client:
        run_id = await failed(client, own_scene)
        worker.stop()
        own_scene.start_worker(own_scene.write("orders.py", CODE))

        retried = await own_scene.perdure_async("retry", "order-42", "--reason", "mended")
        assert retried.code == 0, retried.err
        assert retried.err == ""
        assert f"retried order-42 from event 14 of run {run_id} (run " in retried.out
        # Whatever dies, the new run is on disk.
        own_scene.server.kill()
        own_scene.restart_server()
        assert await client.get_workflow_handle("order-42").result() == DONE
        shown = await own_scene.perdure_async("show", "order-42")
        assert f"Retried from run {run_id} at event 14: mended" in shown.out
        earlier = await own_scene.perdure_async("show", "order-42", "--run-id", run_id)
        assert "Failed" in earlier.out

        again = await own_scene.perdure_async("retry", "order-42")
        assert again.code == 4
        assert "no step of it failed" in again.err
    assert ledger(own_scene) == [
        *(f"{what} {run_id}:{seq}" for seq, what in enumerate(("charge", "step", "reserve"), 1)),
        f"ship {run_id}:4",
        f"ship {run_id}:4",
    ]


async def test_who_retries_a_saga_is_told_what_it_gave_back(own_scene: Scene) -> None:
    own_scene.start_server()
    own_scene.start_worker(own_scene.write("orders.py", CODE))
    async with own_scene.client() as client:
        run_id = await failed(client, own_scene, True)
        retry = await client.get_workflow_handle("order-42").retry(request_id="r-1")
        assert [each.name for each in retry.effects] == ["refund"]
        again = await client.get_workflow_handle("order-42").retry(request_id="r-1")
        assert again.handle.run_id == retry.handle.run_id
        with pytest.raises(WorkflowFailureError):
            await retry.handle.result()

        Path(own_scene.folder / "stock").touch()
        retried = await own_scene.perdure_async("retry", "order-42", "--output", "json")
        assert retried.code == 0, retried.err
        assert "the new one knows nothing of it" in retried.err
        assert ": refund\n" in retried.err
        assert json.loads(retried.out)["retriedRunId"] == retry.handle.run_id
        assert await client.get_workflow_handle("order-42").result() == DONE
    assert ledger(own_scene) == [
        *(f"{what} {run_id}:{seq}" for seq, what in enumerate(("charge", "step", "reserve"), 1)),
        f"ship {run_id}:4",
        f"refund {run_id}:5",
        f"ship {run_id}:4",
        f"refund {retry.handle.run_id}:5",
        f"ship {run_id}:4",
    ]


async def test_from_the_start_everything_is_done_again(own_scene: Scene) -> None:
    own_scene.start_server()
    own_scene.start_worker(own_scene.write("orders.py", CODE))
    async with own_scene.client() as client:
        run_id = await failed(client, own_scene)
        Path(own_scene.folder / "stock").touch()
        retried = await own_scene.perdure_async("retry", "order-42", "--from-start")
        assert f"retried order-42 from the start of run {run_id}" in retried.out
        assert await client.get_workflow_handle("order-42").result() == DONE
        with pytest.raises(RPCError, match="no run of"):
            await client.get_workflow_handle("order-43").retry()
    assert [line.split()[0] for line in ledger(own_scene)].count("charge") == 2
