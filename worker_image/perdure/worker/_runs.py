"""The runs that a worker has in memory: their code, the tasks that hold them, the cache.

A run with a task is *held*; one without is idle, may be asked by queries, and is dropped when it
is the longest unused of too many.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from perdure.exceptions import PerdureError
from perdure.protocol.commands import Command
from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.messages import Activation, RunEvicted, RunRef, StepResult
from perdure.protocol.payloads import Millis, Payload
from perdure.replay import StepInvocation
from perdure.worker._outbox import Outbox
from perdure.worker._steps import Step
from perdure.worker._watchdog import DeadlockError, Watchdog

logger = logging.getLogger("perdure.worker")


_REMEMBERED = 10_000


class UnknownWorkflowTypeError(PerdureError):
    """The worker has no code for a workflow type."""


class Told(Protocol):
    """What an activation came to."""

    @property
    def activations(self) -> Sequence[Activation]:
        """The live ones."""

    @property
    def commands(self) -> Sequence[Command]:
        """Asked for by the last of them."""

    @property
    def start_steps(self) -> Sequence[StepInvocation]:
        """Steps to run."""

    @property
    def cancel_steps(self) -> Sequence[int]:
        """Steps whose results nobody waits for any more."""

    @property
    def closed(self) -> bool:
        """Whether the run ends with these commands."""


class Instance(Protocol):
    """A run's code, as :class:`perdure.replay.instance.WorkflowInstance` is."""

    def activate(
        self, events: Sequence[HistoryEvent], *, started: Millis | None, complete: bool = False
    ) -> Told:
        """Tell it events and let it run; without ``started`` only replay what is recorded."""

    def query(
        self,
        name: str,
        input: Sequence[Payload],  # noqa: A002 - the word of the protocol
    ) -> tuple[Payload | None, Failure | None]:
        """Ask it something."""

    def close(self) -> None:
        """Tear it down."""


MakeInstance = Callable[[RunRef, Sequence[HistoryEvent]], Instance]
"""Makes a run's code from its history, which it is not told yet."""


@dataclass(slots=True, kw_only=True)
class HeldTask:
    """A workflow task in this worker's hands."""

    id: int
    number: int = 0
    """Of the last report."""
    activations: list[Activation] = field(default_factory=list)
    """Not reported yet."""
    finished: list[StepResult] = field(default_factory=list)
    """Not reported yet."""
    reported: set[int] = field(default_factory=set)
    """Steps whose results have been reported and have not come back as events."""
    is_closed: bool = False
    """The next report ends the run."""


@dataclass(slots=True, kw_only=True, eq=False)
class CachedRun:
    """A run whose code is in memory."""

    ref: RunRef
    workflow_type: str
    instance: Instance
    task: HeldTask | None = None
    last_task: int = 0
    """The task that it has, or had last: what is sent for that one is for this run."""
    steps: dict[int, Step] = field(default_factory=dict)
    """Running."""

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"workflow {self.ref.workflow_id} ({self.workflow_type})"


class RunCache:
    """Keeps runs, and drops those that are too many.

    Args:
        make_instance: Raises :class:`UnknownWorkflowTypeError` for what is not registered.
        capacity: How many are kept beside those that are held.
        outbox: Tells the server what was dropped.
        watchdog: Runs workflow code.
    """

    def __init__(
        self, *, make_instance: MakeInstance, capacity: int, outbox: Outbox, watchdog: Watchdog
    ) -> None:
        self._make_instance = make_instance
        self._capacity = capacity
        self._outbox = outbox
        self._watchdog = watchdog
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()
        self._by_task: dict[int, CachedRun] = {}
        self._told: OrderedDict[str, None] = OrderedDict()
        """Runs whose drop the server has been told of, or soon reads of."""

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[CachedRun]:
        return iter(list(self._runs.values()))

    def get(self, run_id: str) -> CachedRun | None:
        """Return a run; it counts as used."""
        run = self._runs.get(run_id)
        if run is not None:
            self._runs.move_to_end(run_id)
        return run

    def of_task(self, task: int) -> CachedRun | None:
        """Return the run whose newest task this is."""
        return self._by_task.get(task)

    def make(self, ref: RunRef, events: Sequence[HistoryEvent]) -> CachedRun:
        """Make a run's code anew, in the place of what there was.

        Raises:
            UnknownWorkflowTypeError: nothing is registered for it.
        """
        self.forget(ref.run_id)
        self._told.pop(ref.run_id, None)
        first = events[0].event if events else None
        type_ = first.workflow_type if isinstance(first, WorkflowStarted) else ""
        run = CachedRun(ref=ref, workflow_type=type_, instance=self._make_instance(ref, events))
        self._runs[ref.run_id] = run
        return run

    def assign(self, run: CachedRun, task: HeldTask) -> None:
        """Let a run have a task."""
        self._by_task.pop(run.last_task, None)
        run.task, run.last_task = task, task.id
        self._by_task[task.id] = run

    def forget(self, run_id: str, *, worker_shutdown: bool = False) -> None:
        """Drop a run without telling the server."""
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        self._by_task.pop(run.last_task, None)
        run.task = None
        steps, run.steps = run.steps, {}
        for step in steps.values():
            step.cancel(worker_shutdown=worker_shutdown)
        try:
            self._watchdog.run(run.label, run.instance.close)
        except (Exception, DeadlockError):
            logger.exception("The %s could not be dropped cleanly", run.label)

    def evict(self, run_id: str, *, worker_shutdown: bool = False) -> None:
        """Drop a run and tell the server; of a held run this gives the task back."""
        self.forget(run_id, worker_shutdown=worker_shutdown)
        self._outbox.put(RunEvicted(run_id=run_id))
        self._told[run_id] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    def miss(self, run_id: str) -> None:
        """Something came for a run as if it were here.

        If it crossed our word that the run was dropped, the server sends it again when it reads
        that word. If not, it must be told.
        """
        if run_id not in self._told:
            self.evict(run_id)

    def clear(self) -> None:
        """Drop every run: the server knows of none of them any more."""
        for run_id in list(self._runs):
            self.forget(run_id)
        self._told.clear()

    def shrink(self) -> None:
        """Drop idle runs, the longest unused first, until no more are too many."""
        surplus = len(self._runs) - self._capacity
        if surplus <= 0:
            return
        idle = (run_id for run_id, run in self._runs.items() if run.task is None)
        for run_id in list(islice(idle, surplus)):
            self.evict(run_id)


def failure_of(error: BaseException) -> Failure:
    """Return the recorded form of an error of the worker's own."""
    info = ApplicationInfo(type=type(error).__name__, non_retryable=True)
    return Failure(message=str(error), info=info)
