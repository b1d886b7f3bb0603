"""What the code of a run has asked for and nobody has been told yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.protocol.commands import ClosingCommand, Command
from perdure.protocol.payloads import Millis, RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInvocation:
    """A step that the worker is to run."""

    seq: int
    name: str
    fn: Callable[..., Any] | None
    """None when only ``activity`` is known."""
    args: tuple[Any, ...]
    retry_policy: RetryPolicy
    timeout: Millis | None
    """Of one attempt."""
    activity: str = ""
    """The registered name, when an activity is run as a step: the worker's own callable of that
    name goes before ``fn``, which may be a method without its object."""
    idempotency_key: str = ""


class Asked:
    """Commands and steps, gathered in the order asked."""

    def __init__(self) -> None:
        self.is_closed = False
        """Whether the run has ended: what is asked for afterwards is not heard."""
        self._commands: list[Command | None] = []
        self._places: dict[int, int] = {}
        self._steps: dict[int, StepInvocation] = {}
        self._cancelled_steps: list[int] = []

    def command(self, command: Command) -> None:
        """Ask for something."""
        if not self.is_closed:
            self._commands.append(command)

    def begin(self, seq: int, command: Command) -> None:
        """Ask for something that may be taken back as long as the activation lasts."""
        if not self.is_closed:
            self._places[seq] = len(self._commands)
            self._commands.append(command)

    def take_back(self, seq: int) -> bool:
        """Ask no longer for what this activation asked for; return whether it did."""
        place = self._places.pop(seq, None)
        if place is None:
            return False
        self._commands[place] = None
        return True

    def change(self, seq: int, command: Command) -> None:
        """Ask for something else instead, if this activation asked for it."""
        place = self._places.get(seq)
        if place is not None:
            self._commands[place] = command

    def close(self, command: ClosingCommand) -> None:
        """End the run; the first end counts."""
        self.command(command)
        self.is_closed = True
        self._steps.clear()

    def step(self, invocation: StepInvocation) -> None:
        """Ask for a step."""
        if not self.is_closed:
            self._steps[invocation.seq] = invocation

    def cancel_step(self, seq: int) -> None:
        """Ask for a step no longer; one that was handed out already is to be cancelled."""
        if self._steps.pop(seq, None) is None:
            self._cancelled_steps.append(seq)

    def forget_step(self, seq: int) -> None:
        """A step has its result: it need not be run."""
        self._steps.pop(seq, None)

    def take_commands(self) -> list[Command]:
        """Return the commands of the activation that is over."""
        if not self._commands:
            return []
        commands = [each for each in self._commands if each is not None]
        self._commands.clear()
        self._places.clear()
        return commands

    def take_steps(self) -> tuple[list[StepInvocation], list[int]]:
        """Return the steps to start, and the numbers of those to cancel."""
        start, self._steps = list(self._steps.values()), {}
        cancel, self._cancelled_steps = self._cancelled_steps, []
        return start, cancel
