"""What a plan for a Workflow is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure_operator.controllers.actions import (
    Outcome,
    RunStarted,
    ServerAway,
    SignalDelivered,
    SignalRefused,
    StartRefused,
)
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.model import FINALIZER, WorkerPool, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowView:
    """A Workflow and what it is about, at one moment."""

    workflow: Workflow
    now: datetime
    run: RunFacts | NoRun
    pool: WorkerPool | None
    """Where its tasks go; None when there is no such pool (yet)."""
    outcomes: Sequence[Outcome] = ()
    """What came of the actions planned before, in the same reconcile."""

    @property
    def is_first_sight(self) -> bool:
        """Whether nobody has ever written a status."""
        return self.workflow.status.phase is None

    @property
    def is_over(self) -> bool:
        """Whether the status says for good how it ended."""
        phase = self.workflow.status.phase
        return phase is not None and phase.is_final

    @property
    def has_finalizer(self) -> bool:
        """Whether the object waits for us when it is deleted."""
        return FINALIZER in self.workflow.metadata.finalizers

    @property
    def run_id(self) -> str:
        """The run, if one is known to have been started."""
        if isinstance(self.run, RunFacts):
            return self.run.description.run_id
        started = (each.run_id for each in self.outcomes if isinstance(each, RunStarted))
        return next(started, "") or self.workflow.status.run_id or ""

    @property
    def start_refused(self) -> StartRefused | None:
        """Why the run was not started, when it was just tried."""
        return next((each for each in self.outcomes if isinstance(each, StartRefused)), None)

    @property
    def server_away(self) -> str:
        """Why the server could not be asked; empty when it could."""
        return next((each.message for each in self.outcomes if isinstance(each, ServerAway)), "")

    @property
    def delivered(self) -> tuple[str, ...]:
        """The ids of the signals that the run is known to have, in the order of the spec."""
        known = {each.signal_id for each in self.outcomes if isinstance(each, SignalDelivered)}
        known.update(self.workflow.status.delivered_signals)
        return tuple(each.id for each in self.workflow.spec.signals if each.id in known)

    @property
    def refused_signals(self) -> dict[str, str]:
        """Why the server does not take a signal, by the signal's id."""
        return {
            each.signal_id: each.message
            for each in self.outcomes
            if isinstance(each, SignalRefused)
        }
