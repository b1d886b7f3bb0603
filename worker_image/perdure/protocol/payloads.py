"""User data as it travels: bytes with a note of how they were encoded.

The shape is Temporal's (metadata with the encoding, and data), so that its converters,
codecs and histories carry over.
"""

from __future__ import annotations

import msgspec

Millis = int
"""An instant (since the Unix epoch, UTC) or a duration, in milliseconds."""

MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
"""The most that one payload may hold; more is refused where it is first seen."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """One encoded value."""

    metadata: dict[str, bytes] = {}
    """How to read ``data``: ``encoding`` is always there, e.g. ``b"json/plain"``."""
    data: bytes = b""

    @property
    def size(self) -> int:
        """The bytes that this payload takes, metadata included."""
        return len(self.data) + sum(len(k) + len(v) for k, v in self.metadata.items())


Payloads = tuple[Payload, ...]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a failed attempt is tried again; durations in milliseconds."""

    initial_interval: Millis = 1000
    backoff_coefficient: float = 2.0
    maximum_interval: Millis = 0
    """Cap of the delay between attempts; 0 means 100 times ``initial_interval``."""
    maximum_attempts: int = 0
    """0 means no limit."""
    non_retryable_error_types: tuple[str, ...] = ()
