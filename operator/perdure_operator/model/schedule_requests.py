"""What is asked of a Schedule once: triggers and backfills, and what either does about overlaps."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from perdure_operator.model.fields import SpecModel, Time, cel, cel_rules, written
from perdure_operator.model.schedule_times import BACKWARDS

_REQUEST_ID = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

RequestId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=50,
        pattern=_REQUEST_ID,
        json_schema_extra=cel_rules(
            written(_REQUEST_ID, "write an id with lower case letters, digits and - alone")
        ),
    ),
]
"""The id of a trigger or a backfill; it becomes part of Workflows' names."""


def _unchanged(what: str) -> dict[str, str]:
    return cel(
        "self == oldSelf",
        f"a {what} cannot be changed once it is there: append another one with a new id",
    )


class OverlapPolicy(StrEnum):
    """What happens when it is time and an earlier Workflow of the Schedule is not over."""

    SKIP = "Skip"
    """Nothing: this time is left out."""
    BUFFER_ONE = "BufferOne"
    """One start waits for the end of what runs; further times are left out meanwhile."""
    BUFFER_ALL = "BufferAll"
    """Every start waits its turn."""
    CANCEL_OTHER = "CancelOther"
    """What runs is canceled, and this one starts when that is over."""
    TERMINATE_OTHER = "TerminateOther"
    """What runs is ended without being asked, and this one starts then."""
    ALLOW_ALL = "AllowAll"
    """It starts besides."""


class Trigger(SpecModel):
    """One start out of turn."""

    model_config = ConfigDict(json_schema_extra=cel_rules(_unchanged("trigger")))

    id: RequestId
    """What tells this trigger from all others of this Schedule; each id is done once."""
    overlap_policy: OverlapPolicy = OverlapPolicy.ALLOW_ALL
    """What happens if a Workflow of the Schedule is not over."""


class Backfill(SpecModel):
    """Times of the past, or any others, to be done now as if they were due."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel("timestamp(self.end) >= timestamp(self.start)", BACKWARDS), _unchanged("backfill")
        )
    )

    id: RequestId
    """What tells this backfill from all others of this Schedule; each id is done once."""
    start: Time
    """The first instant that may be a firing."""
    end: Time
    """The last one."""
    overlap_policy: OverlapPolicy = OverlapPolicy.BUFFER_ALL
    """What happens if a Workflow of the Schedule is not over."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> Backfill:
        if self.end < self.start:
            raise ValueError(BACKWARDS)
        return self
