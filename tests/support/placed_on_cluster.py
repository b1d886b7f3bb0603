"""Workflows with containers and pods of their own, as a ConfigMap gives them to workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.common import Pod, RetryPolicy

LIMIT = timedelta(minutes=5)
SOON = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_attempts=3)


@activity.defn(name="measure")
async def measure(what: str) -> dict[str, Any]:
    """Say where it runs, as far as the process knows."""
    return {"what": what, "queue": activity.info().task_queue, "attempt": activity.info().attempt}


@activity.defn(name="linger")
async def linger(seconds: float) -> str:
    """Take a while."""
    import asyncio

    await asyncio.sleep(seconds)
    return "done"


@workflow.defn(name="Scan")
class Scan:
    """Runs one container with the options that it is given."""

    @workflow.run
    async def run(self, image: str, script: str, arguments: list[Any]) -> Any:
        return await workflow.execute_container(
            image,
            command=["sh", "-c"],
            args=[script],
            input=arguments,
            start_to_close_timeout=LIMIT,
            retry_policy=SOON,
            non_retryable_exit_codes=[9],
            resources={"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
        )


@workflow.defn(name="Measure")
class Measure:
    """Runs a registered activity in a pod of its own."""

    @workflow.run
    async def run(self, what: str) -> Any:
        return await workflow.execute_activity(
            measure,
            what,
            start_to_close_timeout=LIMIT,
            retry_policy=SOON,
            pod=Pod(resources={"limits": {"memory": "256Mi"}}, env={"TEAM": "media"}),
        )


@workflow.defn(name="Linger")
class Linger:
    """Runs an activity that takes a while, on the pool."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        return await workflow.execute_activity(linger, seconds, start_to_close_timeout=LIMIT)
