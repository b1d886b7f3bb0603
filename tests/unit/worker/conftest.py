"""A worker without a network: its session, and the wire to it."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from perdure.converter import DataConverter
from perdure.worker._options import WorkerOptions
from perdure.worker._registry import register, usable_slots
from perdure.worker._service import Service
from support.stream_server import FakeClient, History, Wire


def make_options(*, workflows=(), activities=(), activity_executor=None, **changed):
    registry = register(workflows, activities)
    values = {
        "client": FakeClient(),
        "task_queue": "orders",
        "registry": registry,
        "activity_executor": activity_executor,
        "activity_slots": usable_slots(registry, activity_executor, 4),
        "workflow_slots": 4,
        "step_threads": 2,
        "max_cached_workflows": 10,
        "graceful_shutdown_timeout": timedelta(seconds=10),
        "longest_throttle": timedelta(seconds=60),
        "default_throttle": timedelta(seconds=30),
        "worker_id": uuid.uuid4().hex,
        "identity": "tests",
        "build_id": "b1",
        "debug_mode": False,
        "workflow_failures": (),
        "idle_after": None,
        "once": False,
    }
    return WorkerOptions(**{**values, **changed})


@pytest.fixture
def history():
    return History()


@pytest.fixture
def converter():
    return DataConverter.default


@pytest.fixture
async def wire():
    """Make a worker and return the wire to it."""
    services = []

    def make(**options) -> Wire:
        service = Service(make_options(**options))
        services.append(service)
        made = Wire(service._session, service._outbox)
        made.service = service
        made.runs = service._workflows._runs
        return made

    yield make
    for service in services:
        service._abandon()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        service._own_threads.shutdown()
        service._step_threads.shutdown()
