"""What a worker was made with, checked."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from perdure.converter import DataConverter
from perdure.exceptions import UsageError
from perdure.worker._ports import Address
from perdure.worker._registry import Registry

_NONE = timedelta(0)


class ClientService(Protocol):
    """A client's service, as far as a worker needs it."""

    @property
    def connection(self) -> Address:
        """Where the server is."""


class WorkerClient(Protocol):
    """What a worker takes from a client, such as :class:`perdure.client.Client`."""

    @property
    def service(self) -> ClientService:
        """Knows where the server is."""

    @property
    def namespace(self) -> str:
        """Where the worker takes tasks."""

    @property
    def data_converter(self) -> DataConverter:
        """What values are converted with."""

    @property
    def identity(self) -> str:
        """Who it is, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """See :class:`perdure.worker.Worker`."""

    client: WorkerClient
    task_queue: str
    registry: Registry
    activity_executor: Executor | None
    activity_slots: int
    workflow_slots: int
    step_threads: int
    max_cached_workflows: int
    graceful_shutdown_timeout: timedelta
    longest_throttle: timedelta
    default_throttle: timedelta
    worker_id: str
    identity: str
    build_id: str
    debug_mode: bool
    workflow_failures: tuple[type[BaseException], ...]
    idle_after: timedelta | None
    once: bool

    def __post_init__(self) -> None:
        if not self.task_queue:
            raise UsageError("A worker needs a task queue: Worker(client, task_queue='orders')")
        _at_least(1, max_concurrent_activities=self.activity_slots)
        _at_least(1, max_concurrent_workflow_tasks=self.workflow_slots)
        _at_least(1, max_concurrent_local_activities=self.step_threads)
        _at_least(0, max_cached_workflows=self.max_cached_workflows)
        _at_least(_NONE, graceful_shutdown_timeout=self.graceful_shutdown_timeout)
        if self.idle_after is not None and self.idle_after <= _NONE:
            raise UsageError(f"idle_after is {self.idle_after}: give a time above 0, or None")


def _at_least(least: Any, **named: Any) -> None:
    for name, value in named.items():
        if value < least:
            raise UsageError(f"{name} is {value}: it must be {least} or more")
