"""Pod templates that users lay over the operator's: as much of their shape as is relied upon.

A pod has hundreds of fields, and newer API servers have more; they are carried and never looked
into. What is looked into has a schema, so that a template without ``spec`` around it, or a
container without a name, is refused when it is applied. The API server looks at the rest when a Job
is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from perdure_operator.model.fields import JsonValue, cel, cel_rules

NOT_YOURS = (
    "leave out restartPolicy and activeDeadlineSeconds: what fails gets a new pod, and "
    "retryPolicy, timeouts and scaling.idleAfter say how often and how long"
)
ONLY_PARTS = "a pod template has metadata and spec: put the fields of a pod below spec"

_NAMED_LISTS = ("containers", "initContainers", "volumes")
"""Merged by name, so each entry needs one."""


def _check(template: dict[str, JsonValue]) -> dict[str, JsonValue]:
    strange = sorted(template.keys() - {"metadata", "spec"})
    if strange:
        raise ValueError(f"{ONLY_PARTS} (there is {', '.join(strange)})")
    metadata, spec = _fields_of(template, "metadata"), _fields_of(template, "spec")
    _fields_of(metadata, "labels")
    _fields_of(metadata, "annotations")
    if spec.get("restartPolicy", "Never") != "Never" or "activeDeadlineSeconds" in spec:
        raise ValueError(NOT_YOURS)
    for field in _NAMED_LISTS:
        _check_named(f"spec.{field}", spec.get(field, []))
    return template


def _fields_of(parent: Mapping[str, JsonValue], field: str) -> Mapping[str, JsonValue]:
    value = parent.get(field)
    if value is not None and not isinstance(value, dict):
        raise _wrong(f"{field} must be an object with fields, not {value!r}")
    return value or {}


def _check_named(path: str, entries: JsonValue) -> None:
    if not isinstance(entries, list):
        raise _wrong(f"{path} must be a list, not {entries!r}")
    for place, entry in enumerate(entries):
        _check_name(entry, f"{path}[{place}]")


def _check_name(entry: JsonValue, path: str = "it") -> JsonValue:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _wrong(f"{path} has no name, and such entries are told apart by their names")
    return entry


def _wrong(message: str) -> ValueError:
    """Return the error that pydantic takes for a wrong value; it would raise a TypeError on."""
    return ValueError(message)


_NAMED: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "name": {
            "description": "What tells it from the others; one of this name is changed.",
            "type": "string",
            "minLength": 1,
            "maxLength": 63,
        }
    },
    "required": ["name"],
}


def _named(description: str) -> dict[str, Any]:
    return {"description": description, "type": "array", "maxItems": 64, "items": _NAMED}


def _words(description: str, *, length: int) -> dict[str, Any]:
    value = {"type": "string", "maxLength": length}
    return {"description": description, "type": "object", "additionalProperties": value}


_OURS = "It is the operator's: leave it out."

_SPEC: dict[str, Any] = {
    "description": "The fields of a pod's spec that are to be different.",
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "containers": _named("The pod's containers."),
        "initContainers": _named("What runs before them, and sidecars."),
        "volumes": _named("The pod's volumes."),
        "restartPolicy": {"description": _OURS, "type": "string", "maxLength": 16},
        "activeDeadlineSeconds": {"description": _OURS, "type": "integer"},
    },
} | cel_rules(
    cel(
        "(!has(self.restartPolicy) || self.restartPolicy == 'Never') && "
        "!has(self.activeDeadlineSeconds)",
        NOT_YOURS,
    )
)

_METADATA: dict[str, Any] = {
    "description": "Labels and annotations of the pods.",
    "type": "object",
    "properties": {
        "labels": _words("The pods' labels.", length=63),
        "annotations": _words("The pods' annotations.", length=32768),
    },
}

PodTemplate = Annotated[
    dict[str, JsonValue],
    AfterValidator(_check),
    WithJsonSchema({"type": "object", "properties": {"metadata": _METADATA, "spec": _SPEC}}),
]
"""A pod template: ``metadata`` and ``spec``; what is left out is as the operator has it."""

NamedObject = Annotated[dict[str, JsonValue], AfterValidator(_check_name), WithJsonSchema(_NAMED)]
"""An entry of a list that is told from the others by its name, such as a volume."""
