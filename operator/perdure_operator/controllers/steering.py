"""Asking a run to end, to wait, or to go on."""

from __future__ import annotations

from perdure.protocol.verbs import (
    CancelRequest,
    ResumeRequest,
    SuspendRequest,
    TerminateRequest,
)
from perdure_operator.controllers.actions import SteerRun
from perdure_operator.controllers.runs import RunFacts

IDENTITY = "perdure-operator"
"""Who asks, as history shows it."""


def cancel_run(run: RunFacts, reason: str) -> SteerRun:
    """Ask the run to end, cleaning up first."""
    return SteerRun(
        request=CancelRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            reason=reason,
            identity=IDENTITY,
        )
    )


def terminate_run(run: RunFacts, reason: str) -> SteerRun:
    """End the run without asking its code."""
    return SteerRun(
        request=TerminateRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            reason=reason,
            identity=IDENTITY,
        )
    )


def suspend_run(run: RunFacts, reason: str) -> SteerRun:
    """Have the run begin nothing new."""
    return SteerRun(
        request=SuspendRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            reason=reason,
            identity=IDENTITY,
        )
    )


def resume_run(run: RunFacts) -> SteerRun:
    """Let the run go on."""
    return SteerRun(
        request=ResumeRequest(
            namespace=run.description.namespace,
            workflow_id=run.description.workflow_id,
            run_id=run.description.run_id,
            identity=IDENTITY,
        )
    )
