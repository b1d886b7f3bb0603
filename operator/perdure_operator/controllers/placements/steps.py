"""The steps of an attempt that is run here: take it, make its container's Job, report its end."""

from __future__ import annotations

from typing import assert_never

import msgspec

from perdure.protocol.payloads import Payloads
from perdure.protocol.placements import MAX_CONTAINER_INPUT_BYTES
from perdure.protocol.verbs import (
    ReportActivityRequest,
    TakeActivityRequest,
    TakeActivityResponse,
)
from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import CreateObject, Plan, ReportAttempt, TakeAttempt
from perdure_operator.controllers.placements import outcomes as ends
from perdure_operator.controllers.placements.templates import (
    ENV_BYTES,
    Given,
    build_container_job,
)
from perdure_operator.controllers.placements.views import AttemptView
from perdure_operator.controllers.values import NotShownError, to_json


def take(view: AttemptView) -> Plan:
    """Return the plan by which the attempt begins, or is found again."""
    described = view.run.description
    request = TakeActivityRequest(
        namespace=described.namespace,
        workflow_id=described.workflow_id,
        run_id=described.run_id,
        seq=view.open_.seq,
        identity=view.identity,
    )
    return Plan(actions=[TakeAttempt(request=request)], look_at_once=True)


def make_container(view: AttemptView, taken: TakeActivityResponse) -> Plan:
    """Return the plan by which the container's Job comes to be."""
    try:
        arguments = _as_list(taken.input, limit=MAX_CONTAINER_INPUT_BYTES)
    except NotShownError as error:
        message = f"a container takes its input as JSON of at most 200 KiB, and this is: {error}"
        return report(view, ends.Failed(failure=ends.build_failure(message, retry=False)))
    given = Given(
        token=taken.token,
        arguments=arguments,
        idempotency_key=taken.idempotency_key,
        heartbeat=_heartbeat(taken),
    )
    job = build_container_job(view.attempt, view.seen.defaults, given)
    return Plan(actions=[CreateObject(kind=JOBS, manifest=job)], look_at_once=True)


def _heartbeat(taken: TakeActivityResponse) -> str:
    """Return what the attempt before said last, if a container can read it."""
    if not taken.heartbeat_details:
        return ""
    try:
        return _as_list(taken.heartbeat_details, limit=ENV_BYTES)
    except NotShownError:
        return ""


def _as_list(values: Payloads, *, limit: int) -> str:
    return msgspec.json.encode([to_json(each, limit=limit) for each in values]).decode()


def report(view: AttemptView, end: ends.Outcome) -> Plan:
    """Return the plan by which the attempt's end is recorded."""
    taken = view.taken
    if taken is None:
        return take(view)
    return Plan(
        actions=[ReportAttempt(request=_request(taken.token, _as_reported(view, end)))],
        look_at_once=True,
    )


def _as_reported(view: AttemptView, end: ends.Outcome) -> ends.Outcome:
    """Return an end as the activity's: a worker that left well without its task did not do it."""
    if isinstance(end, ends.Completed) and not view.is_container:
        message = "its worker left without taking the activity: is it one that the code registers?"
        return ends.Failed(failure=ends.build_failure(message))
    return end


def _request(token: str, end: ends.Outcome) -> ReportActivityRequest:
    match end:
        case ends.Completed(result=result):
            return ReportActivityRequest(token=token, result=result)
        case ends.Failed(failure=failure):
            return ReportActivityRequest(token=token, failure=failure)
        case ends.Lost(why=why):
            return ReportActivityRequest(token=token, lost=why)
        case _:
            assert_never(end)
