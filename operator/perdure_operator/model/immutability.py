"""CEL rules that keep what defines a run or an activity from being changed.

A rule at a field is not checked when the field is added or removed, so optional fields are
compared at their parent, as optionals. Fields that hold any JSON are invisible to CEL, yet count
when a whole object is compared: that is what :func:`nothing_else_changes` uses.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure_operator.model.fields import cel


def immutable(*fields: str, remedy: str) -> list[dict[str, str]]:
    """Return a rule for each field: it can be neither set, changed nor removed later."""
    return [
        cel(
            f"self.?{field} == oldSelf.?{field}",
            f"{field} cannot be changed: {remedy}",
            field=field,
        )
        for field in fields
    ]


def nothing_else_changes(
    *hidden: str, mutable: Sequence[str], optional: Sequence[str] = (), remedy: str
) -> dict[str, str]:
    """Return a rule for the fields that CEL cannot see, because they hold any JSON.

    An object that differs, though none of its mutable fields does, differs in something that must
    not change. An update that changes a mutable field as well is not caught here; the operator
    compares with what the run was started with, and says so.
    """
    may_differ = [f"self.{field} != oldSelf.{field}" for field in mutable]
    may_differ += [f"self.?{field} != oldSelf.?{field}" for field in optional]
    names = " and ".join(hidden)
    return cel(
        " || ".join(["self == oldSelf", *may_differ]),
        f"{names} cannot be changed: {remedy}",
        field=hidden[0],
    )
