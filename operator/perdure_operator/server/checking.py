"""What is refused of a client's request before anything of it is done."""

from __future__ import annotations

from perdure.protocol import verbs as vb
from perdure.protocol.payloads import Payloads
from perdure.protocol.verbs import IdReusePolicy, RunStatus
from perdure_operator.engine.transitions import RunRow
from perdure_operator.server import limits
from perdure_operator.server.errors import VerbError
from perdure_operator.server.limits import MAX_ID_LENGTH, oversize, oversize_items


def check_start(request: vb.StartRequest) -> None:
    """Return when nothing is wrong with what is to be started.

    Raises:
        VerbError: something is.
    """
    for name in ("namespace", "workflow_id", "workflow_type", *limits.needs_queue(request)):
        value = getattr(request, name)
        if not value:
            raise VerbError("Invalid", f"{name} is empty: give one")
        if len(value) > MAX_ID_LENGTH:
            raise VerbError("Invalid", f"{name} has {len(value)} characters, at most 1,000 may be")
    if request.kind not in ("workflow", "activity"):
        raise VerbError("Invalid", f"kind is {request.kind!r}: it is `workflow` or `activity`")
    if request.retry_policy is not None:
        raise VerbError(
            "Invalid",
            "retries of a whole run are not supported: catch the error in the workflow's code and "
            "try again there, or start the workflow anew",
        )
    check_payloads(request.input, f"input of {request.workflow_type!r}")
    if request.activity is not None and request.activity.items:
        _check_batch(request.activity, f"batch of {request.workflow_type!r}")
    check_payloads(request.start_signal_input, f"input of signal {request.start_signal!r}")
    check_payloads(tuple(request.memo.values()), "memo")
    placement = request.activity.placement if request.activity else None
    fault = limits.placement_fault(placement, request.input, request.workflow_type)
    if fault:
        raise VerbError("Invalid", fault)


def _check_batch(batch: vb.ActivityOptions, what: str) -> None:
    for name in ("parallelism", "tolerated_failures"):
        if getattr(batch, name) < 0:
            raise VerbError("Invalid", f"{name} is {getattr(batch, name)}: it is 0 or more")
    message = oversize_items(batch.items, what)
    if message:
        raise VerbError("TooLarge", message)


def check_payloads(payloads: Payloads, what: str) -> None:
    """Return when every payload is small enough.

    Raises:
        VerbError: one is not.
    """
    message = oversize(payloads, what)
    if message:
        raise VerbError("TooLarge", message)


def check_reuse(request: vb.StartRequest, known: RunRow) -> None:
    """Return when the id of a run that is over may be used again.

    Raises:
        VerbError: it may not.
    """
    ended = f"{known.workflow_id!r} has run before (run {known.run_id}, {known.status.value})"
    match request.id_reuse_policy:
        case IdReusePolicy.REJECT_DUPLICATE:
            raise VerbError(
                "AlreadyStarted",
                f"{ended}, and the id may not be used again",
                run_id=known.run_id,
            )
        case IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY if known.status is RunStatus.COMPLETED:
            raise VerbError(
                "AlreadyStarted",
                f"{ended}; the id may be used again only after a failure",
                run_id=known.run_id,
            )
