"""Where log records of a process of ours go: standard error, one line each."""

from __future__ import annotations

import logging
import sys

from perdure.cli.errors import CommandError

_LEVELS = ("debug", "info", "warning", "error", "critical")


def set_up_logging(level: str) -> None:
    """Log to standard error from ``level`` on.

    Raises:
        CommandError: there is no such level.
    """
    if level.lower() not in _LEVELS:
        raise CommandError(f"--log-level {level} is none of {', '.join(_LEVELS)}")
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
