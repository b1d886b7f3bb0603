"""A run that the server has, but with less than the status of its object tells of.

The store was put back to an older backup. What was recorded since is done again if the run goes
on from there, so it is brought forward by its checkpoint; that the status goes back with it is
never right. A run that cannot be brought forward is held: going on from an earlier point is a
person's decision, who resumes it then.
"""

from __future__ import annotations

from itertools import dropwhile

from perdure.protocol.events import Event, Resumed, Suspended
from perdure_operator.controllers.actions import Action, ImportRun
from perdure_operator.controllers.rebuilding import Lost
from perdure_operator.controllers.runs import RunFacts
from perdure_operator.controllers.steering import IDENTITY, suspend_run
from perdure_operator.model import Activity, Workflow, WorkflowStatus

HELD = "the store was put back: less is recorded there than was before"
"""Why the operator suspends a run that is behind, as its history shows it."""


def is_behind(resource: Workflow | Activity, run: object) -> bool:
    """Tell whether the server has less of the object's run than its status tells of."""
    if not isinstance(run, RunFacts) or run.is_closed:
        return False
    described = run.description
    events, digest = _recorded(resource)
    if described.run_id != resource.status.run_id or described.events > events:
        return False
    is_other = bool(digest and described.digest) and digest != f"sha256:{described.digest}"
    return (described.events < events or is_other) and not _is_let_go(run)


def plan_catching_up(run: RunFacts, rebuilding: ImportRun | Lost) -> list[Action]:
    """Return what brings the run forward, else what holds it; nothing when it is held."""
    if _was_held(run):
        return []
    if isinstance(rebuilding, ImportRun):
        return [rebuilding]
    return [suspend_run(run, HELD)] if run.description.kind == "workflow" else []


def describe_behind(
    resource: Workflow | Activity, run: RunFacts, rebuilding: ImportRun | Lost
) -> str:
    """Return what is to be said of it.

    Args:
        resource: The object.
        run: Its run.
        rebuilding: What its checkpoint is good for, whatever the server said of that.
    """
    described = run.description
    why = "it went on in another way since then"
    if isinstance(rebuilding, Lost):
        why = rebuilding.why
    message = (
        f"the store has {described.events} events of run {described.run_id}, and "
        f"{_recorded(resource)[0]} were recorded: it was put back to an older backup, and {why}. "
    )
    if run.is_suspended:
        return message + (
            "The run is held, since it would do again what was done: restore a newer backup, or "
            f"let it go on from there with `perdure resume {described.workflow_id} "
            f"-n {described.namespace}`"
        )
    return message + "Restore a newer backup; what was done since may be done again"


def _recorded(resource: Workflow | Activity) -> tuple[int, str]:
    """Return how many events the status tells of, and their digest where it has that."""
    status = resource.status
    if isinstance(status, WorkflowStatus):
        return (0, "") if status.history is None else (status.history.events, status.history.digest)
    return (0 if status.checkpoint is None else status.checkpoint.events), ""


def _was_held(run: RunFacts) -> bool:
    return any(_is_hold(each.event) for each in run.events)


def _is_let_go(run: RunFacts) -> bool:
    """Tell whether somebody has resumed the run after it was held for this."""
    since_hold = dropwhile(lambda each: not _is_hold(each.event), run.events)
    return any(isinstance(each.event, Resumed) for each in since_hold)


def _is_hold(event: Event) -> bool:
    return isinstance(event, Suspended) and (event.identity, event.reason) == (IDENTITY, HELD)
