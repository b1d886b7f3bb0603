"""CEL rules that keep what defines a run or an activity from being changed.

A rule at a field compares the field's own value, and is not checked when the field is added or
removed; so that an optional field is there, or is not, is compared at its parent. (Comparing it as
a CEL optional would be shorter, but the API server cannot bound its cost.) Fields that hold any
JSON are invisible to CEL, yet count when a whole object is compared: that is what the rule for
them uses.

All of them are checked at every write, a status or a finalizer too, and for each field that a rule
names of its object the API server builds the schemas of all fields there: rules at the fields
themselves cost it next to nothing (ADR 0026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perdure_operator.model.fields import RULES, cel


def immutable(
    *fields: str,
    hidden: Sequence[str] = (),
    mutable: Sequence[str],
    remedy: str,
    others: Sequence[Mapping[str, str]] = (),
) -> Callable[[dict[str, Any]], None]:
    """Return what adds the rules by which only the mutable fields of an object can be changed.

    Args:
        fields: What can be neither set, changed nor removed later.
        hidden: What cannot either, but holds any JSON.
        mutable: All other fields.
        remedy: What to do instead, for the error message.
        others: Rules of the object besides.
    """

    def extend(schema: dict[str, Any]) -> None:
        required, properties = schema.get("required", ()), schema["properties"]
        rules = [dict(rule) for rule in others]
        for field in fields:
            message, shown = f"{field} cannot be changed: {remedy}", properties[field]
            shown[RULES] = [*shown.get(RULES, ()), cel("self == oldSelf", message)]
            if field not in required and shown.get("default") is None:
                rules.append(cel(_is_still_there(field), message, field=field))
        if hidden:
            visible = [*fields, *mutable]
            rules.append(_hidden_are_unchanged(hidden, visible=visible, remedy=remedy))
        schema[RULES] = rules

    return extend


def _hidden_are_unchanged(
    hidden: Sequence[str], *, visible: Sequence[str], remedy: str
) -> dict[str, str]:
    """Return the rule for the fields that CEL cannot see.

    An object that differs, though none of its visible fields does, differs in a hidden one. An
    update that changes a mutable field as well is not caught here; the operator compares with what
    was started, and says so.
    """
    some_visible_changes = " || ".join(f"!({_is_unchanged(field)})" for field in visible)
    return cel(
        f"self == oldSelf || {some_visible_changes}",
        f"{' and '.join(hidden)} cannot be changed: {remedy}",
        field=hidden[0],
    )


def _is_still_there(field: str) -> str:
    return f"has(self.{field}) == has(oldSelf.{field})"


def _is_unchanged(field: str) -> str:
    return f"{_is_still_there(field)} && (!has(self.{field}) || self.{field} == oldSelf.{field})"
