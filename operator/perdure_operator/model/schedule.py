"""The Schedule: when Workflows are to be made, and from what template.

Names and meanings are those of Temporal's schedules. Everything here may be changed at any time;
only triggers and backfills are append-only, because each of their ids is done once.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from perdure_operator.model.crons import (
    CRON_MAX_LENGTH,
    CRON_PATTERN,
    HOW_TO_WRITE,
    check_cron,
)
from perdure_operator.model.fields import (
    AnyJson,
    AnyObject,
    Duration,
    ObjectName,
    PositiveDuration,
    SpecModel,
    StatusModel,
    Time,
    TypeName,
    UniqueBy,
    cel,
    cel_rules,
    written,
)
from perdure_operator.model.labels import check_label
from perdure_operator.model.policies import WorkflowTimeouts
from perdure_operator.model.resources import Resource, ResourceStatus
from perdure_operator.model.schedule_requests import Backfill, OverlapPolicy, Trigger
from perdure_operator.model.schedule_times import Calendar, Interval
from perdure_operator.model.workerpool import WorkerSpec
from perdure_operator.model.workflow import MAX_ARGUMENTS, DeletionPolicy

MAX_NAME = 52
"""A Workflow's label holds the Schedule's name, and its own name the time besides."""

MAX_TIMES = 16
MAX_TRIGGERS = 256
MAX_BACKFILLS = 64
MAX_BUFFERED = 200
SHOWN_ACTIVE = 50
SHOWN_NEXT = 5

_LONG_NAME = f"the name of a Schedule can have at most {MAX_NAME} characters"
_NEVER = "endAt lies before startAt, so nothing would ever be due: set it later or leave it out"
_NO_TIMES = "say when: give cron, intervals or calendars"
_ONE_WORKER = "give exactly one of workerPool (a WorkerPool's name) and worker (a pool of its own)"


def _append_only(what: str) -> dict[str, Any]:
    return cel_rules(
        cel(
            "oldSelf.all(old, self.exists(new, new.id == old.id))",
            f"{what} can only be appended: leave those that are there in the list",
        )
    )


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"there is no time zone {name!r}: write its name in the IANA database, for example "
            "Europe/Berlin, America/New_York or UTC"
        ) from error
    return name


class TemplateMetadata(SpecModel):
    """What the Workflows have besides their names."""

    labels: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Their labels."""
    annotations: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    """Their annotations."""

    @model_validator(mode="after")
    def _can_be_written(self) -> TemplateMetadata:
        for name, value in self.labels.items():
            check_label(name, value)
        for name in self.annotations:
            check_label(name, "")
        return self


class TemplateSpec(SpecModel):
    """The run that is wanted at each time: a Workflow's spec without what steers one run."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(cel("has(self.workerPool) != has(self.worker)", _ONE_WORKER))
    )

    type: TypeName
    """The workflow's type: the name of the class, or the one given to workflow.defn."""
    input: Annotated[tuple[AnyJson, ...], Field(max_length=MAX_ARGUMENTS)] = ()
    """The arguments of the workflow's run method, in order: any JSON."""
    worker_pool: ObjectName | None = None
    """The WorkerPool, in the same namespace, whose workers run it."""
    worker: WorkerSpec | None = None
    """Workers of each run's own."""
    timeouts: WorkflowTimeouts = WorkflowTimeouts()
    """How long it may take."""
    memo: AnyObject | None = None
    """Notes that are stored with the run and shown with it: any JSON object."""
    deletion_policy: DeletionPolicy = DeletionPolicy.CANCEL
    """What happens to the run when its Workflow, or the Schedule, is deleted before its end."""

    @model_validator(mode="after")
    def _runs_in_one_place(self) -> TemplateSpec:
        if (self.worker_pool is None) == (self.worker is None):
            raise ValueError(_ONE_WORKER)
        return self


class WorkflowTemplate(SpecModel):
    """What each Workflow is made from."""

    metadata: TemplateMetadata = TemplateMetadata()
    """What the Workflows have besides their names."""
    spec: TemplateSpec
    """The run that is wanted at each time."""


class ScheduleSpec(SpecModel):
    """When, what, and what to do when that is not simple."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel("has(self.cron) || has(self.intervals) || has(self.calendars)", _NO_TIMES),
            cel(
                "!has(self.startAt) || !has(self.endAt) || "
                "timestamp(self.startAt) <= timestamp(self.endAt)",
                _NEVER,
                field="endAt",
            ),
        )
    )

    cron: Annotated[
        tuple[
            Annotated[
                str,
                # By a rule alone: the pattern is too long to be printed to anybody.
                Field(
                    min_length=1,
                    max_length=CRON_MAX_LENGTH,
                    json_schema_extra=cel_rules(written(CRON_PATTERN, HOW_TO_WRITE)),
                ),
                AfterValidator(check_cron),
            ],
            ...,
        ]
        | None,
        Field(min_length=1, max_length=MAX_TIMES),
    ] = None
    """Cron expressions of five fields, or @hourly, @daily, @weekly, @monthly, @yearly."""
    intervals: Annotated[tuple[Interval, ...], Field(min_length=1, max_length=MAX_TIMES)] | None = (
        None
    )
    """Every so often."""
    calendars: Annotated[tuple[Calendar, ...], Field(min_length=1, max_length=MAX_TIMES)] | None = (
        None
    )
    """Local times by their parts."""
    skip: Annotated[tuple[Calendar, ...], Field(max_length=MAX_TIMES)] = ()
    """Local times that are left out, whatever they come from."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_known_zone)] = (
        "UTC"
    )
    """The time zone of cron, calendars and skip, by its name in the IANA database."""
    start_at: Time | None = None
    """Nothing is due before this instant."""
    end_at: Time | None = None
    """Nothing is due after this instant."""
    jitter: Duration = timedelta()
    """Each firing is put off by up to this much, always the same for the same time."""
    overlap_policy: OverlapPolicy = OverlapPolicy.SKIP
    """What happens when it is time and an earlier Workflow of the Schedule is not over."""
    catch_up_window: PositiveDuration = timedelta(days=365)
    """How late a firing may be, after the operator was away, and still be done."""
    pause: bool = False
    """Whether it is held. Times that pass meanwhile are left out; triggers and backfills work."""
    pause_on_failure: bool = False
    """Whether it is held once a Workflow failed or timed out, until the spec is changed."""
    note: Annotated[str, Field(max_length=1024)] = ""
    """Why it is as it is, for people."""
    limited_actions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """How many Workflows its times start altogether. Without it: no limit."""
    successful_workflows_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """How many Workflows that succeeded are kept."""
    failed_workflows_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """How many Workflows that ended otherwise are kept."""
    triggers: Annotated[
        tuple[Trigger, ...],
        Field(max_length=MAX_TRIGGERS, json_schema_extra=_append_only("triggers")),
        UniqueBy("id"),
    ] = ()
    """Starts out of turn, each done once. Append to the list; leave what is in it."""
    backfills: Annotated[
        tuple[Backfill, ...],
        Field(max_length=MAX_BACKFILLS, json_schema_extra=_append_only("backfills")),
        UniqueBy("id"),
    ] = ()
    """Spans of time to be done again, each done once. Append to the list."""
    workflow_template: WorkflowTemplate
    """What each Workflow is made from."""

    @model_validator(mode="after")
    def _has_times(self) -> ScheduleSpec:
        if self.cron is None and self.intervals is None and self.calendars is None:
            raise ValueError(_NO_TIMES)
        return self

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> ScheduleSpec:
        if self.start_at and self.end_at and self.end_at < self.start_at:
            raise ValueError(_NEVER)
        return self


class SchedulePhase(StrEnum):
    """A Schedule's state in one word; programs read the conditions instead."""

    ACTIVE = "Active"
    """It makes Workflows when it is time."""
    PAUSED = "Paused"
    """It is held, by spec.pause or because a Workflow failed."""
    COMPLETED = "Completed"
    """No time is left: endAt has passed or limitedActions are used up."""


class ActiveWorkflow(StatusModel):
    """A Workflow of the Schedule that is not over."""

    name: Annotated[str, Field(max_length=253)]
    """Its name."""
    uid: Annotated[str, Field(max_length=64)] = ""
    """What tells it from another one of that name."""


class BufferedStart(StatusModel):
    """A start that waits for the end of what runs."""

    name: Annotated[str, Field(max_length=253)]
    """The name that the Workflow will have."""
    time: Time
    """The time it is for."""
    request: Annotated[str, Field(max_length=63)] | None = None
    """The trigger or backfill that it comes from."""


class BackfillProgress(StatusModel):
    """How far a backfill has come."""

    id: Annotated[str, Field(max_length=63)]
    """The backfill's id."""
    through: Time | None = None
    """The last time that was dealt with."""
    done: bool = False
    """Whether every time was dealt with."""


class FailurePause(StatusModel):
    """Why the Schedule holds itself."""

    workflow: Annotated[str, Field(max_length=253)]
    """The Workflow that failed."""
    spec: Annotated[str, Field(max_length=64)]
    """The digest of the spec at that time; another one lets the Schedule go on."""


class ScheduleStatus(ResourceStatus):
    """What has become of the Schedule."""

    phase: SchedulePhase | None = None
    """Active, Paused or Completed."""
    last_schedule_time: Time | None = None
    """The last time that was dealt with, whether a Workflow was made or not."""
    last_workflow: Annotated[str, Field(max_length=253)] | None = None
    """The last Workflow that was made."""
    last_successful_time: Time | None = None
    """When a Workflow last succeeded."""
    next_schedule_times: Annotated[tuple[Time, ...], Field(max_length=SHOWN_NEXT)] = ()
    """The next times, jitter not counted."""
    active_count: Annotated[int, Field(ge=0)] = 0
    """How many Workflows are not over."""
    active: Annotated[tuple[ActiveWorkflow, ...], Field(max_length=SHOWN_ACTIVE)] = ()
    """The Workflows that are not over, or the first 50 of them."""
    buffered: Annotated[tuple[BufferedStart, ...], Field(max_length=MAX_BUFFERED)] = ()
    """The starts that wait for the end of what runs."""
    started: Annotated[int, Field(ge=0)] = 0
    """How many Workflows its times have started; triggers and backfills not counted."""
    skipped: Annotated[int, Field(ge=0)] = 0
    """How many times were left out by overlapPolicy."""
    missed: Annotated[int, Field(ge=0)] = 0
    """How many times were left out because they were later than catchUpWindow allows."""
    triggers_done: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(max_length=MAX_TRIGGERS, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ()
    """The ids of the triggers that were dealt with."""
    backfills: Annotated[
        tuple[BackfillProgress, ...], Field(max_length=MAX_BACKFILLS), UniqueBy("id")
    ] = ()
    """How far the backfills have come."""
    effective_from: Time | None = None
    """Since when its times count: its creation, the last change of them, or the last pause."""
    timing: Annotated[str, Field(max_length=64)] = ""
    """The digest of what says when, to notice a change."""
    paused_by: FailurePause | None = None
    """The failure that holds it."""


class Schedule(Resource):
    """Workflows at certain times: by cron expressions, intervals or calendars."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(f"self.metadata.name.size() <= {MAX_NAME}", _LONG_NAME),
        )
    )

    KIND: ClassVar[str] = "Schedule"

    kind: Literal["Schedule"] = "Schedule"
    """The kind of this object."""
    spec: ScheduleSpec
    """When, what, and what to do when that is not simple."""
    status: ScheduleStatus = ScheduleStatus()
    """What has become of it."""

    @model_validator(mode="after")
    def _has_a_short_name(self) -> Schedule:
        if len(self.metadata.name) > MAX_NAME:
            raise ValueError(_LONG_NAME)
        return self
