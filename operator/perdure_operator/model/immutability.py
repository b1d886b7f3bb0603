"""CEL rules that keep what defines a run or an activity from being changed.

A rule at a field is not checked when the field is added or removed, so optional fields are
compared at their parent. (Comparing them as CEL optionals would be shorter, but the API server
cannot bound its cost.) Fields that hold any JSON are invisible to CEL, yet count
when a whole object is compared: that is what the rule for them uses.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure_operator.model.fields import cel


def immutable(
    *fields: str, hidden: Sequence[str] = (), mutable: Sequence[str], remedy: str
) -> list[dict[str, str]]:
    """Return the rules by which only the mutable fields of an object can be changed.

    Args:
        fields: What can be neither set, changed nor removed later.
        hidden: What cannot either, but holds any JSON.
        mutable: All other fields.
        remedy: What to do instead, for the error message.
    """
    rules = [
        cel(_is_unchanged(field), f"{field} cannot be changed: {remedy}", field=field)
        for field in fields
    ]
    if hidden:
        rules.append(_hidden_are_unchanged(hidden, visible=[*fields, *mutable], remedy=remedy))
    return rules


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


def _is_unchanged(field: str) -> str:
    return (
        f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    )
