"""A run's state: the fold of its events, plus the attempts of its open activities.

The state is changed in place, only by :mod:`perdure_operator.engine.evolution`, and belongs
to whoever folds it: copying sets of a thousand open activities for each event would make a
fan-out quadratic. If a commit fails, the state is thrown away and folded anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure.protocol import events as ev
from perdure.protocol.items import is_item, item_of
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.batches import OpenBatch
from perdure_operator.engine.transitions import NEVER, OpenActivity, RunRow, Timer


@dataclass(slots=True, kw_only=True)
class Run:
    """One execution of a workflow, or one standalone activity."""

    ref: RunRef
    watched: bool = False
    version: int = 0
    """Transitions so far."""

    started: ev.WorkflowStarted | None = None
    """The first event; ``None`` only before it."""
    started_at: Millis = 0
    closing: ev.Event | None = None
    """The closing event, once there is one."""
    closed_at: Millis | None = None
    status: RunStatus = RunStatus.RUNNING

    last_event: int = 0
    last_time: Millis = 0
    history_bytes: int = 0
    digest: bytes = b""

    through: int = 0
    """The last event that the workflow's code has been told, as recorded."""
    last_resolution: int = 0
    """The last event that it must be told."""
    busy: bool = False
    """When it was last reported, steps were running."""
    task_failure: ev.WorkflowTaskFailed | None = None
    """Set while the newest thing that its code did was to fail."""

    scheduled: dict[int, ev.ActivityScheduled] = field(default_factory=dict)
    """Open activities, as asked for."""
    activities: dict[int, OpenActivity] = field(default_factory=dict)
    """How far their attempts are; not part of the fold, each has its own row.

    Open items of batches are among them, under their own numbers."""
    batches: dict[int, OpenBatch] = field(default_factory=dict)
    """Open batches."""
    timers: dict[int, ev.TimerStarted] = field(default_factory=dict)
    seqs: set[int] = field(default_factory=set)
    """Numbers taken by activities and timers, open or not."""
    cancel_requested: bool = False
    signal_ids: set[str] = field(default_factory=set)
    last_step: str = ""

    @property
    def start(self) -> ev.WorkflowStarted:
        """The first event."""
        assert self.started is not None, "a run exists from its first event on"
        return self.started

    @property
    def is_closed(self) -> bool:
        """Whether its history has ended."""
        return self.closing is not None

    @property
    def is_workflow(self) -> bool:
        """Whether there is workflow code behind it (a standalone activity has none)."""
        return self.start.kind == "workflow"

    @property
    def needs_task(self) -> bool:
        """Whether its code must be told something, or has steps to go on with."""
        if self.closing is not None or not self.is_workflow:
            return False
        return self.last_resolution > self.through or self.busy

    @property
    def is_suspended(self) -> bool:
        """Whether somebody holds it: its code is not run and no attempt begins."""
        return self.status is RunStatus.SUSPENDED

    @property
    def deadline(self) -> Millis | None:
        """When it times out, if ever."""
        limits = [t for t in (self.start.execution_timeout, self.start.run_timeout) if t]
        return min(NEVER, self.started_at + min(limits)) if limits else None

    def asked(self, seq: int) -> ev.ActivityScheduled:
        """Return what an open activity was scheduled with; for an item, made from its batch."""
        if is_item(seq):
            batch, index = item_of(seq)
            return self.batches[batch].item(index)
        return self.scheduled[seq]

    def batch_timers(self) -> list[Timer]:
        """Return the wake-ups that end batches which take too long."""
        deadlines = ((seq, batch.deadline) for seq, batch in self.batches.items())
        return [Timer(seq=seq, fires=due) for seq, due in deadlines if due is not None]

    @property
    def current_step(self) -> str:
        """What it waits for, in a word for people."""
        if self.is_closed:
            return ""
        if self.scheduled or self.batches:
            newest = self._newest_asked()
            return newest.summary or newest.activity_type
        if self.timers:
            return self.timers[next(reversed(self.timers))].summary or "timer"
        return self.last_step if self.needs_task else ""

    def _newest_asked(self) -> ev.ActivityScheduled | ev.BatchScheduled:
        activity = next(reversed(self.scheduled), 0)
        batch = next(reversed(self.batches), 0)
        return self.scheduled[activity] if activity > batch else self.batches[batch].scheduled

    def row(self) -> RunRow:
        """Return what the store keeps beside the history."""
        return RunRow(
            namespace=self.ref.namespace,
            workflow_id=self.ref.workflow_id,
            run_id=self.ref.run_id,
            kind=self.start.kind,
            workflow_type=self.start.workflow_type,
            task_queue=self.start.task_queue,
            status=self.status,
            version=self.version,
            started=self.started_at,
            closed=self.closed_at,
            last_event=self.last_event,
            history_bytes=self.history_bytes,
            digest=self.digest,
            current_step=self.current_step,
            task_pending=self.needs_task and not self.is_suspended,
            watched=self.watched,
            request_id=self.start.request_id,
        )
