"""What the server counts, for Prometheus.

No label takes values from users' data: names of task queues, types and namespaces are as many as
users make them, and each value of a label is a time series that Prometheus keeps. What belongs to
one queue is in the status of its WorkerPool. Counters and histograms are moved where things
happen; gauges are set by :mod:`perdure_operator.server.measuring` whenever somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus

_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WAITING = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_CAUSES = frozenset(
    {"WorkflowError", "Nondeterminism", "UnknownWorkflowType", "PayloadTooLarge", "HistoryGap"}
)
"""Why workflow code fails, as far as it has a word; workers say it, so it is not taken as it is."""
_RUN_KINDS = ("workflow", "activity")
_PARTINGS = ("closed", "silent")
"""How the connection of a worker ends."""
_REFUSALS = ("task", "late_task", "late_attempt")
"""What a report that is refused was of."""


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._make_store_metrics()
        self._make_run_metrics()
        self._make_task_metrics()
        self._make_worker_metrics()
        self.verbs = self._histogram(
            "perdure_request_seconds",
            "Time of clients' requests, long polls left out, by verb and outcome.",
            ("verb", "outcome"),
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what has not happened yet, or else its first time is no increase to Prometheus."""
        for kind in _RUN_KINDS:
            self.runs_started.labels(kind)
            for status in RunStatus:
                if not status.is_open:
                    self.runs_closed.labels(kind, status.value)
        for cause in (*_CAUSES, "other"):
            self.task_failures.labels(cause)
        for reason in _PARTINGS:
            self.sessions_lost.labels(reason)
        for refused in _REFUSALS:
            self.refusals.labels(refused)

    # --- what there is ---------------------------------------------------------------------

    def _make_store_metrics(self) -> None:
        self.commits = self._counter("perdure_store_commits", "Durable transactions.")
        self.transitions = self._counter(
            "perdure_store_transitions", "Transitions of runs, each in one of the commits."
        )
        self.commit_failures = self._counter(
            "perdure_store_commit_failures", "Transactions that the store could not write."
        )
        self.commit_seconds = self._histogram(
            "perdure_store_commit_seconds", "Time of one durable transaction."
        )
        self.commit_transitions = self._histogram(
            "perdure_store_commit_transitions",
            "Transitions that shared one durable transaction.",
            buckets=_BATCHES,
        )
        self.append_seconds = self._histogram(
            "perdure_store_append_seconds",
            "Time from deciding on a transition until it is on disk, the wait for others included.",
        )
        self.disk = self._gauge(
            "perdure_store_disk_bytes",
            "Room on the disk that the store is on, by state: free or used.",
            ("state",),
        )

    def _make_run_metrics(self) -> None:
        self.events = self._counter(
            "perdure_history_events", "Events recorded, by kind.", ("kind",)
        )
        self.runs = self._gauge("perdure_runs", "Open runs, by status.", ("status",))
        self.runs_started = self._counter(
            "perdure_runs_started", "Runs started, by kind.", ("kind",)
        )
        self.runs_closed = self._counter(
            "perdure_runs_closed", "Runs that ended, by kind and how.", ("kind", "status")
        )
        self.runs_failing = self._gauge(
            "perdure_runs_failing", "Open runs whose code failed when it was last run."
        )
        self.runs_damaged = self._gauge(
            "perdure_runs_damaged", "Runs that are left alone: their history cannot be read."
        )
        self.hot_runs = self._gauge("perdure_runs_in_memory", "Runs held in memory.")

    def _make_task_metrics(self) -> None:
        self.backlog = self._gauge(
            "perdure_tasks_backlog", "Tasks that wait for a worker, by kind.", ("kind",)
        )
        self.oldest = self._gauge(
            "perdure_tasks_oldest_seconds",
            "Age of the task that has waited longest for a worker, by kind.",
            ("kind",),
        )
        self.unattended = self._gauge(
            "perdure_tasks_unattended",
            "Tasks that wait where no worker is connected that may take them, by kind.",
            ("kind",),
        )
        self.task_waits = self._histogram(
            "perdure_task_schedule_to_start_seconds",
            "How long a task waited until a worker had it, by kind.",
            ("kind",),
            buckets=_WAITING,
        )
        self.workflow_tasks = self._histogram(
            "perdure_workflow_task_seconds",
            "How long a worker held a workflow task, by outcome.",
            ("outcome",),
            buckets=_WAITING,
        )
        self.task_failures = self._counter(
            "perdure_workflow_task_failures",
            "Workflow tasks that failed because of the code, by cause.",
            ("cause",),
        )
        self.attempts = self._histogram(
            "perdure_activity_attempt_seconds",
            "How long an attempt of an activity ran, by outcome.",
            ("outcome",),
            buckets=_WAITING,
        )

    def _make_worker_metrics(self) -> None:
        self.sessions = self._gauge("perdure_workers_connected", "Workers connected.")
        self.slots = self._gauge(
            "perdure_worker_slots",
            "Tasks that connected workers can have at once, by kind and state: used or free.",
            ("kind", "state"),
        )
        self.sessions_lost = self._counter(
            "perdure_workers_lost",
            "Connections of workers that ended, by reason: closed or silent.",
            ("reason",),
        )
        self.refusals = self._counter(
            "perdure_reports_refused",
            "Reports of workers that came too late or did not fit, by kind.",
            ("kind",),
        )

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = _LATENCY,
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    # --- counting --------------------------------------------------------------------------

    def observe_commit(self, seconds: float, transitions: int) -> None:
        """Count one durable transaction."""
        self.commits.inc()
        self.transitions.inc(transitions)
        self.commit_seconds.observe(seconds)
        self.commit_transitions.observe(transitions)

    def observe_run(self, kind: str, before: RunStatus | None, after: RunStatus) -> None:
        """Count that a run is now ``after`` on disk; ``before`` is ``None`` for a new one."""
        if before is after:
            return
        if before is None:
            self.runs_started.labels(kind).inc()
        elif before.is_open:
            self.runs.labels(before.value).dec()
        if after.is_open:
            self.runs.labels(after.value).inc()
        else:
            self.runs_closed.labels(kind, after.value).inc()

    def observe_wait(self, kind: str, wait: Millis) -> None:
        """Count that a worker has a task which it was waited for so long."""
        self.task_waits.labels(kind).observe(max(0, wait) / 1000)

    def observe_task(self, outcome: str, held: Millis) -> None:
        """Count that a worker no longer has a workflow task."""
        self.workflow_tasks.labels(outcome).observe(max(0, held) / 1000)

    def observe_task_failure(self, cause: str) -> None:
        """Count that workflow code failed."""
        self.task_failures.labels(cause if cause in _CAUSES else "other").inc()

    def observe_attempt(self, outcome: str, ran: Millis) -> None:
        """Count that an attempt of an activity is over."""
        self.attempts.labels(outcome).observe(max(0, ran) / 1000)

    def render(self) -> bytes:
        """Return all metrics in the text form that Prometheus reads."""
        return generate_latest(self.registry)
