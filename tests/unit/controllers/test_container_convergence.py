"""A container's attempts under whatever may happen: a second look changes nothing, one pod each.

Pods end, are evicted and deleted, Jobs are deleted by hand, attempts time out, cancellation is
asked for, the server goes away; the operator looks in between, or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_operator.cluster import ACTIVITIES, JOBS, PODS, Manifest
from support.operator_scene import NAMESPACE, Scene, manifest, ref

Change = Callable[[Scene], None]

NAME = "scan"


def drive(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run it to its end; nothing in memory ever waits, so it needs no event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("something waited")


def pod_is(phase: str, *, reason: str = "", **state: Any) -> Change:
    """Have the pod of the newest Job be like this; the first time it is made."""

    def change(scene: Scene) -> None:
        jobs = scene.cluster.all(JOBS)
        if not jobs:
            return
        name = f"{jobs[-1]['metadata']['name']}-x"
        if ("pods", ref(name)) not in scene.cluster.objects:
            scene.cluster.add(PODS, _pod(jobs[-1], name))
        status: Manifest = {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]}
        if reason:
            status["conditions"] = [
                {"type": "DisruptionTarget", "status": "True", "reason": reason}
            ]
        scene.cluster.set_status(PODS, ref(name), status)

    change.__qualname__ = f"pod is {phase} {reason}{state}"
    return change


def _pod(job: Manifest, name: str) -> Manifest:
    template = job["spec"]["template"]["metadata"]
    return {"metadata": {**template, "name": name, "namespace": NAMESPACE}}


def pods_are_gone(scene: Scene) -> None:
    for pod in scene.cluster.all(PODS):
        scene.cluster.ask_to_delete(PODS, ref(pod["metadata"]["name"]))


def job_is_deleted(scene: Scene) -> None:
    for job in scene.cluster.all(JOBS):
        scene.cluster.ask_to_delete(JOBS, ref(job["metadata"]["name"]))


def attempt_times_out(scene: Scene) -> None:
    for run in scene.server.runs:
        for open_ in run.pending:
            if open_.started is not None:
                run.change_activity(
                    open_.seq, state="Scheduled", started=None, attempt=open_.attempt + 1,
                    identity="",
                )  # fmt: skip


def cancel_is_asked_for(scene: Scene) -> None:
    for run in scene.server.runs:
        for open_ in run.pending:
            if open_.started is not None:
                run.cancel_requested = True
                run.change_activity(open_.seq, state="CancelRequested")


def activity_is_deleted(scene: Scene) -> None:
    if not scene.body(ACTIVITIES, NAME)["metadata"].get("deletionTimestamp"):
        scene.cluster.ask_to_delete(ACTIVITIES, ref(NAME))


def server_goes(scene: Scene) -> None:
    scene.server.is_away = True


def server_comes(scene: Scene) -> None:
    scene.server.is_away = False


def time_passes(scene: Scene) -> None:
    scene.pass_time(minutes=11)


CHANGES: list[Change] = [
    pod_is("Pending", waiting={"reason": "ImagePullBackOff"}),
    pod_is("Running", running={}),
    pod_is("Succeeded", terminated={"exitCode": 0, "message": "1"}),
    pod_is("Failed", terminated={"exitCode": 3}),
    pod_is("Failed", reason="EvictionByEvictionAPI", terminated={"exitCode": 143}),
    pods_are_gone,
    job_is_deleted,
    attempt_times_out,
    cancel_is_asked_for,
    activity_is_deleted,
    server_goes,
    server_comes,
    time_passes,
]


async def settle(scene: Scene, changes: list[Change]) -> None:
    await scene.look(ACTIVITIES, NAME)
    for change in changes:
        if not scene.exists(ACTIVITIES, NAME):
            return
        change(scene)
        if not scene.exists(ACTIVITIES, NAME):
            return
        await scene.look(ACTIVITIES, NAME)
        writes = len(scene.cluster.writes)
        await scene.look(ACTIVITIES, NAME)
        assert scene.cluster.writes[writes:] == [], f"written again after {change}"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(CHANGES), max_size=9))
def test_a_second_look_changes_nothing_and_an_attempt_has_one_job(changes: list[Change]) -> None:
    scene = Scene()
    scene.cluster.add(ACTIVITIES, manifest(ACTIVITIES, NAME, {"template": {"image": "busybox:1"}}))
    drive(settle(scene, changes))

    made = Counter(write for write in scene.cluster.writes if write.startswith("create jobs"))
    assert not [job for job, times in made.items() if times > 1]
    reported = Counter(each.token for run in scene.server.runs for each in run.reports)
    assert not [token for token, times in reported.items() if times > 1]
