"""Looking at one Schedule: what is asked of whom, for the plan to be made from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import ValidationError

from perdure_operator.cluster import SCHEDULES, WORKFLOWS, Manifest
from perdure_operator.controllers.actions import Outcome, Plan
from perdure_operator.controllers.invalid import set_aside
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.reconciling import converge
from perdure_operator.controllers.schedules.children import SCHEDULE_LABEL, is_owned, read_child
from perdure_operator.controllers.schedules.observing import ScheduleView
from perdure_operator.controllers.schedules.planning import plan_schedule
from perdure_operator.controllers.world import World
from perdure_operator.model import Schedule


class ScheduleReconciler:
    """Looks at Schedules."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def reconcile(self, key: Key) -> Plan:
        """Look at the Schedule and do what is to be done."""
        body = await self._world.read(key)
        if body is None:
            self._world.forget(key)
            return Plan()
        try:
            Schedule.from_manifest(body)
        except ValidationError as error:
            return await set_aside(self._world, SCHEDULES, body, error)
        return await converge(
            body,
            observe=self._observe,
            plan=plan_schedule,
            applier=self._world.applier,
            wrote=partial(self._world.latest.wrote, key),
        )

    async def _observe(self, body: Manifest, outcomes: Sequence[Outcome]) -> ScheduleView:
        schedule = Schedule.from_manifest(body)
        # Read from the cluster itself: what was made must be seen before it is counted.
        found = await self._world.cluster.list(
            WORKFLOWS,
            schedule.metadata.namespace,
            labels={SCHEDULE_LABEL: schedule.metadata.name},
        )
        return ScheduleView(
            schedule=schedule,
            now=self._world.now(),
            children=[read_child(each) for each in found if is_owned(each, schedule)],
            outcomes=tuple(outcomes),
        )
