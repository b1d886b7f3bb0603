"""What a plan for a Schedule is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure_operator.controllers.actions import NameTaken, ObjectRefused, Outcome, ServerAway
from perdure_operator.controllers.schedules.children import Child
from perdure_operator.model import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A Schedule and its Workflows, at one moment."""

    schedule: Schedule
    now: datetime
    children: Sequence[Child] = ()
    """The Workflows it owns, as the cluster has them."""
    outcomes: Sequence[Outcome] = ()

    @property
    def active(self) -> list[Child]:
        """The Workflows that are not over."""
        return [child for child in self.children if not child.is_over]

    @property
    def refused(self) -> ObjectRefused | NameTaken | None:
        """Why a Workflow could not be made, when that was just tried."""
        names = {child.name for child in self.children}
        for outcome in self.outcomes:
            if isinstance(outcome, ObjectRefused):
                return outcome
            if isinstance(outcome, NameTaken) and outcome.name not in names:
                return outcome
        return None

    @property
    def server_away(self) -> str:
        """Why the server could not be told something; empty when it could."""
        return next((each.message for each in self.outcomes if isinstance(each, ServerAway)), "")
