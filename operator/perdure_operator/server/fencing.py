"""Refusing operators that lead no more; see :mod:`perdure.protocol.fencing`.

The newest token is kept in memory, by who sent it, so that nobody can fence off what is not
theirs. A server that starts anew knows none: a call from before its start cannot reach it, since
its connection is gone, and the leader's polls bring the newest token within seconds (ADR 0023).
"""

from __future__ import annotations

from perdure.protocol.fencing import FencingToken
from perdure_operator.server.errors import VerbError

MAX_SCOPES = 1024
"""More than operators there are at one server; beyond it the longest unused is forgotten."""


class Fences:
    """The newest token of every scope."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], FencingToken] = {}

    def check(self, username: str, header: str | None) -> None:
        """Return when the call is not one of a term that is over.

        Raises:
            VerbError: ``Fenced``, or ``Invalid`` for a header that is no token.
        """
        if header is None:
            return
        try:
            token = FencingToken.parse(header)
        except ValueError as error:
            raise VerbError("Invalid", str(error)) from error
        key = (username, token.scope)
        newest = self._newest.pop(key, token)
        self._newest[key] = newest if token.is_older_than(newest) else token
        if len(self._newest) > MAX_SCOPES:
            del self._newest[next(iter(self._newest))]
        if token.is_older_than(newest):
            raise VerbError(
                "Fenced",
                f"nothing was done: the caller led {token.scope} in term {token.term}, and term "
                f"{newest.term} has begun",
            )
