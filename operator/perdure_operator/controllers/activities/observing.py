"""What a plan for an Activity is made from."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_operator.controllers.views import RunView
from perdure_operator.model import Activity

ID_PREFIX = "activity/"
"""Keeps an Activity's id apart from a Workflow's of the same name: they share the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView(RunView[Activity]):
    """An Activity and its run, at one moment."""

    @property
    def activity(self) -> Activity:
        """The Activity."""
        return self.resource


def activity_id(name: str) -> str:
    """Return the id that an Activity has at the server."""
    return f"{ID_PREFIX}{name}"
