"""Durations and instants: ``timedelta`` and aware ``datetime`` here, milliseconds on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from perdure.protocol.payloads import Millis

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def to_millis(duration: timedelta) -> Millis: ...
@overload
def to_millis(duration: timedelta | None) -> Millis | None: ...
def to_millis(duration: timedelta | None) -> Millis | None:
    """Return a duration in milliseconds, rounded up so that a short one never becomes none."""
    return None if duration is None else -(-duration // _MILLISECOND)


@overload
def from_millis(millis: Millis) -> timedelta: ...
@overload
def from_millis(millis: Millis | None) -> timedelta | None: ...
def from_millis(millis: Millis | None) -> timedelta | None:
    """Return milliseconds as a duration."""
    return None if millis is None else timedelta(milliseconds=millis)


def to_instant(moment: datetime) -> Millis:
    """Return an aware moment as milliseconds since the Unix epoch.

    Raises:
        ValueError: ``moment`` has no time zone, so it names no instant.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give it one, e.g. tzinfo=UTC")
    return (moment - _EPOCH) // _MILLISECOND


@overload
def from_instant(millis: Millis) -> datetime: ...
@overload
def from_instant(millis: Millis | None) -> datetime | None: ...
def from_instant(millis: Millis | None) -> datetime | None:
    """Return milliseconds since the Unix epoch as an aware moment in UTC."""
    return None if millis is None else _EPOCH + timedelta(milliseconds=millis)
