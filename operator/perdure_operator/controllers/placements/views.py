"""What plans for attempts are made from: an activity, its open attempt, its Jobs and pods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from perdure.protocol.verbs import PendingActivity, TakeActivityResponse
from perdure_operator.cluster import JOBS
from perdure_operator.controllers.actions import AttemptTaken, ObjectRefused, Outcome
from perdure_operator.controllers.placements.attempts import PodsSeen
from perdure_operator.controllers.placements.names import job_name
from perdure_operator.controllers.placements.templates import Attempt
from perdure_operator.controllers.pools.pods import Trouble, missing_pod
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.model import Activity

START_LIMIT = timedelta(minutes=10)
"""How long a pod may be kept from starting, where scheduleToStart says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """An activity with its own pod and what there is of its attempts, at one moment."""

    activity: Activity
    run: RunFacts
    open_: PendingActivity
    seen: PodsSeen
    now: datetime
    outcomes: tuple[Outcome, ...] = ()

    @property
    def name(self) -> str:
        """The name of the Job of the attempt that is under way, or is next."""
        metadata, run_id = self.activity.metadata, self.run.description.run_id
        return job_name(metadata.name, run_id, self.open_.seq, self.open_.attempt)

    @property
    def identity(self) -> str:
        """Who has an attempt that is taken here, as people see it."""
        return f"job/{self.name}"

    @property
    def attempt(self) -> Attempt:
        """What the Job is made for."""
        described = self.run.description
        return Attempt(
            activity=self.activity,
            name=self.name,
            workflow_id=described.workflow_id,
            run_id=described.run_id,
            seq=self.open_.seq,
            number=self.open_.attempt,
        )

    @property
    def trouble(self) -> Trouble | None:
        """What keeps the attempt's pod from running, or the Job from having one."""
        job, pod = self.seen.job(self.open_.attempt), self.seen.pod(self.open_.attempt)
        if pod is not None:
            return pod.trouble
        return None if job is None else missing_pod(job.facts, self.now)

    @property
    def is_started(self) -> bool:
        """Whether the attempt has begun."""
        return self.open_.started is not None

    @property
    def is_taken(self) -> bool:
        """Whether the running attempt was taken here."""
        return self.open_.identity == self.identity

    @property
    def is_container(self) -> bool:
        """Whether no worker runs it."""
        return self.activity.spec.type is None

    @property
    def is_deleted(self) -> bool:
        """Whether its Job was there and is no more."""
        return self.activity.status.job == self.name and self.seen.job(self.open_.attempt) is None

    @property
    def taken(self) -> TakeActivityResponse | None:
        """The running attempt, with the right to report it, when it was just taken."""
        answers = (each.answer for each in self.outcomes if isinstance(each, AttemptTaken))
        return next((each for each in answers if each.attempt == self.open_.attempt), None)

    @property
    def start_limit(self) -> timedelta:
        """How long its pod may be kept from starting."""
        return self.activity.spec.timeouts.schedule_to_start or START_LIMIT

    @property
    def refusal(self) -> ObjectRefused | None:
        """Why its Job could not be made, when that was just tried."""
        refused = (each for each in self.outcomes if isinstance(each, ObjectRefused))
        return next((each for each in refused if each.kind == JOBS), None)
