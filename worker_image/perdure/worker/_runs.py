"""What a worker keeps of a run: its code, and the task that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perdure.exceptions import PerdureError
from perdure.protocol.commands import Command
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import Failure
from perdure.protocol.messages import Activation, RunRef, StepResult
from perdure.protocol.payloads import Millis, Payload, Payloads
from perdure.replay._asked import StepInvocation
from perdure.worker._steps import Step


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
        self, events: Sequence[HistoryEvent], *, started: Millis | None, complete: bool
    ) -> Told:
        """Tell it events and let it run; without ``started`` only replay what is recorded."""

    def query(self, name: str, query_input: Payloads, /) -> tuple[Payload | None, Failure | None]:
        """Ask it something."""

    def close(self) -> None:
        """Tear it down."""


@dataclass(slots=True, kw_only=True)
class HeldTask:
    """A workflow task from its beginning until its last report is acknowledged."""

    id: int
    number: int = 0
    """Of the last report."""
    activations: list[Activation] = field(default_factory=list)
    """Not reported yet."""
    finished: list[StepResult] = field(default_factory=list)
    """Not reported yet."""
    reported: set[int] = field(default_factory=set)
    """Steps whose results have been reported and have not come back as events."""
    done: int = 0
    """The report that gave the task back; 0 while none has."""
    is_closed: bool = False
    """A report ends the run."""


@dataclass(slots=True, kw_only=True, eq=False)
class CachedRun:
    """A run whose code is in memory."""

    ref: RunRef
    workflow_type: str
    instance: Instance
    task: HeldTask | None = None
    steps: dict[int, Step] = field(default_factory=dict)
    """Running."""
