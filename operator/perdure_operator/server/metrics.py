"""What the server counts, for Prometheus. No label takes values from users' data."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.commits = Counter(
            "perdure_store_commits", "Durable transactions.", registry=self.registry
        )
        self.transitions = Counter(
            "perdure_store_transitions",
            "Transitions of runs, each in one of the commits.",
            registry=self.registry,
        )
        self.commit_failures = Counter(
            "perdure_store_commit_failures",
            "Transactions that the store could not write.",
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "perdure_store_commit_seconds",
            "Time of one durable transaction.",
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.events = Counter(
            "perdure_history_events",
            "Events recorded, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.verbs = Histogram(
            "perdure_request_seconds",
            "Time of clients' requests, long polls left out, by verb and outcome.",
            ["verb", "outcome"],
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.sessions = Gauge(
            "perdure_workers_connected", "Workers connected.", registry=self.registry
        )
        self.hot_runs = Gauge(
            "perdure_runs_in_memory", "Runs held in memory.", registry=self.registry
        )
        self.backlog = Gauge(
            "perdure_tasks_backlog", "Tasks that wait for a worker.", registry=self.registry
        )
        self.refusals = Counter(
            "perdure_reports_refused",
            "Reports of workers that came too late or did not fit, by kind.",
            ["kind"],
            registry=self.registry,
        )

    def observe_commit(self, seconds: float, transitions: int) -> None:
        """Count one durable transaction."""
        self.commits.inc()
        self.transitions.inc(transitions)
        self.commit_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return all metrics in the text form that Prometheus reads."""
        return generate_latest(self.registry)
