"""What is worth a notice: what ``kubectl describe`` is to show beside the status. Pure.

A notice is a Kubernetes Event. It follows from a status before and after, so that it says nothing
that the status does not, and a look that finds nothing new says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perdure_operator.cluster import (
    ACTIVITIES,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    Manifest,
    ObjectKind,
)
from perdure_operator.model import (
    Activity,
    ConditionType,
    Reason,
    WorkerPool,
    Workflow,
    WorkflowPhase,
)

NOTE_LENGTH = 1024
"""The most that the API takes."""

_BAD_ENDS = {
    WorkflowPhase.FAILED.value,
    WorkflowPhase.TIMED_OUT.value,
    WorkflowPhase.TERMINATED.value,
}
_ENDS = {*_BAD_ENDS, WorkflowPhase.SUCCEEDED.value, WorkflowPhase.CANCELED.value}
_WORKERS_ARE_WELL = {Reason.STARTING.value, Reason.AVAILABLE.value, Reason.IDLE.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened to an object."""

    reason: str
    """What, in a word, such as ``Started``."""
    action: str
    """What the operator did about it, or was doing."""
    note: str
    warning: bool = False


def name_object(resource: Workflow | Activity | WorkerPool) -> Manifest:
    """Return an object as far as a notice names it."""
    metadata = resource.metadata
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
    }


def notices_of(kind: ObjectKind, before: Manifest, after: Manifest) -> list[Notice]:
    """Return what a change of an object's status is worth."""
    find = _BY_KIND.get(kind)
    return [] if find is None else list(find(before, after))


def rebuilt(run_id: str, events: int) -> Notice:
    """Return the notice of a run that the store had lost."""
    note = (
        f"the store had lost run {run_id}, or what was recorded last of it; it goes on from its "
        f"checkpoint of {events} events"
    )
    return Notice(reason="Rebuilt", action="RebuildRun", note=note, warning=True)


def _of_run(before: Manifest, after: Manifest) -> Iterator[Notice]:
    was, phase = before.get("phase"), after.get("phase")
    if phase in _ENDS:
        if was != phase:
            yield _end(str(phase), after)
        return
    if phase == WorkflowPhase.RUNNING and was in (None, WorkflowPhase.PENDING):
        note = f"run {after.get('runId', '')} has started"
        yield Notice(reason="Started", action="StartRun", note=note)
    if phase == WorkflowPhase.RUNNING and was == WorkflowPhase.SUSPENDED:
        yield Notice(reason="Resumed", action="ResumeRun", note="the run goes on")
    if phase == WorkflowPhase.SUSPENDED and was not in (None, phase):
        note = _condition(after, ConditionType.READY).get("message", "")
        yield Notice(reason="Suspended", action="SuspendRun", note=note)
    yield from _stalled(before, after)


def _end(phase: str, after: Manifest) -> Notice:
    said = _condition(after, ConditionType.READY)
    return Notice(
        reason=said.get("reason") or phase,
        action="EndRun",
        note=said.get("message") or f"the run is {phase}",
        warning=phase in _BAD_ENDS,
    )


def _of_pool(before: Manifest, after: Manifest) -> Iterator[Notice]:
    was, now = int(before.get("activeJobs") or 0), int(after.get("activeJobs") or 0)
    if was != now:
        note = f"{was} → {now} worker Jobs; {after.get('backlog') or 0} tasks wait"
        reason = "ScaledUp" if now > was else "ScaledDown"
        yield Notice(reason=reason, action="ScaleWorkers", note=note)
    stalled = list(_stalled(before, after))
    yield from stalled
    found = _condition(after, ConditionType.WORKERS_READY)
    is_ill = found.get("status") == "False" and found["reason"] not in _WORKERS_ARE_WELL
    is_new = found.get("reason") != _condition(before, ConditionType.WORKERS_READY).get("reason")
    if is_ill and is_new and all(each.reason != found["reason"] for each in stalled):
        yield Notice(
            reason=found["reason"],
            action="StartWorkers",
            note=found.get("message", ""),
            warning=True,
        )


def _of_schedule(before: Manifest, after: Manifest) -> Iterator[Notice]:
    def more(field: str) -> int:
        return int(after.get(field) or 0) - int(before.get(field) or 0)

    if more("started") > 0:
        note = f"made Workflow {after.get('lastWorkflow', '')}"
        if more("started") > 1:
            note = f"made {more('started')} Workflows, the last one {after.get('lastWorkflow')}"
        yield Notice(reason="Fired", action="CreateWorkflow", note=note)
    if more("skipped") > 0:
        note = f"skipped {more('skipped')}: spec.overlapPolicy, and another Workflow is not over"
        yield Notice(reason="Skipped", action="SkipWorkflow", note=note)
    if more("missed") > 0:
        note = f"{more('missed')} times passed beyond spec.catchupWindow and are left out"
        yield Notice(reason="Missed", action="SkipWorkflow", note=note, warning=True)
    yield from _stalled(before, after)


def _stalled(before: Manifest, after: Manifest) -> Iterator[Notice]:
    was, found = (_condition(each, ConditionType.STALLED) for each in (before, after))
    if found.get("status") == "True" and found["reason"] != was.get("reason"):
        note = found.get("message", "")
        yield Notice(reason=found["reason"], action="Reconcile", note=note, warning=True)


def _condition(status: Manifest, type_: ConditionType) -> Mapping[str, Any]:
    found = (each for each in status.get("conditions") or () if each["type"] == type_)
    return next(found, {})


_BY_KIND: dict[ObjectKind, Callable[[Manifest, Manifest], Iterator[Notice]]] = {
    WORKFLOWS: _of_run,
    ACTIVITIES: _of_run,
    WORKER_POOLS: _of_pool,
    SCHEDULES: _of_schedule,
}
