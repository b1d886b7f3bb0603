"""Objects whose spec cannot be read: said in the status, and otherwise left alone.

The API server refuses a wrong spec when it is applied, so this is an object from before a change
of the schema, or from a newer one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from perdure_operator.cluster import Manifest, ObjectKind
from perdure_operator.controllers.actions import (
    Action,
    Plan,
    WriteStatus,
    set_finalizer,
    write_status,
)
from perdure_operator.controllers.verdicts import pending, true
from perdure_operator.controllers.world import World
from perdure_operator.model import FINALIZER, ObjectMeta, Reason, ResourceStatus


async def set_aside(world: World, kind: ObjectKind, body: Manifest, error: ValidationError) -> Plan:
    """Say in the status what is wrong with the object, do nothing else, and return the plan."""
    plan = plan_invalid(kind, body, error, world.now())
    for action in plan.actions:
        await world.applier.apply(action)
    return plan


def plan_invalid(kind: ObjectKind, body: Manifest, error: ValidationError, now: datetime) -> Plan:
    """Return what to do about an object that is not as its model wants it."""
    metadata = ObjectMeta.model_validate(body["metadata"])
    if metadata.is_being_deleted:
        held = FINALIZER in metadata.finalizers
        return Plan(actions=[set_finalizer(kind, metadata, present=False)] if held else [])

    before = _read_status(body)
    verdict = pending("it is not acted on", true(Reason.INVALID_SPEC, _explain(error)))
    conditions = verdict.conditions(before.conditions, generation=metadata.generation, now=now)
    after = ResourceStatus(observed_generation=metadata.generation, conditions=conditions)
    written = write_status(kind, metadata, before=before, after=after)
    return Plan(actions=[_beside_the_rest(action, body) for action in written])


def _beside_the_rest(action: Action, body: Manifest) -> Action:
    """Return the action with all that the status has besides: which run it is, its checkpoint."""
    assert isinstance(action, WriteStatus)
    was = body.get("status", {})
    return replace(action, status={**was, **action.status}, was=was)


def _read_status(body: Manifest) -> ResourceStatus:
    try:
        return ResourceStatus.model_validate(body.get("status", {}))
    except ValidationError:
        return ResourceStatus()


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'spec'}: {problem['msg']}"
        for problem in problems[:5]
    )
