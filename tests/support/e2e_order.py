"""The order example on a cluster: its manifests as they are shipped, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import RunRef
from perdure_operator.controllers.histories import read_checkpoint
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.runs import Run
from perdure_operator.model import Checkpoint
from support.e2e import Team
from support.order import EXAMPLE

POOL = "orders"
ORDER = "order-42"
WORKFLOW = f"workflow/{ORDER}"
LEDGER_CLAIM = "orders-ledger"
LEDGER_FILE = "orders.jsonl"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderManifests:
    """What ``order.yaml`` holds."""

    claim: Manifest
    pool: Manifest
    workflow: Manifest

    @property
    def all(self) -> tuple[Manifest, ...]:
        """Each of them, in the file's order."""
        return self.claim, self.pool, self.workflow


def order_manifests(*, idle_after: str = "10s", **order: Any) -> OrderManifests:
    """Read the example's manifests; the order and how long a worker stays idle may be changed."""
    text = EXAMPLE.with_suffix(".yaml").read_text()
    claim, pool, workflow = yaml.safe_load_all(text)
    pool["spec"]["scaling"]["idleAfter"] = idle_after
    workflow["spec"]["input"][0] |= order
    return OrderManifests(claim=claim, pool=pool, workflow=workflow)


def place_order(team: Team, manifests: OrderManifests) -> None:
    """Do what the example's first lines say."""
    team.give_code("orders-code", EXAMPLE)
    team.apply(*manifests.all)


def answer(team: Team) -> None:
    """Answer for the warehouse."""
    team.signal(ORDER, "answer-1", "warehouse_answered", True)


def history_of(team: Team, workflow: str = WORKFLOW) -> list[HistoryEvent]:
    """Return the whole history, as the Workflow's status holds it."""
    return read_checkpoint(Checkpoint.model_validate(team.status(workflow)["checkpoint"]))


def digest_of(history: list[HistoryEvent]) -> str:
    """Return the head of a history's hash chain, as a status writes it."""
    run = fold(Run(ref=RunRef(namespace="", workflow_id="", run_id="")), history)
    return f"sha256:{run.digest.hex()}"


def save_ledger(team: Team, folder: Path) -> Path:
    """Copy the ledger out of its volume."""
    ledger = folder / LEDGER_FILE
    ledger.write_text(team.print_volume(LEDGER_CLAIM, LEDGER_FILE))
    return ledger
