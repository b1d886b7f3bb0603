"""When a Schedule's times are: intervals, and calendars that name local times by their parts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from perdure_operator.model.fields import (
    Duration,
    PositiveDuration,
    SpecModel,
    cel,
    cel_rules,
)

BACKWARDS = "end lies before start"

_BOUNDS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "dayOfMonth": (1, 31),
    "month": (1, 12),
    "dayOfWeek": (0, 6),
    "year": (1970, 9999),
}


class CalendarRange(SpecModel):
    """The values from start to end, every step-th of them."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(cel("!has(self.end) || self.end >= self.start", BACKWARDS))
    )

    start: Annotated[int, Field(ge=0, le=9999)]
    """The first value."""
    end: Annotated[int, Field(ge=0, le=9999)] | None = None
    """The last value. Without it: start alone."""
    step: Annotated[int, Field(ge=1, le=9999)] = 1
    """The distance from one value to the next."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> CalendarRange:
        if self.end is not None and self.end < self.start:
            raise ValueError(BACKWARDS)
        return self


def _between(name: str) -> AfterValidator:
    low, high = _BOUNDS[name]

    def check(ranges: tuple[CalendarRange, ...] | None) -> tuple[CalendarRange, ...] | None:
        for each in ranges or ():
            if each.start < low or (each.end or 0) > high or each.start > high:
                raise ValueError(f"{name} goes from {low} to {high}")
        return ranges

    return AfterValidator(check)


_Ranges = Annotated[tuple[CalendarRange, ...], Field(min_length=1, max_length=32)]


def _bound_rules() -> dict[str, Any]:
    return cel_rules(
        *(
            cel(
                f"!has(self.{name}) || self.{name}.all(r, r.start >= {low} && r.start <= {high} "
                f"&& (!has(r.end) || r.end <= {high}))",
                f"{name} goes from {low} to {high}",
                field=name,
            )
            for name, (low, high) in _BOUNDS.items()
        )
    )


class Calendar(SpecModel):
    """Local times by their parts; a time matches if each part does."""

    model_config = ConfigDict(json_schema_extra=_bound_rules())

    second: Annotated[_Ranges | None, _between("second")] = None
    """Seconds, 0 to 59. Without it: 0; in skip: all."""
    minute: Annotated[_Ranges | None, _between("minute")] = None
    """Minutes, 0 to 59. Without it: 0; in skip: all."""
    hour: Annotated[_Ranges | None, _between("hour")] = None
    """Hours, 0 to 23. Without it: 0; in skip: all."""
    day_of_month: Annotated[_Ranges | None, _between("dayOfMonth")] = None
    """Days of the month, 1 to 31. Without it: all."""
    month: Annotated[_Ranges | None, _between("month")] = None
    """Months, 1 to 12. Without it: all."""
    day_of_week: Annotated[_Ranges | None, _between("dayOfWeek")] = None
    """Days of the week, 0 (Sunday) to 6 (Saturday). Without it: all."""
    year: Annotated[_Ranges | None, _between("year")] = None
    """Years. Without it: all."""
    comment: Annotated[str, Field(max_length=256)] = ""
    """What these times are, for readers."""


class Interval(SpecModel):
    """Every so often, counted from midnight UTC of 1 January 1970."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "!self.every.contains('ms') && (!has(self.offset) || !self.offset.contains('ms'))",
                "every and offset must be whole seconds: write them without ms",
            )
        )
    )

    every: PositiveDuration
    """The time from one firing to the next, in whole seconds."""
    offset: Duration = timedelta()
    """By how much all firings are later; shorter than every."""

    @model_validator(mode="after")
    def _fits(self) -> Interval:
        if self.every % timedelta(seconds=1) or self.offset % timedelta(seconds=1):
            raise ValueError("every and offset must be whole seconds")
        if self.offset >= self.every:
            raise ValueError("offset must be shorter than every")
        return self
