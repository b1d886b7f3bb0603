"""What happens to a run in a random story, one happening after the other."""

from __future__ import annotations

from typing import Any

from perdure.exceptions import ApplicationError
from perdure.protocol.failures import Failure
from support.histories import RunDriver
from support.programs import Happening


def happen(run: RunDriver, happening: Happening) -> None:  # noqa: C901 - one line a kind
    """Let something happen, if it can."""
    kind, number = happening
    match kind:
        case "activate" if len(run.events) > run.sent:
            run.activate()
        case "steps" if run.steps:
            run.finish_steps()
        case "some steps" if run.steps:
            run.finish_steps(sorted(run.steps)[number % len(run.steps)])
        case "complete" if run.activities:
            run.complete_activity(_pick(run.activities, number), f"activity {number}")
        case "fail" if run.activities:
            run.fail_activity(_pick(run.activities, number))
        case "time out" if run.activities:
            run.time_out_activity(_pick(run.activities, number))
        case "cancelled" if run.activities:
            run.finish_cancelled_activity(_pick(run.activities, number))
        case "item" | "item fails" | "items" | "batch fails" | "batch cancelled" if run.batches:
            happen_to_batch(run, kind, _pick(run.batches, number), number)
        case "fire" if run.timers:
            run.fire(min(run.timers, key=lambda seq: (run.timers[seq], seq)))
        case "tick" | "work":
            run.signal(kind)
        case "cancel":
            run.cancel()
        case "lose worker":
            run.lose_worker()
        case _ if kind in _CROSSINGS:
            run.crossing.append(lambda run: happen(run, (_CROSSINGS[kind], number)))


def happen_to_batch(run: RunDriver, kind: str, seq: int, number: int) -> None:
    """Let something happen to an open batch, as a server would have it."""
    failed = run.batch_counts[seq][1]
    if kind == "batch cancelled":
        run.finish_cancelled_batch(seq)
    elif kind == "batch fails":
        run.fail_batch(seq, Failure(message="too many"))
    elif kind == "item fails" and failed >= run.batches_tolerate[seq]:
        error = ApplicationError("boom")
        run.close_items(seq, {_pick(run.batches[seq], number): error})
        run.fail_batch(seq, Failure(message="too many"))
    else:
        index = _pick(run.batches[seq], number)
        chosen = list(run.batches[seq]) if kind == "items" else [index]
        result = ApplicationError("boom") if kind == "item fails" else number
        run.close_items(
            seq, dict.fromkeys(chosen, result), ends=len(chosen) == len(run.batches[seq])
        )


_CROSSINGS = {
    "tick crosses": "tick",
    "timer crosses": "fire",
    "activity crosses": "complete",
    "item crosses": "item",
}


def _pick(numbered: dict[int, Any], number: int) -> int:
    return sorted(numbered)[number % len(numbered)]
