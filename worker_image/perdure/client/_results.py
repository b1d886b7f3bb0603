"""Waiting for a run's end, and what its end means for who waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from perdure.client._base import ClientBase
from perdure.exceptions import (
    CancelledError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's name
    TimeoutType,
)
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import ResultRequest, ResultResponse, RunStatus

MAX_WAIT: Millis = 20_000
"""How long one long poll lasts."""


def wait_of(rpc_timeout: timedelta | None) -> Millis:
    """Return how long the server may wait, within the time for one call."""
    if rpc_timeout is None:
        return MAX_WAIT
    # The answer needs some of the time, too.
    return min(MAX_WAIT, int(rpc_timeout.total_seconds() * 800))


async def wait_for_end(
    client: ClientBase, workflow_id: str, run_id: str, rpc_timeout: timedelta | None
) -> ResultResponse:
    """Wait until a run is closed, through restarts of the server.

    Args:
        client: whose namespace.
        workflow_id: whose run.
        run_id: which; the newest if empty, and that one from then on.
        rpc_timeout: for one poll.
    """
    request = ResultRequest(
        namespace=client.namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        wait=wait_of(rpc_timeout),
    )
    while True:
        answer = await client.through_outages(
            lambda: client.service.call(request, timeout=rpc_timeout),  # noqa: B023 - awaited here
            f"the end of {workflow_id!r}",
        )
        if not answer.status.is_open:
            return answer
        request = msgspec.structs.replace(request, run_id=answer.run_id)


async def result_or_failure(
    client: ClientBase, answer: ResultResponse, hint: Any, subject: str
) -> tuple[Any, FailureError | None]:
    """Return what a closed run returned, or how else it ended.

    Args:
        client: whose data converter.
        answer: the end.
        hint: what the result is decoded as.
        subject: what it was, e.g. ``Workflow``.
    """
    if answer.status is RunStatus.COMPLETED:
        return await client.decode(answer.result, hint, "the result"), None
    if answer.failure is not None:
        return None, await client.data_converter.decode_failure(answer.failure)
    match answer.status:
        case RunStatus.CANCELED:
            return None, CancelledError(f"{subject} cancelled")
        case RunStatus.TERMINATED:
            return None, TerminatedError(f"{subject} terminated")
        case RunStatus.TIMED_OUT:
            return None, TimeoutError(f"{subject} timed out", type=TimeoutType.START_TO_CLOSE)
        case _:
            return None, FailureError(f"{subject} failed")
