"""Schedules for tests: manifests, and the operator looking at them as time passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from perdure_operator.cluster import SCHEDULES, WORKFLOWS, Manifest
from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.schedules.timing import Timing
from perdure_operator.model import ScheduleSpec
from support.operator_scene import Scene, manifest, ref

NAME = "report"
TEMPLATE = {"spec": {"type": "Report", "workerPool": "orders"}}


def a_spec(**spec: Any) -> ScheduleSpec:
    return ScheduleSpec.model_validate({"workflowTemplate": TEMPLATE, **spec})


def a_timing(seed: str = "uid", **spec: Any) -> Timing:
    return Timing(a_spec(**spec), seed=seed)


def a_schedule(name: str = NAME, **spec: Any) -> Manifest:
    return manifest(SCHEDULES, name, {"workflowTemplate": TEMPLATE, **spec})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class ScheduleScene(Scene):
    """One Schedule, by default of every minute, from 2026-01-01 00:00 UTC on."""

    def schedule(self, **spec: Any) -> None:
        times = {} if spec.keys() & {"cron", "intervals", "calendars"} else {"cron": ["* * * * *"]}
        self.apply(a_schedule(**times, **spec))

    async def look_now(self) -> Plan:
        return await self.look(SCHEDULES, NAME)

    async def look_after(self, **time: float) -> Plan:
        self.pass_time(**time)
        return await self.look_now()

    async def sleep_until_told(self, plan: Plan) -> Plan:
        """Let the time pass that the plan asks for, as the work queue does, and look again."""
        assert plan.again is not None
        self.clock.pass_(plan.again)
        return await self.look_now()

    def edit(self, **spec: Any) -> None:
        self.cluster.edit(SCHEDULES, ref(NAME), **spec)

    @property
    def state(self) -> dict[str, Any]:
        return self.status(SCHEDULES, NAME)

    def workflows(self) -> list[str]:
        """Return the Workflows there are, without the Schedule's name, sorted."""
        names = (body["metadata"]["name"] for body in self.cluster.all(WORKFLOWS))
        return sorted(name.removeprefix(f"{NAME}-") for name in names)

    def minutes(self) -> list[int]:
        """Return the minutes since the beginning that there are Workflows for."""
        beginning = int(utc("2026-01-01T00:00").timestamp())
        return [(int(name) - beginning) // 60 for name in self.workflows()]

    def created(self) -> list[str]:
        """Return the names of all Workflows ever made, in order."""
        verb = f"create {WORKFLOWS.plural} shop/{NAME}-"
        return [each.removeprefix(verb) for each in self.cluster.writes if each.startswith(verb)]

    def end(self, name: str, phase: str = "Succeeded") -> None:
        """Have a Workflow's run be over."""
        ended = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self.set_phase(name, phase, completionTime=ended)

    def run(self, name: str) -> None:
        """Have a Workflow's run be started."""
        self.set_phase(name, "Running")

    def set_phase(self, name: str, phase: str, **status: str) -> None:
        full = ref(f"{NAME}-{name}")
        self.cluster.set_status(WORKFLOWS, full, {"phase": phase, "runId": f"r-{name}", **status})

    def crash(self) -> None:
        """Have the operator start anew: with nothing in memory."""
        self.world.latest.__init__()  # type: ignore[misc] # a memory like new
        self.world.roster.__init__()  # type: ignore[misc] # likewise


class DyingApplier:
    """An applier whose process dies before its n-th action, counted from 0."""

    class DeathError(BaseException):
        """The process is gone."""

    def __init__(self, inner: Applier, *, before: int) -> None:
        self._inner = inner
        self._left = before

    async def apply(self, action: Any) -> Any:
        if self._left == 0:
            raise self.DeathError
        self._left -= 1
        return await self._inner.apply(action)


MINUTE = timedelta(minutes=1)
