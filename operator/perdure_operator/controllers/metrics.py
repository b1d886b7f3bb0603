"""What the operator counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from perdure_operator.model import KINDS

FOLLOWED = ("runs", "queues")
"""What the operator follows at the server, by long polls that end after 20 s at the latest."""


RESULTS = ("done", "blocked", "gone", "conflict", "not-leading", "error", "bug")
"""How a look at an object ends; one that is broken off by the operator's end is ``stopped``."""
NOTICES = ("sent", "merged", "dropped", "failed")
"""What becomes of a notice."""


@dataclass(slots=True)
class Attempt:
    """One reconcile, while it is going on."""

    result: str = "stopped"
    """One of :data:`RESULTS` once it has ended."""


def _nothing() -> float:
    return 0.0


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._reconciles = Counter(
            "perdure_operator_reconciles",
            "Looks at one object, by kind and how they ended.",
            ["kind", "result"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "perdure_operator_reconcile_duration_seconds",
            "How long a look at one object took.",
            ["kind"],
            registry=self._registry,
        )
        self._api_calls = Counter(
            "perdure_operator_api_requests",
            "Calls to the Kubernetes API, by verb, kind and HTTP status (0: no answer).",
            ["verb", "kind", "code"],
            registry=self._registry,
        )
        self._server_calls = Counter(
            "perdure_operator_server_requests",
            "Calls to the Perdure server, by verb and error code (empty: none).",
            ["verb", "code"],
            registry=self._registry,
        )
        self._queue_depth = Gauge(
            "perdure_operator_workqueue_depth",
            "Objects that wait to be looked at now.",
            registry=self._registry,
        )
        self._api_duration = Histogram(
            "perdure_operator_api_request_duration_seconds",
            "How long a call to the Kubernetes API took, by verb.",
            ["verb"],
            registry=self._registry,
        )
        self._queue_oldest = Gauge(
            "perdure_operator_workqueue_oldest_seconds",
            "For how long the object that has waited longest was due to be looked at.",
            registry=self._registry,
        )
        self._events = Counter(
            "perdure_operator_watch_events",
            "Events of the Kubernetes API, by kind.",
            ["kind"],
            registry=self._registry,
        )
        self._follow_age = Gauge(
            "perdure_operator_follow_age_seconds",
            "Time since the Perdure server last answered a long poll, by what is followed.",
            ["what"],
            registry=self._registry,
        )
        self._notices = Counter(
            "perdure_operator_notices",
            "Kubernetes Events: sent, merged into one before, dropped for coming too fast, failed.",
            ["result"],
            registry=self._registry,
        )
        self._leader = Gauge(
            "perdure_operator_leader",
            "1 while this operator leads and may change anything, 0 while it stands by.",
            registry=self._registry,
        )
        self._heard: dict[str, float] = {}
        for what in FOLLOWED:
            self._follow_age.labels(what).set_function(partial(self._silence, what))
        self._queue_scheduled = Gauge(
            "perdure_operator_workqueue_scheduled",
            "Objects that are to be looked at, now or later.",
            registry=self._registry,
        )

        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what has not happened yet, or else its first time is no increase to Prometheus."""
        for kind in KINDS:
            for result in RESULTS:
                self._reconciles.labels(kind.name, result)
        for became in NOTICES:
            self._notices.labels(became)

    def _silence(self, what: str) -> float:
        return self._clock() - self._heard[what] if what in self._heard else 0.0

    @contextmanager
    def reconciling(self, kind: str) -> Iterator[Attempt]:
        """Count and time one reconcile."""
        attempt, began = Attempt(), self._clock()
        try:
            yield attempt
        finally:
            self._reconciles.labels(kind, attempt.result).inc()
            self._duration.labels(kind).observe(self._clock() - began)

    def api_call(self, verb: str, kind: str, status: int, seconds: float) -> None:
        """Count and time a call to the Kubernetes API."""
        self._api_calls.labels(verb, kind, str(status)).inc()
        self._api_duration.labels(verb).observe(seconds)

    def watch_event(self, kind: str) -> None:
        """Count an event of the Kubernetes API."""
        self._events.labels(kind).inc()

    def heard(self, what: str) -> None:
        """The Perdure server has answered a long poll."""
        self._heard[what] = self._clock()

    def server_call(self, verb: str, code: str) -> None:
        """Count a call to the Perdure server."""
        self._server_calls.labels(verb, code).inc()

    @contextmanager
    def acting(
        self,
        depth: Callable[[], float],
        scheduled: Callable[[], float],
        oldest: Callable[[], float],
    ) -> Iterator[None]:
        """Show how full the work queue is and how long the server is silent.

        Outside, while the operator stands by, both are 0: another one acts, and what was left
        undone is no longer this one's.
        """
        self._heard = dict.fromkeys(FOLLOWED, self._clock())
        self._show_queue(depth, scheduled, oldest)
        try:
            yield
        finally:
            self._heard = {}
            self._show_queue(_nothing, _nothing, _nothing)

    def _show_queue(
        self,
        depth: Callable[[], float],
        scheduled: Callable[[], float],
        oldest: Callable[[], float],
    ) -> None:
        self._queue_oldest.set_function(oldest)
        self._queue_depth.set_function(depth)
        self._queue_scheduled.set_function(scheduled)

    def notice(self, result: str) -> None:
        """Count a notice by what became of it."""
        self._notices.labels(result).inc()

    def watch_lead(self, is_leading: Callable[[], bool]) -> None:
        """Show whether this operator leads, whenever somebody asks."""
        self._leader.set_function(lambda: float(is_leading()))

    def render(self) -> bytes:
        """Return all of it in the text format."""
        return generate_latest(self._registry)
