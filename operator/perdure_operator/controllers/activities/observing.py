"""What a plan for an Activity is made from."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.protocol.verbs import PendingActivity, PendingBatch
from perdure_operator.controllers.actions import ImportRun
from perdure_operator.controllers.activities.ends import ActivityEnd, ItemCounts
from perdure_operator.controllers.placements.attempts import PodsSeen
from perdure_operator.controllers.placements.views import AttemptView
from perdure_operator.controllers.rebuilding import Lost, plan_rebuilding
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.views import RunView
from perdure_operator.model import Activity

ID_PREFIX = "activity/"
"""Keeps an Activity's id apart from a Workflow's of the same name: they share the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView(RunView[Activity]):
    """An Activity and its run, at one moment."""

    seen: PodsSeen | None = None
    """The pods of its attempts, when it has pods of its own and is not over."""
    end: ActivityEnd | None = None
    """How the activity ended that it shows; of one of its own, the run says that."""
    counts: ItemCounts | None = None
    """How the items of a batch have ended, once it is over."""

    @property
    def activity(self) -> Activity:
        """The Activity."""
        return self.resource

    @property
    def is_container(self) -> bool:
        """Whether it runs a container and no code of a pool."""
        return self.activity.spec.type is None

    @property
    def rebuilding(self) -> ImportRun | Lost:
        """How to rebuild a run that is lost, or why that cannot be."""
        return plan_rebuilding(self.activity, workflow_id_of(self.activity), self.outcomes)

    @property
    def is_batch(self) -> bool:
        """Whether it is a batch, or shows one."""
        shown = self.activity.spec.scheduled_by
        return self.activity.spec.items is not None if shown is None else shown.items is not None

    @property
    def open_activity(self) -> PendingActivity | None:
        """The activity, as the server has it while it is not over."""
        if not isinstance(self.run, RunFacts):
            return None
        return find_open(self.activity, self.run)

    @property
    def shown_batch(self) -> PendingBatch | None:
        """The batch that it shows, while it is not over."""
        if not isinstance(self.run, RunFacts):
            return None
        return find_shown_batch(self.activity, self.run)

    @property
    def attempts(self) -> AttemptView | None:
        """What there is of its attempts, when they have pods of their own."""
        open_ = self.open_activity
        if self.seen is None or open_ is None or not isinstance(self.run, RunFacts):
            return None
        return AttemptView(
            activity=self.activity,
            run=self.run,
            open_=open_,
            seen=self.seen,
            now=self.now,
            outcomes=tuple(self.outcomes),
        )


def activity_id(name: str) -> str:
    """Return the id that an Activity has at the server."""
    return f"{ID_PREFIX}{name}"


def workflow_id_of(activity: Activity) -> str:
    """Return the id of the run that an Activity started, or that it shows an activity of."""
    shown = activity.spec.scheduled_by
    return activity_id(activity.metadata.name) if shown is None else shown.workflow_id


def find_open(activity: Activity, run: RunFacts) -> PendingActivity | None:
    """Return the activity in the run's description, if it is open."""
    shown, pending = activity.spec.scheduled_by, run.description.pending_activities
    if shown is None:
        return next(iter(pending), None)
    return next((each for each in pending if each.seq == shown.seq), None)


def find_shown_batch(activity: Activity, run: RunFacts) -> PendingBatch | None:
    """Return the batch that an Activity shows, if it is open."""
    shown, pending = activity.spec.scheduled_by, run.description.pending_batches
    if shown is None:
        return None
    return next((each for each in pending if each.seq == shown.seq), None)
