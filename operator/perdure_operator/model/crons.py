"""Cron expressions: what the API server accepts, and what is read.

Five fields (minute, hour, day of month, month, day of week) or one of the usual names. The pattern
is checked when a manifest is applied; what a pattern cannot see (a range that runs backwards, the
31st of February) the library that evaluates the expression finds when the object is read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

CRON_MAX_LENGTH = 128

NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What each name stands for."""


HOW_TO_WRITE = (
    "write minute, hour, day of month, month and day of week, for example 0 9 * * MON-FRI, or "
    "@hourly, @daily, @weekly, @monthly or @yearly; for times that are evenly spaced use "
    "intervals, and for seconds calendars"
)


def _field(value: str, steps: str) -> str:
    part = rf"(\*|{value}(-{value})?)(/{steps})?"
    return f"{part}(,{part})*"


def _words(*words: str) -> str:
    """Return a pattern for the words in either case."""
    return "|".join("".join(f"[{c}{c.lower()}]" for c in word) for word in words)


_MINUTE = "[0-5]?[0-9]"
_HOUR = "([01]?[0-9]|2[0-3])"
_DAY = "(0?[1-9]|[12][0-9]|3[01])"
_MONTHS = "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"
_MONTH = f"(0?[1-9]|1[0-2]|{_words(*_MONTHS)})"
_WEEKDAY = f"([0-7]|{_words('SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT')})"

# A longer step names one time of its field alone: */90 is every hour, not every 90 minutes.
_UP_TO_59 = "([1-9]|[1-5][0-9])"
_UP_TO_31 = "([1-9]|[12][0-9]|3[01])"
_UP_TO_23 = "([1-9]|1[0-9]|2[0-3])"
_UP_TO_12 = "([1-9]|1[0-2])"
_UP_TO_7 = "[1-7]"

CRON_PATTERN = (
    f"^(@({'|'.join(name[1:] for name in NAMES)})|"
    f"{_field(_MINUTE, _UP_TO_59)} +{_field(_HOUR, _UP_TO_23)} +"
    f"({_field(_DAY, _UP_TO_31)}|[Ll][Ww]?) +{_field(_MONTH, _UP_TO_12)} +"
    f"({_field(_WEEKDAY, _UP_TO_7)}|[0-7][Ll]|{_WEEKDAY}#[1-5]))$"
)
"""What the API server checks; RE2 and Python read it alike."""
_WHOLE = re.compile(CRON_PATTERN, re.ASCII)


def expand(expression: str) -> str:
    """Return the five fields of an expression."""
    return NAMES.get(expression.lower(), expression)


def check_cron(expression: str) -> str:
    """Return the expression if it can be evaluated.

    Raises:
        ValueError: It cannot; the message says which field is wrong.
    """
    if not _WHOLE.fullmatch(expression):
        raise ValueError(f"{expression!r} is not a cron expression: {HOW_TO_WRITE}")
    try:
        CronSim(expand(expression), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"{expression!r} is not a cron expression ({str(error).lower()}): {HOW_TO_WRITE}"
        ) from error
    return expression
