"""A value that nobody has decoded yet."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.protocol.payloads import Payload


@dataclass(frozen=True)
class RawValue:
    """An encoded value as it travels: a hint of this type asks for it undecoded.

    Given as an argument or returned, it is sent as it is.
    """

    payload: Payload
