"""Sending notices to the API server, as events.k8s.io/v1, beside everything else.

Nobody waits for a notice and nothing fails with one: :meth:`Poster.post` takes a note and returns.
The same notice again becomes a series: one Event with a count. What comes faster than the bucket
lets through is dropped and counted, so that ten thousand runs at once are not slowed down by
twenty thousand Events that nobody reads; the statuses say the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure_operator.cluster import EVENTS, Cluster, ClusterError, Manifest
from perdure_operator.controllers.notices import NOTE_LENGTH, Notice

logger = logging.getLogger(__name__)

CONTROLLER = "perdure.dev/operator"
RATE, BURST = 2.0, 100
"""Events a second, and at once after a pause."""
REMEMBERED = 1000
SERIES_WINDOW = timedelta(minutes=10)
"""A notice that comes again after longer than this is told as a new one."""


@dataclass(slots=True, kw_only=True)
class _Series:
    """A notice and how often it came."""

    manifest: Manifest
    count: int
    last: datetime
    is_waiting: bool = True


class Poster:
    """Posts notices from one operator.

    Args:
        cluster: Where to.
        instance: Which operator it is.
        count: Told ``sent``, ``merged``, ``dropped`` or ``failed`` of each notice.
    """

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        *,
        count: Callable[[str], None] = lambda _what: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._instance = cluster, instance[:128]
        self._count, self._now = count, now
        self._known: OrderedDict[str, _Series] = OrderedDict()
        self._waiting: deque[_Series] = deque()
        self._wake = asyncio.Event()
        self._tokens, self._filled = float(BURST), now()

    def post(self, regarding: Manifest, notice: Notice) -> None:
        """Have a notice be sent, soon, if there is room for it."""
        key, time = _key(regarding, notice), self._now()
        known = self._known.get(key)
        if known is not None and time - known.last < SERIES_WINDOW:
            known.count += 1
            known.last = time
            self._count("merged")
            if known.is_waiting or not self._has_token(time):
                return
            known.is_waiting = True
            self._send_soon(known)
            return
        if not self._has_token(time):
            self._count("dropped")
            return
        manifest = _build(regarding, notice, name=f"{key}-{int(time.timestamp()):x}", time=time)
        manifest["reportingInstance"] = self._instance
        series = _Series(manifest=manifest, count=1, last=time)
        self._known[key] = series
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._send_soon(series)

    async def send(self) -> None:
        """Send what is to be sent, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send(self._waiting.popleft())

    async def _send(self, series: _Series) -> None:
        series.is_waiting = False
        manifest = dict(series.manifest)
        if series.count > 1:
            manifest["series"] = {
                "count": series.count,
                "lastObservedTime": _stamp(series.last),
            }
        try:
            await self._cluster.apply(EVENTS, manifest)
        except ClusterError as error:
            self._count("failed")
            logger.debug("a notice was not sent: %s", error)
        else:
            self._count("sent")

    def _send_soon(self, series: _Series) -> None:
        self._waiting.append(series)
        self._wake.set()

    def _has_token(self, time: datetime) -> bool:
        since = max(0.0, (time - self._filled).total_seconds())
        self._tokens, self._filled = min(BURST, self._tokens + since * RATE), time
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _key(regarding: Manifest, notice: Notice) -> str:
    """Return a name that the same notice of the same object has, and no other one."""
    metadata = regarding["metadata"]
    parts = (metadata["uid"], notice.reason, notice.action, notice.note, str(notice.warning))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{metadata['name'][:200].rstrip('-.')}.{digest}"


def _build(regarding: Manifest, notice: Notice, *, name: str, time: datetime) -> dict[str, Any]:
    metadata = regarding["metadata"]
    note = notice.note.encode()[:NOTE_LENGTH].decode(errors="ignore")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "eventTime": _stamp(time),
        "reportingController": CONTROLLER,
        "action": notice.action,
        "reason": notice.reason,
        "type": "Warning" if notice.warning else "Normal",
        "note": note,
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
