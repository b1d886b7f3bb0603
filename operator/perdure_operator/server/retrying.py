"""The verb ``retry``: a closed run is followed by one that does again what failed.

A request id makes the new run's id, so that the same request finds the run that it made, however
much has happened since, and two at once make one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from perdure.protocol import verbs as vb
from perdure.protocol.events import WorkflowStarted
from perdure.protocol.messages import RunRef
from perdure.protocol.retries import Effect, RetryPoint, RetryResponse
from perdure_operator.engine import restoring, retrying
from perdure_operator.engine.errors import BrokenHistoryError, RefusedError
from perdure_operator.engine.retrying import Retry
from perdure_operator.engine.transitions import RunRow
from perdure_operator.server.errors import VerbError, unavailable
from perdure_operator.server.keeping import LostError
from perdure_operator.store.port import Outcome

if TYPE_CHECKING:
    from perdure_operator.server.host import Host

_RUN_IDS = uuid.UUID("0b6cbb07-5f8c-4b0e-9d3e-1f9f3f0b7a52")
"""Whose names are requests to retry."""


async def retry_run(host: Host, request: vb.RetryRequest, row: RunRow) -> RetryResponse:
    """Make a new run of the one in ``row``, unless this request has made it before.

    Raises:
        VerbError: the run has not ended, did not fail, was followed by another one, or its
            history is damaged.
    """
    run_id = _run_id(host, request)
    if request.request_id:
        if host.keeper.peek(run_id) is not None:
            # It may be on its way to the disk, by the same request sent twice at once.
            await host.committer.flush()
        made = await host.store.get_run(run_id)
        if made is not None:
            return await _made_before(host, request, made)
    newest = await host.store.find_run(request.namespace, request.workflow_id)
    _check_newest(request, row, newest or row)
    made_now = await _retry(host, request, row, run_id)
    ref = RunRef(row.namespace, row.workflow_id, run_id)
    try:
        run, transition = restoring.restore(ref, made_now.history, host.now(), watched=row.watched)
    except BrokenHistoryError as error:
        raise _damaged(row, str(error)) from error
    if host.keeper.peek(run_id) is not None:
        return await retry_run(host, request, row)  # The same request was faster.
    try:
        await host.keeper.take_in(run, transition)
    except LostError as error:
        if error.outcome is Outcome.ALREADY_OPEN:
            raise VerbError(
                "AlreadyStarted",
                f"{row.workflow_id!r} has an open run by now: look at that one first",
                run_id=row.run_id,
            ) from error
        raise unavailable(error) from error
    return _answer(run_id, made_now, retried=True)


def _run_id(host: Host, request: vb.RetryRequest) -> str:
    if not request.request_id:
        return host.new_id()
    name = "\0".join((request.namespace, request.workflow_id, request.request_id))
    return str(uuid.uuid5(_RUN_IDS, name))


def _check_newest(request: vb.RetryRequest, row: RunRow, newest: RunRow) -> None:
    if newest.run_id == row.run_id:
        return
    if newest.closed is None:
        raise VerbError(
            "AlreadyStarted",
            f"{row.workflow_id!r} has an open run ({newest.run_id}): wait for its end, or terminate"
            " it first",
            run_id=newest.run_id,
        )
    if request.point is not RetryPoint.START:
        raise VerbError(
            "Invalid",
            f"run {row.run_id} of {row.workflow_id!r} was followed by run {newest.run_id}, which "
            "may have done what this one had left to do: retry that one, or this one from the "
            "start",
            run_id=newest.run_id,
        )


async def _retry(host: Host, request: vb.RetryRequest, row: RunRow, run_id: str) -> Retry:
    hot = await host.keeper.get(row.run_id)
    if hot is None:
        raise _damaged(row, host.keeper.damaged.get(row.run_id, "it cannot be read"))
    if hot.commits:
        await host.committer.flush()
    history = await host.store.read_history(row.run_id)
    try:
        return retrying.retry(history, request, run_id, host.now())
    except RefusedError as refusal:
        raise VerbError("Invalid", str(refusal), run_id=row.run_id) from refusal


async def _made_before(host: Host, request: vb.RetryRequest, made: RunRow) -> RetryResponse:
    """Answer as the request was answered then."""
    [first] = await host.store.read_history(made.run_id, limit=1)
    assert isinstance(first.event, WorkflowStarted)
    origin = first.event.retried
    assert origin is not None, "its id is that of a retry"
    earlier = await host.store.get_run(origin.run_id)
    effects: tuple[Effect, ...] = ()
    if earlier is not None:
        again = vb.RetryRequest(
            namespace=made.namespace, workflow_id=made.workflow_id, point=origin.point
        )
        effects = (await _retry(host, again, earlier, made.run_id)).effects
    return RetryResponse(
        run_id=made.run_id,
        retried_run_id=origin.run_id,
        event=origin.event,
        effects=effects,
        retried=False,
    )


def _answer(run_id: str, made: Retry, *, retried: bool) -> RetryResponse:
    origin = made.origin
    return RetryResponse(
        run_id=run_id,
        retried_run_id=origin.run_id,
        event=origin.event,
        effects=made.effects,
        retried=retried,
    )


def _damaged(row: RunRow, why: str) -> VerbError:
    return VerbError(
        "Damaged",
        f"the history of {row.workflow_id!r} (run {row.run_id}) is damaged, so it cannot be "
        f"retried: {why}. Restore the database from a backup.",
        run_id=row.run_id,
    )
