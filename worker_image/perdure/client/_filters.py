"""The list filter: the part of Temporal's that the server has, equalities joined by AND."""

from __future__ import annotations

import re

from perdure.exceptions import UsageError

FIELDS = {
    "WorkflowType": "workflow_type",
    "ActivityType": "workflow_type",
    "WorkflowId": "workflow_id",
    "ActivityId": "workflow_id",
    "ExecutionStatus": "status",
}
"""What can be asked for, and what the server calls it."""

_TERM = re.compile(r"""\s*(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)")\s*""")
_AND = re.compile(r"AND\b", re.IGNORECASE)


def parse_filter(query: str | None) -> dict[str, str]:
    """Return the fields of a list request that a filter asks for.

    Args:
        query: e.g. ``WorkflowType='Order' AND ExecutionStatus='Running'``.

    Raises:
        UsageError: it asks for something else.
    """
    text = (query or "").strip()
    wanted: dict[str, str] = {}
    place = 0
    while place < len(text) or (place and text):
        term = _TERM.match(text, place)
        if term is None or term[1] not in FIELDS:
            raise UsageError(
                f"cannot understand the filter {text!r} from {text[place:]!r} on: write "
                f"FIELD='value', joined by AND, with the fields {', '.join(FIELDS)}"
            )
        wanted[FIELDS[term[1]]] = term[2] if term[2] is not None else term[3]
        if term.end() == len(text):
            break
        join = _AND.match(text, term.end())
        if join is None:
            raise UsageError(f"expected AND in the filter {text!r} before {text[term.end() :]!r}")
        place = join.end()
    return wanted
