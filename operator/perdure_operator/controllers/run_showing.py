"""Looking at a run that no object stands for: code started it, and it has activities with pods.

Each of those gets an Activity that nothing owns; otherwise all is as with a Workflow's.
"""

from __future__ import annotations

from perdure.protocol.verbs import DescribeRequest
from perdure_operator.controllers.actions import Plan
from perdure_operator.controllers.activities.showing import Showing, plan_showing
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.server import RunNotFoundError
from perdure_operator.controllers.world import World


class RunShower:
    """Looks at runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def reconcile(self, key: Key) -> Plan:
        """Make what Activities are missing; a key's name is the run's workflow id."""
        namespace, workflow_id = key.ref.namespace, key.ref.name
        if self._world.roster.find(namespace, workflow_id) is not None:
            # Its object was heard of meanwhile, and is looked at by itself.
            return Plan()
        request = DescribeRequest(namespace=namespace, workflow_id=workflow_id)
        try:
            run = await self._world.server.call(request)
        except RunNotFoundError:
            return Plan()
        showing = Showing(
            now=self._world.now(),
            show_after=self._world.show_after,
            shown=self._world.shown.seqs(run.run_id),
        )
        plan = plan_showing(run, showing)
        for action in plan.actions:
            await self._world.applier.apply(action)
        return plan
