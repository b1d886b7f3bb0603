"""Task queues as the verb ``queues`` tells of them: work, workers, versions of the code."""

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


class VersionDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of the code behind a task queue whose versions are declared."""

    build_id: str
    backlog: int = 0
    """Tasks and queries that wait for a worker of this version."""
    held: int = 0
    """Tasks that workers of this version work on."""
    open_runs: int = 0
    """Open runs that are pinned to it, waiting ones as well."""


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
    current: str = ""
    """The declared version for new runs; empty: none is declared, any worker takes anything."""
    kept: tuple[str, ...] = ()
    """Declared older versions, which still serve the runs pinned to them."""
    versions: tuple[VersionDescription, ...] = ()
    """Each version that is declared, the current one first."""
