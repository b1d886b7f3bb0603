"""What a plan for an Activity is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure_operator.controllers.actions import Outcome, ServerAway, StartRefused
from perdure_operator.controllers.runs import NoRun, RunFacts
from perdure_operator.model import FINALIZER, Activity, WorkerPool

ID_PREFIX = "activity/"
"""Keeps an Activity's id apart from a Workflow's of the same name: they share the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView:
    """An Activity and what it is about, at one moment."""

    activity: Activity
    now: datetime
    run: RunFacts | NoRun
    pool: WorkerPool | None
    """Where it runs; None when there is no such pool (yet)."""
    outcomes: Sequence[Outcome] = ()
    """What came of the actions planned before, in the same reconcile."""

    @property
    def is_first_sight(self) -> bool:
        """Whether nobody has ever written a status."""
        return self.activity.status.phase is None

    @property
    def is_over(self) -> bool:
        """Whether the status says for good how it ended."""
        phase = self.activity.status.phase
        return phase is not None and phase.is_final

    @property
    def has_finalizer(self) -> bool:
        """Whether the object waits for us when it is deleted."""
        return FINALIZER in self.activity.metadata.finalizers

    @property
    def start_refused(self) -> StartRefused | None:
        """Why it was not started, when that was just tried."""
        return next((each for each in self.outcomes if isinstance(each, StartRefused)), None)

    @property
    def server_away(self) -> str:
        """Why the server could not be asked; empty when it could."""
        return next((each.message for each in self.outcomes if isinstance(each, ServerAway)), "")


def activity_id(activity: Activity) -> str:
    """Return the activity's id at the server."""
    return f"{ID_PREFIX}{activity.metadata.name}"
