"""Durations as people write them in manifests: ``30d``, ``2h``, ``1h30m``, ``500ms``.

The grammar is one or more whole numbers, each with its unit, added up. It is kept no stricter and
no looser than :data:`DURATION_PATTERN`, which the API server checks: whatever it accepts can be
read here, so that a manifest is refused when it is applied and never later.
"""

from __future__ import annotations

import re
from datetime import timedelta

DURATION_PATTERN = "^([0-9]{1,9}(ms|d|h|m|s)){1,5}$"
"""What the API server checks; RE2 and Python read it alike."""

DURATION_MAX_LENGTH = 64
"""More than five numbers of nine digits with their units can take."""

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_WHOLE = re.compile(DURATION_PATTERN, re.ASCII)
_PART = re.compile("([0-9]+)(ms|d|h|m|s)")


class DurationError(ValueError):
    """A duration is not written as numbers with units, such as 30s, 5m, 2h, 30d or 1h30m."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(
            f"{text!r} is not a duration: {why}. Write whole numbers with their units (d, h, m, s, "
            f"ms), for example 30s, 5m, 1h30m or 30d"
        )
        self.text = text


def parse_duration(text: str) -> timedelta:
    """Return the time that ``text`` names.

    Raises:
        DurationError: The text does not have the form, or is longer than a timedelta can hold.
    """
    # fullmatch, because Python's $ would let a trailing newline through.
    if not _WHOLE.fullmatch(text):
        raise DurationError(text, _explain(text))
    try:
        return sum((int(n) * _UNITS[unit] for n, unit in _PART.findall(text)), timedelta())
    except OverflowError as error:
        raise DurationError(text, "it is longer than 999999999 days") from error


def format_duration(duration: timedelta) -> str:
    """Return the shortest way to write ``duration``; what is finer than 1 ms is cut off.

    Raises:
        ValueError: The duration is negative.
    """
    if duration < timedelta():
        raise ValueError(f"a duration cannot be negative: {duration}")
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, duration = divmod(duration, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _explain(text: str) -> str:
    if not text:
        return "it is empty"
    if re.fullmatch("[0-9]+", text):
        return "its unit is missing"
    if "." in text:
        return "fractions are not allowed (1.5h is 1h30m)"
    if text.startswith("-"):
        return "it cannot be negative"
    return "it does not have that form"
