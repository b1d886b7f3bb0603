"""What else a person may have meant by the id of a run that there is none of."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client import Service

_MISSING = re.compile(r"no run of '(?P<id>[^']+)' in namespace '(?P<namespace>[^']*)'")
_LOOKED_AT = 500
"""Of the newest runs of the namespace."""

_NAMED = 3


async def with_near_misses(service: Service, message: str) -> str:
    """Return the server's message that there is no such run, with what there is instead.

    Any other message is returned as it is, and so is this one when runs cannot be listed.
    """
    from perdure.client import RPCError
    from perdure.protocol.verbs import ListRequest

    missing = _MISSING.match(message)
    if missing is None:
        return message
    namespace = missing["namespace"]
    try:
        found = await service.call(ListRequest(namespace=namespace, limit=_LOOKED_AT))
    except RPCError:
        return message
    names = near_misses(missing["id"], dict.fromkeys(each.workflow_id for each in found.runs))
    if names:
        return f"{message}: did you mean {' or '.join(map(repr, names))}?"
    elsewhere = "" if found.runs else ", which has no runs at all"
    return f"{message}{elsewhere}: `perdure list --all-namespaces` shows what there is"


def near_misses(wanted: str, there: dict[str, None]) -> list[str]:
    """Return the ids that are most like the one that is wanted, the likeliest first."""
    by_lower = {each.lower(): each for each in there}
    close = get_close_matches(wanted.lower(), by_lower, n=_NAMED, cutoff=0.7)
    begun = [each for each in by_lower if each.startswith(wanted.lower())]
    return [by_lower[each] for each in dict.fromkeys([*close, *begun])][:_NAMED]
