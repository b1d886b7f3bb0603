"""A connected worker: what it can do, what it holds, and what is on its way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from perdure.protocol.messages import AttemptRef, FromServer, Hello, encode_frame
from perdure.protocol.payloads import Millis

if TYPE_CHECKING:
    from perdure_operator.server.keeping import HotRun

Send = Callable[[bytes], Awaitable[None]]


class Session:
    """One connection of one worker.

    Attributes:
        held_tasks: Workflow tasks in its hands, by number.
        held_attempts: Activity attempts in its hands.
        last_heard: When its last message came.
        is_open: Whether it is still connected.
        is_draining: Whether it wants nothing new.
    """

    def __init__(
        self, hello: Hello, send: Send, break_off: Callable[[], None], now: Millis
    ) -> None:
        self.hello = hello
        # A worker chooses its own id: with another namespace's it must not become that worker.
        self.worker_id = f"{hello.namespace}/{hello.worker_id}"
        self.identity = hello.identity
        self.namespace = hello.namespace
        self.task_queue = hello.task_queue
        self.workflow_types = frozenset(hello.workflow_types)
        self.activity_types = frozenset(hello.activity_types)
        self.held_tasks: dict[int, HotRun] = {}
        self.held_attempts: set[AttemptRef] = set()
        self.last_heard = now
        self.is_open = True
        self.is_draining = False
        self._send = send
        self._break_off = break_off
        self._outbox: list[FromServer] = []
        self._news = asyncio.Event()

    @property
    def has_workflow_slot(self) -> bool:
        """Whether it can take another workflow task."""
        return self.is_taking and len(self.held_tasks) < self.hello.workflow_slots

    @property
    def has_activity_slot(self) -> bool:
        """Whether it can take another activity attempt."""
        return self.is_taking and len(self.held_attempts) < self.hello.activity_slots

    @property
    def is_taking(self) -> bool:
        """Whether it wants anything new."""
        return self.is_open and not self.is_draining

    def send(self, message: FromServer) -> None:
        """Put a message on its way; what is sent in one turn of the loop shares a frame."""
        if self.is_open:
            self._outbox.append(message)
            self._news.set()

    def break_off(self) -> None:
        """End the connection: the worker connects again and repeats what is not acknowledged."""
        self._break_off()

    async def pump(self) -> None:
        """Send what there is to send, until the connection breaks."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._outbox:
                batch, self._outbox = self._outbox, []
                await self._send(encode_frame(batch))
