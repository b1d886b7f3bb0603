"""What activity code is written with.

An activity is a callable marked with :func:`defn`: the place for everything that a workflow must
not do itself. It runs on any worker of its task queue, is tried again when it fails, and may run
more than once; ``info().idempotency_key`` stays the same each time. Steps (``workflow.step``) run
with the same functions at hand.
"""

from perdure.activity._context import (
    cancellation_details,
    client,
    heartbeat,
    in_activity,
    info,
    is_cancelled,
    is_worker_shutdown,
    payload_converter,
    shield_thread_cancel_exception,
    wait_for_cancelled,
    wait_for_cancelled_sync,
    wait_for_worker_shutdown,
    wait_for_worker_shutdown_sync,
)
from perdure.activity._definition import defn
from perdure.activity._info import ActivityCancellationDetails, Info
from perdure.activity._logging import LoggerAdapter, logger

__all__ = [
    "ActivityCancellationDetails",
    "Info",
    "LoggerAdapter",
    "cancellation_details",
    "client",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "is_worker_shutdown",
    "logger",
    "payload_converter",
    "shield_thread_cancel_exception",
    "wait_for_cancelled",
    "wait_for_cancelled_sync",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
]
