"""Saying once that something is away and once that it is back, however many calls fail between."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

REMINDER = 300.0
"""Seconds after which what is still away is said again."""


class Outages:
    """What is away, by what answers to calls tell."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def api_call(self, status: int) -> None:
        """Take the HTTP status of an answer of the Kubernetes API; 0: there was none."""
        if status in {0, 429} or status >= 500:
            self._is_away("the Kubernetes API", f"HTTP {status}" if status else "no answer")
        else:
            self._is_back("the Kubernetes API")

    def server_call(self, code: str) -> None:
        """Take the error code of an answer of the Perdure server; empty: it went well."""
        if code == "Unavailable":
            self._is_away("the Perdure server", "no answer, or it cannot record anything")
        else:
            self._is_back("the Perdure server")

    def _is_away(self, what: str, why: str) -> None:
        now = self._clock()
        since = self._since.setdefault(what, now)
        if now - self._said.get(what, -REMINDER) < REMINDER:
            return
        self._said[what] = now
        for_how_long = f" for {now - since:.0f} s" if now > since else ""
        logger.warning(
            "%s is away%s (%s): what it has to do with waits, and is tried again",
            what,
            for_how_long,
            why,
        )

    def _is_back(self, what: str) -> None:
        since = self._since.pop(what, None)
        if since is not None:
            self._said.pop(what, None)
            logger.info("%s is back after %.1f s", what, self._clock() - since)


_ATTEMPT = re.compile(r"Request attempt #\S+ failed.*?: (\w+ [^\s?]+)")


class SeldomRetries(logging.Filter):
    """Lets kopf say once in a while that a request is tried again, and not each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written."""
        found = _ATTEMPT.search(record.getMessage()) if record.name.startswith("kopf") else None
        if found is None:
            return True
        now, what = self._clock(), found[1]
        if now - self._said.get(what, -REMINDER) < REMINDER:
            return False
        self._said[what] = now
        return True
