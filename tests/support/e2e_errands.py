"""Errands and orders on a cluster: what is done to each from outside, and what each must have done.

A :class:`Kind` is the model: which effects a run has, how it ends, and what a person does to it
on the way. :func:`check_errand` holds the ledger's lines against the history, by key and attempt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.protocol import events as ev
from perdure.protocol.batch_events import BatchItemsClosed
from perdure.protocol.events import HistoryEvent
from perdure.protocol.payloads import Payload
from support import e2e_errands_code as code
from support.e2e import Team
from support.e2e_order import POOL, order_manifests
from support.manifests import manifest_of
from support.order import EFFECTS, EXAMPLE, check_effects, ledger_lines

CODE = Path(code.__file__)
REMINDED = "ActivityCompleted: remind-customer"
FIRST_EFFECT = "ActivityCompleted: do"

Status = Mapping[str, Any]
Patch = dict[str, Any]


def _has(status: Status, line: str) -> bool:
    return any(line in each for each in status.get("history", {}).get("tail", ()))


def _leave_alone(_status: Status, _done: int) -> Patch | None:
    return None


def _answer(status: Status, done: int) -> Patch | None:
    """Answer for the warehouse once the customer has been reminded."""
    if done or not _has(status, REMINDED):
        return None
    return {"signals": [{"id": "a1", "name": "warehouse_answered", "input": [True]}]}


def _speak(status: Status, done: int) -> Patch | None:
    """Append the next signal."""
    if done >= code.HEARD or status.get("phase") != "Running":
        return None
    words = [{"id": f"w{n}", "name": "word", "input": [n]} for n in range(done + 1)]
    return {"signals": words}


def _suspend(status: Status, done: int) -> Patch | None:
    """Suspend it while it waits, and let it go on."""
    if done == 0:
        return {"suspend": True} if _has(status, FIRST_EFFECT) else None
    return {"suspend": False} if done == 1 and status.get("phase") == "Suspended" else None


def _cancel(status: Status, done: int) -> Patch | None:
    """Cancel it once it has something to give back."""
    return {"cancel": True} if not done and _has(status, FIRST_EFFECT) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of run."""

    type: str
    effects: tuple[str, ...]
    """Each has one key."""
    touch: Callable[[Status, int], Patch | None] = _leave_alone
    """Given the status and how often it was done: what a person does to the spec now."""
    touches: int = 0
    """How often it must be done for the run to end."""
    phase: str = "Succeeded"


ORDER = Kind(type="OrderWorkflow", effects=EFFECTS, touch=_answer, touches=1)
BAKING = Kind(type="Baking", effects=("bake", "glaze"))
HEARING = Kind(
    type="Hearing",
    effects=tuple(f"hear-{n}" for n in range(code.HEARD)),
    touch=_speak,
    touches=code.HEARD,
)
GIVING = Kind(
    type="Giving", effects=("take", "give-back"), touch=_cancel, touches=1, phase="Canceled"
)
KINDS = (
    ORDER,
    BAKING,
    Kind(type="Packing", effects=tuple(f"pack-{n}" for n in range(code.ITEMS))),
    HEARING,
    Kind(type="Napping", effects=("lie-down", "get-up"), touch=_suspend),
    GIVING,
    Kind(type="Wrapping", effects=("apart", "wrap")),
)


def open_shop(team: Team) -> None:
    """Apply the pool, with the code of orders and errands, and the ledger's claim."""
    manifests = order_manifests()
    spec = manifests.pool["spec"]
    spec["modules"] = [EXAMPLE.stem, CODE.stem]
    # The node is one, so a volume for one node serves two workers.
    spec["scaling"]["max"] = 2
    team.give_code("orders-code", EXAMPLE, CODE)
    team.apply(manifests.claim, manifests.pool)


def manifest_for(kind: Kind, number: str, *, image: str) -> dict[str, Any]:
    """Return the Workflow of one run."""
    given: list[Any] = [number, image] if kind.type == "Wrapping" else [number]
    if kind is ORDER:
        given = [{"order_id": number, "escalate_after": 2, "remind_after": 4}]
    return manifest_of("Workflow", name_of(number), type=kind.type, input=given, workerPool=POOL)


def name_of(number: str) -> str:
    """Return the name of the Workflow with this number."""
    return f"errand-{number}"


def check_errand(kind: Kind, number: str, ledger: Path, history: list[HistoryEvent]) -> int:
    """Each effect has its one key, and what counts is the attempt that history has.

    Returns:
        How many calls were made besides the ones that count.
    """
    calls = ledger_lines(ledger, number)
    if kind is ORDER:
        check_effects(ledger, number, history)
    else:
        assert set(calls) == set(kind.effects), (kind.type, number, sorted(calls))
        recorded = _recorded_attempts(history)
        keys = {effect: {each["key"] for each in entries} for effect, entries in calls.items()}
        assert sorted(key for each in keys.values() for key in each) == sorted(recorded), keys
        for entries in calls.values():
            attempts = [each["attempt"] for each in entries]
            assert len(attempts) == len(set(attempts)), f"an attempt had its effect twice {entries}"
            # A fenced attempt may have had its effect before or after the one that counts; one
            # with a higher number would have begun after the end was recorded.
            assert max(attempts) == recorded[entries[0]["key"]], entries
    return sum(len(entries) - 1 for entries in calls.values())


def check_result(kind: Kind, status: Status) -> None:
    """Hold a run's status against what its code returns."""
    assert status["phase"] == kind.phase, status
    match kind.type:
        case "Hearing":
            assert status["result"] == list(range(code.HEARD)), "each signal once, in order"
        case "Napping":
            assert status["result"] >= code.NAP, "never shorter than asked"
        case "Packing":
            assert len(status["result"]) == code.ITEMS


def _recorded_attempts(history: list[HistoryEvent]) -> dict[str, int]:
    """Return the attempt whose result history has, by idempotency key."""
    (first, *_), found = history, {}
    assert isinstance(first.event, ev.WorkflowStarted)
    run_id, begun = first.event.run_id, {}
    for each in history:
        match each.event:
            case ev.ActivityStarted(seq=seq, attempt=attempt):
                begun[seq] = attempt
            case ev.ActivityCompleted(seq=seq, result=result):
                assert f"{run_id}:{seq}" not in found, "recorded twice"
                found[f"{run_id}:{seq}"] = _number(result)
                assert begun[seq] == _number(result), "the result is that of the attempt"
            case BatchItemsClosed(seq=seq, items=items):
                for item in items:
                    assert f"{run_id}:{seq}.{item.index}" not in found, "recorded twice"
                    found[f"{run_id}:{seq}.{item.index}"] = _number(item.result)
    return found


def recorded_keys(history: list[HistoryEvent]) -> set[str]:
    """Return the idempotency keys of activities whose result history has."""
    (first, *_) = history
    assert isinstance(first.event, ev.WorkflowStarted)
    done = (each.event for each in history if isinstance(each.event, ev.ActivityCompleted))
    return {f"{first.event.run_id}:{each.seq}" for each in done}


def _number(payload: Payload | None) -> int:
    assert payload is not None
    number: int = json.loads(payload.data)
    return number
