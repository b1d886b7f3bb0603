"""Objects whose spec cannot be read: said in the status, and otherwise left alone.

The API server refuses most of what is wrong when it is applied. This is about what its rules cannot
see (a time zone that there is not, a batch that has an input as well), and about objects from
before a change of the schema. All that the status says stays: it is what the operator remembers of
the object, such as the triggers of a Schedule that were done, and the spec will be mended.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from perdure_operator.cluster import Manifest, ObjectKind
from perdure_operator.controllers.actions import Plan, WriteStatus, ref_of, set_finalizer
from perdure_operator.controllers.world import World
from perdure_operator.model import (
    FINALIZER,
    Condition,
    ConditionStatus,
    ConditionType,
    ObjectMeta,
    Reason,
    ResourceStatus,
    is_true,
    set_condition,
)

_MOST_PROBLEMS = 5


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

    was: Manifest = body.get("status", {})
    conditions = _read_conditions(was)
    if any(is_true(conditions, over) for over in (ConditionType.COMPLETE, ConditionType.FAILED)):
        # What became of it stays true, whatever its spec reads like by now.
        return Plan()
    told = _tell(conditions, explain_invalid(error), metadata.generation, now)
    after = ResourceStatus(observed_generation=metadata.generation, conditions=told)
    status = {**was, **after.model_dump(mode="json", exclude_none=True)}
    if status == was:
        return Plan()
    return Plan(
        actions=[
            WriteStatus(
                kind=kind,
                ref=ref_of(metadata),
                resource_version=metadata.resource_version,
                status=status,
                was=was,
            )
        ]
    )


def _tell(
    conditions: tuple[Condition, ...], said: str, generation: int, now: datetime
) -> tuple[Condition, ...]:
    entries = (
        (ConditionType.READY, ConditionStatus.FALSE, Reason.INVALID_SPEC, said),
        (ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.PENDING, "it is not acted on"),
        (ConditionType.STALLED, ConditionStatus.TRUE, Reason.INVALID_SPEC, said),
    )
    for type_, status, reason, message in entries:
        conditions = set_condition(conditions, type_, status, reason, message, generation, now)
    return conditions


def explain_invalid(error: ValidationError) -> str:
    """Return what is wrong with a manifest, field by field, in words for its author."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    said: list[str] = []
    places: list[tuple[int | str, ...]] = []
    for problem in problems:
        place = problem["loc"]
        # What is wrong in a list makes the list wrong as well; that is not worth a word.
        if any(known[: len(place)] == place for known in places):
            continue
        places.append(place)
        said.append(f"{_path(place)}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(said[:_MOST_PROBLEMS])


def _path(place: tuple[int | str, ...]) -> str:
    """Return a field's path as the API server writes it."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "spec"


def _read_conditions(status: Manifest) -> tuple[Condition, ...]:
    try:
        return ResourceStatus.model_validate(status).conditions
    except ValidationError:
        return ()
