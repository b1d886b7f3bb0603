"""Durations as people write them on a command line: ``60s``, ``1h30m``, ``250ms``."""

from __future__ import annotations

import re
from datetime import timedelta

from perdure.cli.errors import CommandError

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def read_duration(option: str, text: str) -> timedelta:
    """Return a duration; a bare number is seconds.

    Raises:
        CommandError: it is none, or not above zero.
    """
    given = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", given):
        given = f"{given}s"
    parts = _PART.findall(given)
    total = sum((float(count) * _UNITS[unit] for count, unit in parts), timedelta())
    if "".join(count + unit for count, unit in parts) != given or total <= timedelta():
        raise CommandError(f"{option} {text!r} is no duration: write 60s, 5m, 1h30m or 250ms")
    return total
