"""Workflows with containers and activities in pods of their own, for tests with real processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.common import Pod, RetryPolicy
from perdure.exceptions import ActivityError

LIMIT = timedelta(minutes=2)
SOON = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=3)


@activity.defn
async def note(file: str, fail_until: int = 1) -> int:
    """Note the attempt in a file; fail before attempt ``fail_until``."""
    attempt = activity.info().attempt
    with Path(file).open("a") as notes:
        notes.write(f"{attempt}\n")
    if attempt < fail_until:
        raise RuntimeError("not yet")
    return attempt


@workflow.defn
class Contain:
    """Runs a container, and returns what it said."""

    @workflow.run
    async def run(self, options: dict[str, Any]) -> Any:
        heartbeat = options.get("heartbeat")
        try:
            return await workflow.execute_container(
                "shop/scan:3",
                input=options.get("input", []),
                start_to_close_timeout=LIMIT,
                heartbeat_timeout=timedelta(seconds=heartbeat) if heartbeat else None,
                retry_policy=SOON,
            )
        except ActivityError as error:
            return f"failed: {error.cause}"


@workflow.defn
class ContainUntilTold:
    """Stops its container when it is told to."""

    def __init__(self) -> None:
        self.enough = False

    @workflow.signal
    def stop(self) -> None:
        self.enough = True

    @workflow.run
    async def run(self) -> str:
        handle = workflow.start_container(
            "shop/train:1",
            start_to_close_timeout=LIMIT,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.wait_condition(lambda: self.enough)
        handle.cancel()
        await asyncio.wait([handle])
        return type(handle.exception().__cause__).__name__ if handle.exception() else "ended"


@workflow.defn
class NoteInOwnPod:
    """Runs an activity that is to have a pod of its own."""

    @workflow.run
    async def run(self, file: str, fail_until: int) -> int:
        return await workflow.execute_activity(
            note,
            args=[file, fail_until],
            start_to_close_timeout=LIMIT,
            retry_policy=SOON,
            pod=Pod(resources={"limits": {"cpu": "2"}}),
        )
