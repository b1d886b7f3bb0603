"""What is to be said of an attempt that has a pod of its own."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_operator.controllers.actions import ObjectRefused
from perdure_operator.controllers.placements.views import AttemptView
from perdure_operator.controllers.pools.pods import Trouble
from perdure_operator.controllers.verdicts import Say, true
from perdure_operator.model import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptWord:
    """An attempt in words."""

    is_running: bool
    reason: Reason
    message: str
    stalled: Say | None = None
    job: str | None = None
    """The Job of the attempt that is under way."""
    worker: str | None = None
    """The pod that has it, or that is to have it."""


def judge_attempt(view: AttemptView) -> AttemptWord:
    """Return what is to be said."""
    number = view.open_.attempt
    job, pod = view.seen.job(number), view.seen.pod(number)
    name = view.name if job is not None or view.activity.status.job == view.name else None
    trouble = _trouble(view)
    stalled = true(trouble.reason, trouble.message) if trouble else None
    has_worker = view.is_started and not view.is_container and not view.is_taken
    if has_worker or (pod is not None and pod.is_running):
        return AttemptWord(
            is_running=True,
            reason=Reason.RUNNING,
            message="its pod runs",
            stalled=stalled,
            job=name,
            worker=pod.name if pod is not None else view.open_.identity,
        )
    starting = job is not None or view.is_started
    return AttemptWord(
        is_running=False,
        reason=Reason.POD_STARTING if starting else Reason.PENDING,
        message="its pod is being started" if starting else "it waits for its next attempt",
        stalled=stalled,
        job=name,
        worker=pod.name if pod is not None else None,
    )


def _trouble(view: AttemptView) -> Trouble | None:
    trouble = view.trouble
    if trouble is not None:
        if trouble.reason is Reason.CRASHING:
            return Trouble(reason=Reason.POD_NOT_STARTING, message=trouble.message)
        return trouble
    refused = next((each for each in view.outcomes if isinstance(each, ObjectRefused)), None)
    if refused is not None:
        reason = Reason.INVALID_SPEC if refused.is_invalid else Reason.FORBIDDEN
        message = f"Job {refused.name} cannot be made: {refused.message}"
        return Trouble(reason=reason, message=message)
    if not view.is_container and view.seen.code is None and not view.is_started:
        message = (
            f"there is no WorkerPool on task queue {view.open_.task_queue!r} in namespace "
            f"{view.activity.metadata.namespace!r} whose code it could run: apply one"
        )
        return Trouble(reason=Reason.POOL_NOT_FOUND, message=message)
    return None
