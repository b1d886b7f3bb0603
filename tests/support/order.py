"""The order example on real processes that are killed, and the count of what it did.

:class:`Shop` keeps a server and a worker alive: whoever dies is started again, as a supervisor
would do. :func:`check_effects` holds the ledger against the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.client import Client, RPCError, WorkflowHandle
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from support.faulty_server import Plan
from support.processes import ROOT, Process, Server, Worker

EXAMPLE = ROOT / "worker_image" / "examples" / "order.py"
EFFECTS = ("charge", "escalate", "remind", "ship", "receipt")
ACTIVITIES = {
    "charge": "charge-payment",
    "escalate": "escalate-to-manager",
    "remind": "remind-customer",
    "ship": "ship-order",
}
QUICK = ("--lease", "2", "--grace", "0.3")
"""Leases short enough for a test that kills a hundred times."""
PATIENCE = 60.0


class Shop:
    """A server and a worker over one database, restarted when they die."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self.plan = folder / "plan.json"
        self.worker_pid_file = folder / "worker.pid"
        self.restarts: defaultdict[str, int] = defaultdict(int)
        self.server = self._new_server(0)
        self.worker = self._new_worker()
        self._supervisor: asyncio.Task[None] | None = None

    def _new_server(self, port: int) -> Server:
        return Server(
            self.folder / "perdure.db",
            *QUICK,
            port=port,
            log=self.folder / "server.log",
            plan=self.plan,
        )

    def _new_worker(self) -> Process:
        worker = Worker(
            self.server.address,
            str(EXAMPLE),
            log=self.folder / "worker.log",
            env={"ORDER_LEDGER": str(self.ledger)},
            options=("--task-queue", "orders"),
        )
        self.worker_pid_file.write_text(str(worker.pid))
        return worker

    async def __aenter__(self) -> Shop:
        self._supervisor = asyncio.create_task(self._supervise())
        self.client = await Client.connect(self.server.address, lazy=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._supervisor is not None
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        await self.client.close()
        for process in (self.worker, self.server):
            process.__exit__(None, None, None)

    async def _supervise(self) -> None:
        """Start again whoever has died."""
        while True:
            await asyncio.sleep(0.02)
            if not self.server.is_alive:
                self.restarts["server"] += 1
                port = self.server.port
                self.server.__exit__(None, None, None)
                self.server = await asyncio.to_thread(self._new_server, port)
            if not self.worker.is_alive:
                self.restarts["worker"] += 1
                self.worker.__exit__(None, None, None)
                self.worker = await asyncio.to_thread(self._new_worker)

    def kill_at(self, workflow_id: str, event: int, moment: Any, victim: Any) -> None:
        """Have somebody killed at the commit of an event."""
        plan = Plan(
            workflow_id=workflow_id,
            event=event,
            moment=moment,
            victim=victim,
            worker_pid_file=str(self.worker_pid_file),
        )
        part = self.plan.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(plan))
        part.rename(self.plan)

    async def order(self, order_id: str, **options: Any) -> WorkflowHandle[Any, Any]:
        """Place an order whose warehouse is slow: everybody is told before it answers."""
        order = {"order_id": order_id, "escalate_after": 0.1, "remind_after": 0.2, **options}
        return await self.insist(
            lambda: self.client.start_workflow(
                "OrderWorkflow", order, id=order_id, task_queue="orders"
            )
        )

    async def answer(self, order_id: str, *, available: bool = True) -> None:
        """Answer for the warehouse once the customer has been reminded."""
        handle = self.client.get_workflow_handle(order_id)
        while not any(
            isinstance(each.event, ev.ActivityCompleted) and each.event.seq == 5
            for each in await self.insist(lambda: history_of(handle))
        ):
            await asyncio.sleep(0.02)
        await self.insist(lambda: handle.signal("warehouse_answered", available))

    async def insist(self, call: Any) -> Any:
        """Call until the server is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(RPCError, ConnectionError, OSError):
                    return await call()
                await asyncio.sleep(0.05)

    async def finish(self, handle: WorkflowHandle[Any, Any]) -> Any:
        """Wait for the end, however often the server goes."""
        async with asyncio.timeout(PATIENCE):
            return await self.insist(handle.result)

    def logs(self) -> str:
        """Return what everybody wrote, for a failing test."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-4000:]}" for log in self.folder.glob("*.log")
        )


async def history_of(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """Return the events of a run."""
    return list((await handle.fetch_history()).events)


def ledger_lines(ledger: Path, order_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the calls of one order's effects, by effect."""
    lines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in ledger.read_text().splitlines():
        entry = json.loads(line)
        if entry["order"] == order_id:
            lines[entry["effect"]].append(entry)
    return lines


def check_effects(
    ledger: Path,
    order_id: str,
    history: list[HistoryEvent],
    *,
    once: bool = False,
    effects: Sequence[str] = EFFECTS,
) -> None:
    """Each effect has one key, and was not called again once its result was recorded.

    Args:
        ledger: Where the calls were written.
        order_id: Whose.
        history: Of the order's run.
        once: No worker died: no activity may have been called twice at all.
        effects: Those that it must have had.
    """
    calls = ledger_lines(ledger, order_id)
    assert set(calls) == set(effects)
    for effect, entries in calls.items():
        assert len({entry["key"] for entry in entries}) == 1, (effect, entries)

    scheduled = {e.event.seq: e.event for e in history if isinstance(e.event, ev.ActivityScheduled)}
    started = [e.event for e in history if isinstance(e.event, ev.ActivityStarted)]
    completed = [e.event.seq for e in history if isinstance(e.event, ev.ActivityCompleted)]
    assert sorted(completed) == sorted(scheduled), "each activity completed exactly once"
    for start in started:
        name = scheduled[start.seq].activity_type
        effect = next(effect for effect, activity in ACTIVITIES.items() if activity == name)
        attempts = [entry["attempt"] for entry in calls[effect]]
        assert len(attempts) == len(set(attempts)), (effect, "an attempt ran twice", attempts)
        assert max(attempts) <= start.attempt, (effect, "called after it was recorded", attempts)
        if once:
            assert attempts == [start.attempt], (effect, attempts)
    steps = [e.event for e in history if isinstance(e.event, ev.StepCompleted)]
    assert [step.name for step in steps] == ["write_receipt"]
