"""What plans for objects that are a run have in common: Workflows and Activities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from perdure_operator.controllers.actions import (
    ObjectRefused,
    Outcome,
    RunRetried,
    RunStarted,
    ServerAway,
    StartRefused,
)
from perdure_operator.controllers.catching_up import is_behind
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.model import FINALIZER, Activity, WorkerPool, Workflow

R = TypeVar("R", bound=Workflow | Activity)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView(Generic[R]):
    """An object and the run that it wants, at one moment."""

    resource: R
    now: datetime
    run: RunFacts | NoRun
    pool: WorkerPool | None
    """Where its tasks go; None when there is no such pool (yet)."""
    outcomes: Sequence[Outcome] = ()
    """What came of the actions planned before, in the same reconcile."""

    @property
    def is_over(self) -> bool:
        """Whether the status says how it ended, and no other run has followed."""
        return is_over(self.resource) and not self.has_followed

    @property
    def has_followed(self) -> bool:
        """Whether the run is not the one that the status tells of: that one was retried."""
        known = self.resource.status.run_id
        return isinstance(self.run, RunFacts) and known not in (None, self.run.description.run_id)

    @property
    def is_behind(self) -> bool:
        """Whether the server has less of the run than the status tells of."""
        return is_behind(self.resource, self.run)

    @property
    def has_finalizer(self) -> bool:
        """Whether the object waits for us when it is deleted."""
        return FINALIZER in self.resource.metadata.finalizers

    @property
    def run_id(self) -> str:
        """The run, if one is known to have been started."""
        return known_run_id(self.resource, self.outcomes)

    @property
    def is_lost(self) -> bool:
        """Whether a run was started that the server knows no more."""
        return self.run is NoRun.MISSING and bool(self.resource.status.run_id)

    @property
    def start_refused(self) -> StartRefused | None:
        """Why the run was not started, when that was just tried."""
        return next((each for each in self.outcomes if isinstance(each, StartRefused)), None)

    @property
    def object_refused(self) -> ObjectRefused | None:
        """Why an object could not be made, when that was just tried."""
        return next((each for each in self.outcomes if isinstance(each, ObjectRefused)), None)

    @property
    def server_away(self) -> str:
        """Why the server could not be asked; empty when it could."""
        return next((each.message for each in self.outcomes if isinstance(each, ServerAway)), "")


def is_over(resource: Workflow | Activity) -> bool:
    """Tell whether an object's status says how it ended."""
    phase = resource.status.phase
    return phase is not None and phase.is_final


def is_shown(resource: Workflow | Activity) -> bool:
    """Tell whether an object shows an activity of a run that is not its own."""
    return isinstance(resource, Activity) and resource.spec.scheduled_by is not None


def known_run_id(resource: Workflow | Activity, outcomes: Sequence[Outcome]) -> str:
    """Return the newest run that there is for an object, if one is known."""
    if isinstance(resource, Activity) and resource.spec.scheduled_by is not None:
        return resource.spec.scheduled_by.run_id
    made = (RunStarted, RunRetried)
    started = (each.run_id for each in reversed(outcomes) if isinstance(each, made))
    return next(started, "") or resource.status.run_id or ""
