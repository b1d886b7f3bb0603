"""What is measured only when somebody asks for the metrics: gauges of what there is right now.

It looks at memory, never at the store, and costs one pass over the queues, the workers and the
runs in memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from perdure_operator.server.metrics import Metrics
from perdure_operator.server.sessions import Session

if TYPE_CHECKING:
    from perdure_operator.server.host import Host

STATES = ("used", "free")


def measure(host: Host) -> None:
    """Set the gauges to how things are now."""
    metrics = host.metrics
    for kind, load in host.dispatcher.loads().items():
        metrics.backlog.labels(kind).set(load.backlog)
        metrics.oldest.labels(kind).set(load.oldest / 1000)
        metrics.unattended.labels(kind).set(load.unattended)
    metrics.runs_failing.set(len(host.keeper.failing))
    metrics.runs_damaged.set(len(host.keeper.damaged))
    _measure_slots(metrics, host.sessions)
    if host.settings.data_folder is not None:
        _measure_disk(metrics, host.settings.data_folder)


def _measure_slots(metrics: Metrics, sessions: list[Session]) -> None:
    slots = dict.fromkeys(((k, s) for k in ("workflow", "activity") for s in STATES), 0)
    for session in sessions:
        tasks, attempts = len(session.held_tasks), len(session.held_attempts)
        slots["workflow", "used"] += tasks
        slots["activity", "used"] += attempts
        if session.is_taking:
            slots["workflow", "free"] += max(0, session.hello.workflow_slots - tasks)
            slots["activity", "free"] += max(0, session.hello.activity_slots - attempts)
    for labels, number in slots.items():
        metrics.slots.labels(*labels).set(number)


def _measure_disk(metrics: Metrics, folder: Path) -> None:
    disk = os.statvfs(folder)
    # What is kept back for root is neither free nor used for whoever asks.
    metrics.disk.labels("free").set(disk.f_bavail * disk.f_frsize)
    metrics.disk.labels("used").set((disk.f_blocks - disk.f_bfree) * disk.f_frsize)
