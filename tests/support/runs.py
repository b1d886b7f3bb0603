"""Runs for tests of the engine: decide, record and fold without a store."""

from __future__ import annotations

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.messages import Activation, RunRef, StepResult, TaskProgress
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import ActivityOptions, StartRequest
from perdure_operator.engine import attempts, decisions
from perdure_operator.engine.evolution import fold
from perdure_operator.engine.recording import Assign, record
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import OpenActivity, Transition

REF = RunRef("default", "order-42", "run-1")
NOW = 1_000_000


def begun_by(worker_id: str, now: int = NOW) -> Assign:
    """Give every activity to this worker as soon as it is scheduled."""

    def assign(scheduled: ev.ActivityScheduled, activity: OpenActivity) -> OpenActivity:
        return attempts.begin(scheduled, activity, worker_id=worker_id, identity=worker_id, now=now)

    return assign


class Driver:
    """One run, its whole history, and every transition that made it."""

    def __init__(self, **start: object) -> None:
        self.run = Run(ref=REF)
        self.history: list[HistoryEvent] = []
        self.transitions: list[Transition] = []
        self.now = NOW
        request = {"namespace": "default", "workflow_id": "order-42", "task_queue": "q"}
        self.record(
            decisions.start(StartRequest(**{**request, "workflow_type": "Order", **start}), "run-1")
        )

    def record(self, events: list[Event], **options: object) -> Transition:
        """Let events happen."""
        transition = record(self.run, events, self.now, **options)
        self.history += transition.events
        self.transitions.append(transition)
        return transition

    def progress(
        self,
        *commands: cmd.Command,
        steps: tuple[StepResult, ...] = (),
        told: bool = True,
        done: bool = True,
        **options: object,
    ) -> Transition:
        """Let the workflow's code come further, having been told everything unless not told."""
        activations = (Activation(self.run.last_event, self.now),) if told else ()
        report = TaskProgress(
            task=1, number=1, activations=activations, commands=commands, steps=steps, done=done
        )
        return self.record(decisions.record_progress(self.run, report, self.now), **options)

    def folded(self) -> Run:
        """Return the run as its history alone makes it."""
        return fold(Run(ref=REF), self.history)

    @property
    def names(self) -> list[str]:
        """The kinds of the events, in order."""
        return [ev.event_name(each.event) for each in self.history]


def schedule(seq: int = 1, **options: object) -> cmd.ScheduleActivity:
    """Ask for an activity."""
    defaults = {"activity_type": "charge", "start_to_close_timeout": 10_000}
    return cmd.ScheduleActivity(seq=seq, activity_id=str(seq), **{**defaults, **options})


def schedule_batch(seq: int = 1, items: int = 3, **options: object) -> cmd.ScheduleBatch:
    """Ask for a batch of so many items."""
    defaults = {"activity_type": "charge", "start_to_close_timeout": 10_000}
    inputs = tuple((Payload(data=b"%d" % index),) for index in range(items))
    return cmd.ScheduleBatch(seq=seq, activity_id=str(seq), items=inputs, **{**defaults, **options})


def standalone(**options: object) -> Driver:
    """Return a standalone activity's run."""
    return Driver(
        kind="activity", activity=ActivityOptions(start_to_close_timeout=10_000, **options)
    )
