"""The verb ``import``: a run comes in with its whole history.

Asking again changes nothing: a run that is there with this history, or has gone on from it, is
what was asked for. Nothing that is there is ever replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.protocol import verbs as vb
from perdure.protocol.messages import RunRef
from perdure_operator.engine import restoring
from perdure_operator.engine.errors import BrokenHistoryError
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import RunRow, Transition
from perdure_operator.server.errors import VerbError, unavailable
from perdure_operator.server.keeping import LostError
from perdure_operator.server.limits import MAX_ID_LENGTH
from perdure_operator.store.port import Outcome

if TYPE_CHECKING:
    from perdure_operator.server.host import Host


async def import_run(host: Host, request: vb.ImportRequest) -> vb.ImportResponse:
    """Make the run that the history tells of, unless it is there.

    Raises:
        VerbError: the history is broken or not the one that was exported, the id has another
            open run, or the run is there with another history.
    """
    run, transition = _restore(host, request)
    if host.keeper.peek(request.run_id) is not None:
        # It may be on its way to the disk, by the same import asked for twice at once.
        await host.committer.flush()
    there = await host.store.get_run(request.run_id)
    if there is None:
        try:
            await host.keeper.take_in(run, transition)
        except LostError as error:
            if error.outcome is Outcome.ALREADY_OPEN:
                raise await _id_in_use(host, request) from error
            raise unavailable(error) from error
        return vb.ImportResponse(run_id=request.run_id)
    if there.namespace != request.namespace:
        # What it is, is for those to know who may read it.
        raise VerbError(
            "AlreadyStarted", f"the run id {request.run_id} is taken; nothing was imported"
        )
    if await _goes_on_from(host, there, request):
        return vb.ImportResponse(run_id=request.run_id, imported=False)
    raise VerbError(
        "AlreadyStarted",
        f"run {there.run_id} of {there.workflow_id!r} is there with another history "
        f"({there.last_event} events, digest {there.digest.hex()}); it is left as it is",
        run_id=there.run_id,
    )


def _restore(host: Host, request: vb.ImportRequest) -> tuple[Run, Transition]:
    for name in ("namespace", "workflow_id", "run_id"):
        if not 0 < len(getattr(request, name)) <= MAX_ID_LENGTH:
            raise VerbError("Invalid", f"{name} has from 1 to {MAX_ID_LENGTH:,} characters")
    ref = RunRef(request.namespace, request.workflow_id, request.run_id)
    try:
        run, transition = restoring.restore(
            ref, request.events, host.now(), watched=request.watched
        )
    except BrokenHistoryError as error:
        raise VerbError("Invalid", f"this is no whole history: {error}") from error
    digest = run.digest.hex()
    if request.digest and request.digest != digest:
        raise VerbError(
            "Invalid",
            f"the history of {request.workflow_id!r} has the digest {digest} and not "
            f"{request.digest}: it was changed on its way here",
        )
    return run, transition


async def _goes_on_from(host: Host, there: RunRow, request: vb.ImportRequest) -> bool:
    """Tell whether the run that is there begins with the history that was given."""
    if (there.namespace, there.workflow_id) != (request.namespace, request.workflow_id):
        return False
    known = await host.store.read_history(there.run_id, limit=len(request.events))
    return tuple(known) == request.events


async def _id_in_use(host: Host, request: vb.ImportRequest) -> VerbError:
    known = await host.store.find_run(request.namespace, request.workflow_id)
    run_id = known.run_id if known is not None else ""
    return VerbError(
        "AlreadyStarted",
        f"{request.workflow_id!r} has another open run ({run_id}): end that one first",
        run_id=run_id,
    )
