"""What workflow code asks for, in the order in which it asked.

``seq`` numbers everything that a run waits for (activities, timers, steps), from 1, in the
order in which the code asked: the same code on the same history asks with the same numbers.
A step is no command: it runs in the workflow's own worker and only its result is sent (see
:class:`perdure.protocol.messages.StepResult`).
"""

from __future__ import annotations

import msgspec

from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Millis, Payload, Payloads, RetryPolicy
from perdure.protocol.placements import Placement


class _Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    pass


class ScheduleActivity(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """Run an activity on a worker of ``task_queue``; one of the two close timeouts is set."""

    seq: int
    activity_id: str
    activity_type: str
    task_queue: str = ""
    """Empty means the workflow's own."""
    input: Payloads = ()
    schedule_to_close_timeout: Millis | None = None
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    headers: dict[str, Payload] = {}
    summary: str = ""
    placement: Placement | None = None
    """Set when it has a pod of its own."""


class ScheduleBatch(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """Run one activity for each of many items; all of it takes one ``seq``."""

    seq: int
    activity_id: str
    activity_type: str
    task_queue: str = ""
    """Empty means the workflow's own."""
    items: tuple[Payloads, ...]
    """The input of each; at least one."""
    parallelism: int = 0
    """How many may be open at once; 0 leaves that to the server."""
    tolerated_failures: int = 0
    """How many items may fail before the batch does."""
    streamed: bool = False
    """The code wants results as they come, and not only at the end."""
    schedule_to_close_timeout: Millis | None = None
    """Of the whole batch; the timeouts below are each item's own."""
    schedule_to_start_timeout: Millis | None = None
    start_to_close_timeout: Millis | None = None
    heartbeat_timeout: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    headers: dict[str, Payload] = {}
    summary: str = ""


class RequestCancelActivity(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """Ask the activity, or the batch, ``seq`` to stop."""

    seq: int


class StartTimer(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """Wake the run after ``delay``."""

    seq: int
    delay: Millis
    summary: str = ""


class CancelTimer(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """The timer ``seq`` is no longer wanted."""

    seq: int


class CompleteWorkflow(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """The run has returned."""

    result: Payload | None = None


class FailWorkflow(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """The run has raised."""

    failure: Failure
    failed_seq: int = 0
    """The activity or step whose failure made it raise; 0: the code raised of itself."""


class CancelWorkflow(_Command, frozen=True, kw_only=True, omit_defaults=True):
    """The run ended because it was asked to."""

    details: Payloads = ()


Command = (
    ScheduleActivity
    | ScheduleBatch
    | RequestCancelActivity
    | StartTimer
    | CancelTimer
    | CompleteWorkflow
    | FailWorkflow
    | CancelWorkflow
)
ClosingCommand = CompleteWorkflow | FailWorkflow | CancelWorkflow
CLOSING_COMMANDS = (CompleteWorkflow, FailWorkflow, CancelWorkflow)
