"""The token by which a server tells the leading operator from one that has led before.

It is sent with every call in :data:`HEADER`. Each leader's is newer than that of the one before;
once the server has seen a newer one it refuses the older (``Fenced``), so that a call that was
held up somewhere between the check and the socket does nothing when it arrives late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

HEADER = "Perdure-Fencing-Token"


@dataclass(frozen=True, slots=True, kw_only=True)
class FencingToken:
    """Whose term it is."""

    scope: str
    """What is led: the Lease's ``namespace/name``. Tokens of two scopes are not compared."""
    epoch: int
    """When the Lease was made, in seconds: one that is made anew counts its terms from 0."""
    term: int
    """Counts who has had the Lease."""

    def is_older_than(self, other: FencingToken) -> bool:
        """Tell whether the other one is that of a later term."""
        return (self.epoch, self.term) < (other.epoch, other.term)

    def __str__(self) -> str:
        return f"{self.scope} {self.epoch}.{self.term}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the token that a header's value holds.

        Raises:
            ValueError: it holds none.
        """
        scope, _, number = text.rpartition(" ")
        epoch, _, term = number.partition(".")
        if not scope or not (epoch.isascii() and epoch.isdigit() and term.isdigit()):
            raise ValueError(f"{text!r} is no fencing token: it is written SCOPE EPOCH.TERM")
        return cls(scope=scope, epoch=int(epoch), term=int(term))
