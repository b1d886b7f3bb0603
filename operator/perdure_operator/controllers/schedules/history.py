"""Which Workflows of a Schedule are kept, and how those that run are ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from perdure.protocol.verbs import CancelRequest, TerminateRequest
from perdure_operator.cluster import WORKFLOWS
from perdure_operator.controllers.actions import Action, DeleteObject, SteerRun
from perdure_operator.controllers.schedules.children import Child
from perdure_operator.controllers.schedules.observing import ScheduleView
from perdure_operator.controllers.steering import IDENTITY
from perdure_operator.model import OverlapPolicy, WorkflowPhase

_NEVER = datetime.min.replace(tzinfo=UTC)


def delete_old(view: ScheduleView) -> list[Action]:
    """Return the deletion of what is over and more than is to be kept."""
    spec = view.schedule.spec
    over = [child for child in view.children if child.is_over and not child.is_being_deleted]
    succeeded = [child for child in over if child.phase is WorkflowPhase.SUCCEEDED]
    others = [child for child in over if child.phase is not WorkflowPhase.SUCCEEDED]
    old = [
        *_beyond(succeeded, spec.successful_workflows_limit),
        *_beyond(others, spec.failed_workflows_limit),
    ]
    return [_delete(child) for child in old]


def end_active(view: ScheduleView, policy: OverlapPolicy) -> list[Action]:
    """Return what ends the Workflows that run; one that has not started is deleted."""
    return [_end(child, policy) for child in view.active if not child.is_being_deleted]


def _end(child: Child, policy: OverlapPolicy) -> Action:
    if not child.run_id:
        return _delete(child)
    kind = CancelRequest if policy is OverlapPolicy.CANCEL_OTHER else TerminateRequest
    return SteerRun(
        request=kind(
            namespace=child.ref.namespace,
            workflow_id=child.workflow_id,
            run_id=child.run_id,
            reason=f"its Schedule's overlapPolicy is {policy.value} and it is time again",
            identity=IDENTITY,
        )
    )


def _beyond(children: Sequence[Child], limit: int) -> Sequence[Child]:
    newest = sorted(children, key=lambda child: (child.ended or _NEVER, child.name), reverse=True)
    return newest[limit:]


def _delete(child: Child) -> DeleteObject:
    return DeleteObject(kind=WORKFLOWS, ref=child.ref, uid=child.uid)
