"""What a run waits for, by number, and what becomes of each when history says how it ended.

A wait that workflow code has let go of (a cancelled timer, an activity that was asked to stop) may
still be resolved: its number is remembered so that the resolution is known to be harmless.
"""

from __future__ import annotations

from typing import Any

from perdure.converter import DataConverter
from perdure.exceptions import ActivityError, CancelledError, ConversionError, PerdureError
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.failures import RetryState
from perdure.protocol.payloads import Payload
from perdure.replay._activity_errors import activity_error
from perdure.replay._batches import BatchWait
from perdure.replay._loop import DeterministicLoop, DurableTimer
from perdure.replay._matching import unexpected
from perdure.workflow._requests import ActivityCancellationType, ActivityHandle, Handle


class TimerWait:
    """A started timer."""

    __slots__ = ("_loop", "seq", "timer")

    def __init__(self, seq: int, timer: DurableTimer, loop: DeterministicLoop) -> None:
        self.seq = seq
        self.timer = timer
        self._loop = loop

    @property
    def label(self) -> str:
        """What it is, for messages."""
        return f"a timer (number {self.seq})"

    def fits(self, event: Any) -> bool:
        """Whether ``event`` can be how it ended."""
        return type(event) is ev.TimerFired

    def resolve(self, _event: Any, _converter: DataConverter) -> None:
        """Let whoever waits go on."""
        self._loop.fire(self.timer)


class StepWait:
    """A step that was asked for."""

    __slots__ = ("handle", "name", "result_type", "seq")

    def __init__(self, seq: int, name: str, result_type: Any, handle: Handle[Any]) -> None:
        self.seq = seq
        self.name = name
        self.result_type = result_type
        self.handle = handle

    @property
    def label(self) -> str:
        """What it is, for messages."""
        return f"step {self.name!r} (number {self.seq})"

    def fits(self, event: Any) -> bool:
        """Whether ``event`` can be how it ended."""
        kind = type(event)
        return (kind is ev.StepCompleted or kind is ev.StepFailed) and event.name == self.name

    def resolve(self, event: Any, converter: DataConverter) -> None:
        """Let whoever waits go on."""
        if type(event) is ev.StepCompleted:
            _set_result(self, event.result, converter)
        else:
            cause = converter.from_failure(event.failure)
            message = f"Step {self.name!r} failed"
            error = activity_error(message, self.name, str(self.seq), cause, None)
            error.seq = self.seq
            self.handle.set_exception(error)


class ActivityWait:
    """A started activity, remote or run as a step."""

    __slots__ = (
        "activity_id",
        "cancel_requested",
        "cancellation_type",
        "handle",
        "is_local",
        "name",
        "result_type",
        "seq",
    )

    def __init__(
        self,
        *,
        seq: int,
        name: str,
        activity_id: str,
        result_type: Any,
        cancellation_type: ActivityCancellationType,
        handle: ActivityHandle[Any],
        is_local: bool = False,
    ) -> None:
        self.seq = seq
        self.name = name
        self.activity_id = activity_id
        self.result_type = result_type
        self.cancellation_type = cancellation_type
        self.handle = handle
        self.is_local = is_local
        self.cancel_requested = False

    @property
    def label(self) -> str:
        """What it is, for messages."""
        if self.is_local:
            return f"step {self.name!r} (number {self.seq})"
        return f"activity {self.name!r} with id {self.activity_id!r} (number {self.seq})"

    def fits(self, event: Any) -> bool:
        """Whether ``event`` can be how it ended."""
        if self.is_local:
            return isinstance(event, (ev.StepCompleted, ev.StepFailed)) and event.name == self.name
        return type(event) in ev.ACTIVITY_ENDS

    def resolve(self, event: Any, converter: DataConverter) -> None:
        """Let whoever waits go on."""
        if isinstance(event, (ev.ActivityCompleted, ev.StepCompleted)):
            _set_result(self, event.result, converter)
        elif isinstance(event, ev.ActivityCanceled):
            details = converter.from_payloads(event.details)
            self.handle.set_exception(self.cancelled(CancelledError("Cancelled", *details)))
        else:
            timed_out = isinstance(event, ev.ActivityTimedOut)
            message = "Activity task timed out" if timed_out else "Activity task failed"
            cause = converter.from_failure(event.failure)
            state = getattr(event, "retry_state", None)
            error = activity_error(message, self.name, self.activity_id, cause, state)
            error.seq = self.seq
            self.handle.set_exception(error)

    def cancelled(self, cause: PerdureError) -> ActivityError:
        """Return what is raised where it is awaited when it is cancelled."""
        state = RetryState.CANCEL_REQUESTED
        return activity_error("Activity cancelled", self.name, self.activity_id, cause, state)


Wait = TimerWait | StepWait | ActivityWait | BatchWait


class Waits:
    """Everything that one run waits for."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._pending: dict[int, Wait] = {}
        self._dropped: dict[int, Wait] = {}

    def add(self, wait: Wait) -> None:
        """Wait for something more."""
        self._pending[wait.seq] = wait

    def get(self, seq: int) -> Wait | None:
        """Return what is waited for under a number."""
        return self._pending.get(seq)

    def forget(self, seq: int) -> None:
        """Wait no longer for what was never really asked for."""
        self._pending.pop(seq, None)

    def drop(self, seq: int) -> None:
        """Wait no longer for something that may still be resolved."""
        self._dropped[seq] = self._pending.pop(seq)

    def settle(self, seq: int) -> None:
        """What was dropped will not be resolved any more."""
        self._dropped.pop(seq, None)

    def labels(self) -> list[str]:
        """Return what is waited for, in words."""
        return [each.label for each in self._pending.values()]

    def collect(self, recorded: HistoryEvent) -> None:
        """Let a batch have the results of items that ``recorded`` tells of.

        Raises:
            NondeterminismError: the code has not asked for any such batch.
        """
        event: Any = recorded.event
        wait = self._pending.get(event.seq) or self._dropped.get(event.seq)
        if not isinstance(wait, BatchWait) or not wait.has_items(event):
            raise unexpected(recorded, wait.label if wait else None)
        wait.collect(event, self._converter)

    def resolve(self, recorded: HistoryEvent) -> int:
        """Let whoever waits for what ``recorded`` ends go on; return its number.

        Raises:
            NondeterminismError: the code has not asked for any such thing.
        """
        event: Any = recorded.event
        seq: int = event.seq
        wait = self._pending.get(seq)
        if wait is not None and wait.fits(event):
            del self._pending[seq]
            wait.resolve(event, self._converter)
            return seq
        dropped = self._dropped.get(seq)
        if dropped is not None and dropped.fits(event):
            del self._dropped[seq]
            return seq
        known = wait or dropped
        raise unexpected(recorded, known.label if known else None)


def _set_result(
    wait: StepWait | ActivityWait, payload: Payload | None, converter: DataConverter
) -> None:
    try:
        value = None
        if payload is not None:
            value = converter.payload_converter.from_payload(payload, wait.result_type)
    except ConversionError as error:
        wait.handle.set_exception(error.at(f"the result of {wait.label}"))
    except Exception as error:  # noqa: BLE001 - a user's converter may raise anything
        wait.handle.set_exception(error)
    else:
        wait.handle.set_result(value)
