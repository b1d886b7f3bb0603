"""The root of the tree, and the errors that stay in the process where they are raised."""

from __future__ import annotations


class PerdureError(Exception):
    """Something that Perdure reports."""

    @property
    def cause(self) -> BaseException | None:
        """What it was raised from."""
        return self.__cause__


class UsageError(PerdureError):
    """The calling code asks for something that cannot be; the message says what to write."""


class ConversionError(PerdureError, ValueError):
    """A value cannot be read as the type that was asked for, or cannot be written."""

    def __init__(
        self, problem: str, *, path: str = "$", expected: str = "", found: str = "", where: str = ""
    ) -> None:
        location = "" if path in ("", "$") else f"{path}: "
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}{location}{problem}")
        self.problem = problem
        """What is wrong, without the place."""
        self.path = path
        """Where in the value: ``$`` is the value itself, then ``.field`` and ``[index]``."""
        self.expected = expected
        """The type that was asked for there, if known."""
        self.found = found
        """What is there instead, if known."""
        self.where = where
        """Which value: e.g. ``argument 1 (order: Order) of OrderWorkflow.run``."""

    def at(self, where: str) -> ConversionError:
        """Return the same error that also says which value it is about."""
        error = type(self)(
            self.problem, path=self.path, expected=self.expected, found=self.found, where=where
        )
        error.__cause__ = self.__cause__
        return error


class UnsupportedTypeError(ConversionError, TypeError):
    """No converter can write or read a value of this type."""


class PayloadTooLargeError(PerdureError):
    """An encoded value is over the limit of one payload; trying again cannot help."""

    def __init__(self, size: int, limit: int, what: str = "a value") -> None:
        super().__init__(
            f"{what} takes {size:,} bytes encoded, the limit is {limit:,}: keep large data in "
            "a store of your own and pass a reference to it, or split it"
        )
        self.size = size
        """Bytes that the value takes, encoded."""
        self.limit = limit
        """Bytes that it may take."""
        self.what = what
        """Which value."""


class NondeterminismError(PerdureError):
    """Workflow code, run again on its history, asked for something else than it did before."""

    def __init__(self, recorded: str, attempted: str, position: int) -> None:
        super().__init__(
            f"event {position} of the history is {recorded}, but the workflow's code now asks "
            f"for {attempted}: the code must do on replay what it did first; bring the old code "
            "back, or let it finish its old runs"
        )
        self.recorded = recorded
        """What history has."""
        self.attempted = attempted
        """What the code asked for instead."""
        self.position = position
        """The id of the event where they part."""
