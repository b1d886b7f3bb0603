"""What a worker has to say, until the next frame leaves."""

from __future__ import annotations

from collections.abc import Callable

from perdure.protocol.messages import FromWorker


class Outbox:
    """Messages that wait for the next frame. While there is no connection it takes none."""

    def __init__(self) -> None:
        self._messages: list[FromWorker] = []
        self._wake: Callable[[], None] = _nothing
        self._is_open = False

    def put(self, message: FromWorker) -> None:
        """Let a message leave with the next frame."""
        if self._is_open:
            self._messages.append(message)
            self._wake()

    def wake(self) -> None:
        """Let a frame leave in the next round of the loop."""
        self._wake()

    def take(self) -> list[FromWorker]:
        """Return what waits, and keep nothing."""
        messages, self._messages = self._messages, []
        return messages

    def open(self) -> None:
        """Take messages from now on."""
        self._is_open = True

    def close(self) -> None:
        """Take no more, and drop what waits: nobody knows whether the other side lives."""
        self._is_open = False
        self._wake = _nothing
        self._messages.clear()

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        """Have ``wake`` called when there is something to send; None while one sends anyway."""
        self._wake = wake or _nothing


def _nothing() -> None:
    """Nobody has to be woken."""
