"""What a plan for a Workflow is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure.protocol.events import WorkflowStarted
from perdure.protocol.retries import RetryPoint
from perdure_operator.controllers.actions import (
    ImportRun,
    SignalDelivered,
    SignalRefused,
)
from perdure_operator.controllers.rebuilding import Lost, plan_rebuilding
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.values import to_payloads
from perdure_operator.controllers.views import RunView
from perdure_operator.model import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowView(RunView[Workflow]):
    """A Workflow and its run, at one moment."""

    shown: frozenset[int] = frozenset()
    """Which activities of the run have an Activity that shows them."""
    show_after: timedelta = timedelta(seconds=2)
    """After how long the others get one."""

    @property
    def workflow(self) -> Workflow:
        """The Workflow."""
        return self.resource

    @property
    def rebuilding(self) -> ImportRun | Lost:
        """How to rebuild a run that is lost, or why that cannot be."""
        return plan_rebuilding(self.workflow, self.workflow.workflow_id, self.outcomes)

    @property
    def delivered(self) -> tuple[str, ...]:
        """The ids of the signals that the run is known to have, in the order of the spec."""
        known = {each.signal_id for each in self.outcomes if isinstance(each, SignalDelivered)}
        if not self._began_anew:
            known.update(self.workflow.status.delivered_signals)
        return tuple(each.id for each in self.workflow.spec.signals if each.id in known)

    @property
    def _began_anew(self) -> bool:
        """Whether the run is one from the start, of which the status does not tell yet."""
        if not isinstance(self.run, RunFacts) or not self.has_followed:
            return False
        retried = self.run.description.retried
        return retried is not None and retried.point is RetryPoint.START

    @property
    def is_input_changed(self) -> bool:
        """Whether the run was started with another input than the spec has now.

        Of a retried run its history does not tell, and of a long one its beginning is not read.
        """
        run = self.run
        if not isinstance(run, RunFacts) or run.request_id != self.workflow.metadata.uid:
            return False
        started = run.events[0].event
        assert isinstance(started, WorkflowStarted)
        return started.retried is None and started.input != to_payloads(self.workflow.spec.input)

    @property
    def refused_signals(self) -> dict[str, str]:
        """Why the server does not take a signal, by the signal's id."""
        return {
            each.signal_id: each.message
            for each in self.outcomes
            if isinstance(each, SignalRefused)
        }
