"""Law 9: applying a plan and planning again yields nothing.

The world changes as it likes (users edit, runs move, Jobs end, servers go away); then the operator
looks, and looks again. The second look must change nothing, whatever happened before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.protocol.failures import Failure
from perdure.protocol.verbs import RunStatus
from perdure_operator.cluster import ACTIVITIES, JOBS, WORKER_POOLS, WORKFLOWS, ObjectKind
from perdure_operator.controllers.pools.jobs import JobState, read_job
from support.operator_scene import Scene, a_pool, a_workflow, an_activity, ref

Change = Callable[[Scene], None]

WORKFLOW = "order-42"
ACTIVITY = "resize-1"


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it to its end; nothing in memory ever waits, so it needs no event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("something waited")


async def settle(scene: Scene, kind: ObjectKind, name: str, changes: list[Change]) -> None:
    """Let the world change, with a look after each change and a second one that finds nothing."""
    for change in changes:
        if not scene.exists(kind, name):
            return
        change(scene)
        await scene.look(kind, name)
        writes, told = len(scene.cluster.writes), len(_telling(scene))
        await scene.look(kind, name)
        assert scene.cluster.writes[writes:] == [], f"written again after {change}"
        assert _telling(scene)[told:] == [], f"told again after {change}"


def _telling(scene: Scene) -> list[Any]:
    """Return the requests that changed something; what was refused before may be tried again."""
    names = {f"{verb}Request" for verb in ("Cancel", "Terminate", "Suspend", "Resume")}
    if scene.server.refusal is None:
        names |= {"SignalRequest", "ImportRequest"}
    return [call for call in scene.server.calls if type(call).__name__ in names]


# --- runs --------------------------------------------------------------------------------------


def edits(kind: ObjectKind, name: str, **spec: Any) -> Change:
    def change(scene: Scene) -> None:
        scene.cluster.edit(kind, ref(name), **spec)

    change.__qualname__ = f"edit {spec}"
    return change


def run_is(**fields: Any) -> Change:
    def change(scene: Scene) -> None:
        for run in scene.server.runs:
            if run.status.is_open:
                for field, value in fields.items():
                    setattr(run, field, value)

    change.__qualname__ = f"run is {fields}"
    return change


def delete_workflow(scene: Scene) -> None:
    if not scene.body(WORKFLOWS, WORKFLOW)["metadata"].get("deletionTimestamp"):
        scene.cluster.ask_to_delete(WORKFLOWS, ref(WORKFLOW))


def server_goes(scene: Scene) -> None:
    scene.server.is_away = True


def server_comes(scene: Scene) -> None:
    scene.server.is_away = False


def server_refuses(scene: Scene) -> None:
    scene.server.refusal = ("Invalid", "no")


def server_takes_all(scene: Scene) -> None:
    scene.server.refusal = None


def store_is_lost(scene: Scene) -> None:
    scene.server.runs.clear()


def pool_comes(scene: Scene) -> None:
    if not scene.exists(WORKER_POOLS, "orders"):
        scene.apply(a_pool())


def pool_goes(scene: Scene) -> None:
    if scene.exists(WORKER_POOLS, "orders"):
        scene.cluster.ask_to_delete(WORKER_POOLS, ref("orders"))


def time_passes(scene: Scene) -> None:
    scene.pass_time(minutes=3)


SIGNALS = [{"id": "a1", "name": "approve"}, {"id": "a2", "name": "ship"}]
OF_SERVER = [server_goes, server_comes, server_refuses, server_takes_all, store_is_lost]
OF_RUNS = [
    run_is(status=RunStatus.COMPLETED),
    run_is(status=RunStatus.FAILED, failure=Failure(message="no")),
    run_is(status=RunStatus.CANCELED),
    run_is(status=RunStatus.SUSPENDED),
    run_is(current_step="ship"),
    run_is(task_attempt=3, task_failure_cause="WorkflowError", task_failure=Failure(message="x")),
    run_is(task_attempt=1, task_failure=None),
]
WORKFLOW_CHANGES: list[Change] = [
    *OF_SERVER,
    *OF_RUNS,
    pool_comes,
    pool_goes,
    time_passes,
    delete_workflow,
    edits(WORKFLOWS, WORKFLOW, cancel=True),
    edits(WORKFLOWS, WORKFLOW, suspend=True),
    edits(WORKFLOWS, WORKFLOW, suspend=False),
    edits(WORKFLOWS, WORKFLOW, signals=SIGNALS[:1]),
    edits(WORKFLOWS, WORKFLOW, signals=SIGNALS),
    edits(WORKFLOWS, WORKFLOW, ttlSecondsAfterFinished=60),
    edits(WORKFLOWS, WORKFLOW, deletionPolicy="Terminate"),
    edits(WORKFLOWS, WORKFLOW, deletionPolicy="Orphan"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORKFLOW_CHANGES), max_size=8), st.booleans())
def test_a_second_look_at_a_workflow_changes_nothing(
    changes: list[Change], has_own_worker: bool
) -> None:
    scene = Scene()
    worker = {"worker": {"image": "i", "modules": ["m"]}} if has_own_worker else {}
    scene.apply(a_pool(), a_workflow(**worker))
    drive(settle(scene, WORKFLOWS, WORKFLOW, changes))


ACTIVITY_CHANGES: list[Change] = [
    *OF_SERVER,
    *OF_RUNS,
    pool_comes,
    pool_goes,
    time_passes,
    edits(ACTIVITIES, ACTIVITY, cancel=True),
    edits(ACTIVITIES, ACTIVITY, ttlSecondsAfterFinished=60),
]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(ACTIVITY_CHANGES), max_size=8))
def test_a_second_look_at_an_activity_changes_nothing(changes: list[Change]) -> None:
    scene = Scene()
    scene.apply(a_pool(), an_activity())
    drive(settle(scene, ACTIVITIES, ACTIVITY, changes))


@given(st.lists(st.sampled_from(WORKFLOW_CHANGES), max_size=10))
def test_one_workflow_never_has_two_runs(changes: list[Change]) -> None:
    scene = Scene()
    scene.apply(a_pool(), a_workflow())
    drive(settle(scene, WORKFLOWS, WORKFLOW, changes))

    assert len(scene.server.runs) <= 1


# --- pools -------------------------------------------------------------------------------------


def queue_is(**facts: Any) -> Change:
    def change(scene: Scene) -> None:
        version = scene.status(WORKER_POOLS, "orders").get("version", "")
        workers = (version,) * facts.get("workers", 0)
        scene.tell_queue(
            backlog=facts.get("backlog", 0), held=facts.get("held", 0), workers=workers
        )

    change.__qualname__ = f"queue is {facts}"
    return change


def queue_is_unknown(scene: Scene) -> None:
    scene.world.queues.forget()


def job_is(state: JobState, lifetime: timedelta) -> Change:
    def change(scene: Scene) -> None:
        active = [job for job in map(read_job, scene.cluster.all(JOBS)) if not job.finished]
        for job in active[:1]:
            if state is JobState.ACTIVE:
                scene.cluster.run_job(job.ref, since=lifetime)
            else:
                succeeded = state is JobState.SUCCEEDED
                scene.cluster.end_job(job.ref, succeeded=succeeded, lifetime=lifetime)

    change.__qualname__ = f"job {state} after {lifetime}"
    return change


SHORT, LONG = timedelta(seconds=2), timedelta(minutes=5)
POOL_CHANGES: list[Change] = [
    queue_is(backlog=1),
    queue_is(backlog=30),
    queue_is(held=3, workers=1),
    queue_is(),
    queue_is_unknown,
    time_passes,
    *(job_is(state, time) for state in JobState for time in (SHORT, LONG)),
    edits(WORKER_POOLS, "orders", image="shop/orders:2"),
    edits(WORKER_POOLS, "orders", scaling={"min": 2}),
    edits(WORKER_POOLS, "orders", scaling={"min": 0, "max": 2}),
]


@settings(max_examples=250)
@given(st.lists(st.sampled_from(POOL_CHANGES), max_size=10))
def test_a_second_look_at_a_pool_changes_nothing_and_bounds_hold(changes: list[Change]) -> None:
    scene = Scene()
    scene.apply(a_pool(slots=10, scaling={"max": 4}))
    drive(settle(scene, WORKER_POOLS, "orders", changes))

    version = scene.status(WORKER_POOLS, "orders").get("version")
    jobs = [read_job(body) for body in scene.cluster.all(JOBS)]
    active = [job for job in jobs if job.state is JobState.ACTIVE and job.version == version]
    assert len(active) <= 4
