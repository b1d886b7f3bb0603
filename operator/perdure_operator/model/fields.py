"""The building blocks of the custom resources' models: field types and their two base classes.

Each type carries both meanings at once: how a value is read into Python, and which structural
schema the API server gets for it. What belongs to one kind only is in that kind's module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from perdure_operator.model.durations import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    DurationError,
    format_duration,
    parse_duration,
)

JsonValue = Any
"""A value of the user's: any JSON. It is carried, never looked into."""


class CamelModel(BaseModel):
    """Python names inside, camelCase in manifests; docstrings of fields become descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        frozen=True,
    )


class SpecModel(CamelModel):
    """What a user wrote. An unknown field is an error: a typing mistake must not be ignored."""

    model_config = ConfigDict(extra="forbid")


class StatusModel(CamelModel):
    """What an operator wrote, maybe a newer one: fields that are not known here are skipped."""

    model_config = ConfigDict(extra="ignore")


RULES = "x-kubernetes-validations"
"""The word of a schema that holds the rules in CEL."""


def cel(rule: str, message: str, *, field: str | None = None) -> dict[str, str]:
    """Return a rule of a schema, which the API server checks at every write.

    Args:
        rule: An expression in CEL that must be true.
        message: What is wrong and what to write instead.
        field: The path below the validated object that the error is reported at.
    """
    validation = {"rule": rule, "message": message}
    return validation | {"fieldPath": f".{field}"} if field else validation


def cel_rules(*rules: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema extension that holds ``rules``."""
    return {RULES: [dict(rule) for rule in rules]}


def _read_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise DurationError(str(value), "it is not text")


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta():
        raise ValueError("a duration cannot be negative")
    return value


def _longer_than_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("a duration longer than zero is needed, such as 30s")
    return value


def written(pattern: str, how: str) -> dict[str, str]:
    """Return the rule that a text must match ``pattern``; ``how`` tells how to write it."""
    return cel(f"self.matches(r'{pattern}')", how)


_WRITTEN = written(
    DURATION_PATTERN,
    "write whole numbers with their units (d, h, m, s, ms), for example 30s, 5m, 1h30m or 30d",
)
_DURATION_SCHEMA = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "maxLength": DURATION_MAX_LENGTH,
}

Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    AfterValidator(_not_negative),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA | cel_rules(_WRITTEN)),
]
"""A time span, zero allowed, written like ``1h30m``."""

PositiveDuration = Annotated[
    Duration,
    AfterValidator(_longer_than_zero),
    WithJsonSchema(
        _DURATION_SCHEMA
        | cel_rules(
            _WRITTEN,
            cel("self.matches('[1-9]')", "must be longer than zero, such as 30s or 1h30m"),
        )
    ),
]
"""A time span longer than zero."""


def _format_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


Time = Annotated[
    AwareDatetime,
    PlainSerializer(_format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant, written to the second in UTC, as Kubernetes writes its own."""

AnyJson = Annotated[
    JsonValue, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True, "nullable": True})
]
"""Any JSON value, kept as it is."""

AnyObject = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""Any JSON object, kept as it is."""

_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=_NAME,
        json_schema_extra=cel_rules(
            written(
                _NAME,
                "write the name of an object in the same namespace: lower case letters, digits, "
                "- and .",
            )
        ),
    ),
]
"""The name of another object in the same namespace."""

_IMAGE = r"^[^\s]+$"

ImageName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        pattern=_IMAGE,
        json_schema_extra=cel_rules(
            written(
                _IMAGE, "write an image without spaces, for example registry.example/orders:1.4"
            )
        ),
    ),
]
"""A container's image."""

TypeName = Annotated[str, Field(min_length=1, max_length=255)]
"""The name under which code registered a workflow or an activity."""

QueueName = Annotated[str, Field(min_length=1, max_length=255)]
"""The name of a task queue."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """Text for a status: what is longer is cut, so that no status is ever refused."""

    limit: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Cut first, and state the limit in the schema."""
        return core_schema.no_info_before_validator_function(
            self.clip, core_schema.str_schema(max_length=self.limit)
        )

    def clip(self, value: object) -> object:
        """Return ``value``, ending in an ellipsis if text had to be cut off."""
        if isinstance(value, str) and len(value) > self.limit:
            return value[: self.limit - 1] + "…"
        return value


@dataclass(frozen=True, slots=True)
class UniqueBy:
    """A list whose items differ in ``key``; server-side apply merges it item by item."""

    key: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check once the items have been read."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say so to the API server."""
        return handler(schema) | {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [self.key],
        }

    def check(self, items: Sequence[BaseModel]) -> Sequence[BaseModel]:
        """Return ``items`` if no two of them have the same key."""
        seen: set[object] = set()
        for item in items:
            key = getattr(item, self.key)
            if key in seen:
                raise ValueError(f"each {self.key} may be there once, and {key!r} is there again")
            seen.add(key)
        return items
