"""Task queues as ``queues`` tells them: the work that waits, and the workers that are there."""

from __future__ import annotations

import msgspec

from perdure.protocol.payloads import Millis


class WorkerDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A connected worker."""

    worker_id: str
    identity: str
    build_id: str = ""
    held: int = 0
    """Tasks that it works on."""
    draining: bool = False


class QueueDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task queue."""

    namespace: str
    task_queue: str
    backlog: int = 0
    """Tasks and queries that wait for a worker."""
    held: int = 0
    """Tasks that workers work on."""
    oldest: Millis | None = None
    """Since when the oldest of the backlog waits."""
    workers: tuple[WorkerDescription, ...] = ()
