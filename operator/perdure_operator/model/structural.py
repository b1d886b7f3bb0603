"""From pydantic's JSON Schema to the structural schema that a CRD wants.

pydantic writes references, unions with null and titles; the API server knows none of them. What is
left is the same set of values, said in the words of apiextensions/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from perdure_operator.model.durations import format_duration
from perdure_operator.model.fields import RULES

Schema = dict[str, Any]

_REF_PREFIX = "#/$defs/"

KEPT = frozenset(
    {
        "default",
        "description",
        "enum",
        "format",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "required",
        "type",
    }
)
"""The words both kinds of schema have, with the same meaning."""

_DROPPED = frozenset({"title", "$defs"})


class SchemaError(ValueError):
    """A model uses something that a structural schema cannot say."""


def build_structural_schema(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """Return the structural schema of ``model``.

    Args:
        model: What the schema describes.
        defaults: Whether it fills in defaults: a spec's does, a status is what was written.

    Raises:
        SchemaError: The model uses something that a structural schema cannot say.
    """
    schema = model.model_json_schema(schema_generator=_Generator)
    return _Converter(definitions=schema.get("$defs", {}), defaults=defaults).convert(schema)


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with defaults written as manifests write them."""

    def encode_default(self, dft: Any) -> Any:
        """Return the default as JSON; a duration is not in ISO 8601."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return super().encode_default(dft)


class _Converter:
    """Rewrites one schema and all that it refers to."""

    def __init__(self, *, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, schema: Schema) -> Schema:
        """Return the structural form of ``schema``."""
        result: Schema = {}
        for key, value in self._flatten(schema).items():
            result |= self._convert_word(key, value)
        return dict(sorted(result.items(), key=lambda item: _ORDER.get(item[0], 0)))

    def _convert_word(self, key: str, value: Any) -> Schema:
        if key in _DROPPED or (key == "default" and (value is None or not self._defaults)):
            return {}
        # Unknown fields are the API server's business: it prunes them, or refuses them.
        if key == "additionalProperties" and value is False:
            return {}
        if key in ("items", "additionalProperties") and isinstance(value, dict):
            return {key: self.convert(value)}
        if key == "properties":
            return {key: {name: self.convert(field) for name, field in value.items()}}
        if key == "default":
            return {key: _without_nulls(value)}
        if key == "const":
            return {"enum": [value]}
        if key == "description":
            return {key: " ".join(str(value).split())}
        if key in KEPT or key.startswith("x-kubernetes-"):
            return {key: value}
        raise SchemaError(f"a structural schema has no word {key!r} (value {value!r})")

    def _flatten(self, schema: Schema) -> Schema:
        """Resolve references and unions with null; what is said outside wins."""
        outside = {k: v for k, v in schema.items() if k not in ("$ref", "anyOf")}
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REF_PREFIX)
            return _overlay(self._flatten(self._definitions[name]), outside)
        if "anyOf" in schema:
            options = [option for option in schema["anyOf"] if option != {"type": "null"}]
            if len(options) != 1:
                raise SchemaError(f"a structural schema has no unions: {schema['anyOf']!r}")
            return _overlay(self._flatten(options[0]), outside)
        return outside


def _overlay(inside: Schema, outside: Schema) -> Schema:
    """Return one schema of two; what is said outside wins, but rules add up."""
    if RULES in inside and RULES in outside:
        outside = outside | {RULES: [*inside[RULES], *outside[RULES]]}
    return inside | outside


def _without_nulls(value: Any) -> Any:
    """Leave out what is not set by default; null is no value of an optional field."""
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return value


# Readers meet what a field is for and its type before its details.
_ORDER = {"description": -3, "type": -2, "properties": 1, "items": 1, "required": 2} | {
    "x-kubernetes-validations": 3
}
