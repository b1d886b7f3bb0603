"""The ways in which code is run on a real cluster: activities, images, manifests that stand alone.

And how long the shortest of them takes, which is printed and not judged: the machine is noisy.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support import e2e_worker_code
from support.cluster import Cluster
from support.cluster_fixtures import ClusterImages
from support.cluster_images import WORKER
from support.cluster_tools import Announce
from support.e2e import Team, container_id
from support.e2e_images import MODULE, build_team_image
from support.e2e_killing import Killer
from support.e2e_order import history_of
from support.manifests import manifest_of

CODE = Path(e2e_worker_code.__file__)
POOL = "team"
SCALING = {"max": 2, "idleAfter": "20s"}


def apply_pool(team: Team) -> None:
    team.give_code("code", CODE)
    team.apply(manifest_of("WorkerPool", POOL, code={"configMap": "code"}, scaling=SCALING))


def test_an_activity_runs_with_retries_until_it_succeeds(team: Team, announce: Announce) -> None:
    apply_pool(team)
    retry = {"initialInterval": "500ms", "backoffCoefficient": 1}
    team.apply(
        manifest_of(
            "Activity", "resize", type="fail_first", input=["done"], workerPool=POOL,
            retryPolicy=retry,
        )
    )  # fmt: skip

    team.wait_for("condition=Complete", "activity/resize")

    status = team.status("activity/resize")
    assert status["phase"] == "Succeeded"
    assert status["attempt"] == 3
    assert status["result"] == "done at attempt 3"
    assert status["lastFailure"]["message"] == "attempt 2 fails on purpose"
    announce(f"$ kubectl get activities\n{team.kubectl('get', 'activities')}")


def test_an_activity_fails_after_its_last_attempt(team: Team) -> None:
    apply_pool(team)
    retry = {"initialInterval": "500ms", "maximumAttempts": 2}
    team.apply(
        manifest_of(
            "Activity", "resize", type="fail_first", input=["done"], workerPool=POOL,
            retryPolicy=retry,
        )
    )  # fmt: skip

    team.wait_for("condition=Failed", "activity/resize")

    status = team.status("activity/resize")
    assert status["attempt"] == 2
    assert status["lastFailure"]["message"] == "attempt 2 fails on purpose"


def test_a_pool_runs_the_code_of_an_image_made_from_the_workers(
    cluster: Cluster, images: ClusterImages, team: Team, announce: Announce
) -> None:
    if images.worker != WORKER.name:
        pytest.skip("the images were not built here, so none can be built on them")
    name, archive = build_team_image(CODE, announce=announce)
    cluster.load_image(archive)

    team.apply(
        manifest_of("WorkerPool", POOL, image=name, modules=[MODULE], scaling=SCALING),
        manifest_of("Workflow", "hello", type="Greeting", input=["you"], workerPool=POOL),
    )

    team.wait_for("condition=Complete", "workflow/hello")
    assert team.status("workflow/hello")["result"] == "Hello, you!"


def test_a_workflow_with_a_worker_of_its_own_leaves_nothing_when_it_is_deleted(team: Team) -> None:
    team.give_code("code", CODE)
    worker = {"code": {"configMap": "code"}, "scaling": SCALING}
    team.apply(manifest_of("Workflow", "alone", type="Greeting", input=["you"], worker=worker))

    team.wait_for("condition=Complete", "workflow/alone")
    assert team.status("workflow/alone")["result"] == "Hello, you!"

    team.kubectl("delete", "workflow/alone")
    team.cluster.eventually(
        lambda: not team.kubectl("get", "workerpools,jobs,pods", "-o", "name"),
        what="nothing left of the Workflow's workers",
    )


def test_an_activity_whose_worker_is_killed_runs_again_on_another(
    team: Team, killer: Killer, announce: Announce
) -> None:
    worker = begin_long_activity(team)

    began = time.monotonic()
    killer.kill(container_id(team.get(f"pod/{worker}"), "worker"))

    team.wait_for("condition=Complete", "workflow/long")
    announce(f"the worker was killed; an activity of 4 s ended {time.monotonic() - began:.1f} s on")
    assert team.status("workflow/long")["result"] == 2, "the attempt"


def test_an_activity_whose_worker_is_deleted_by_force_ends_all_the_same(
    team: Team, announce: Announce
) -> None:
    worker = begin_long_activity(team)

    began = time.monotonic()
    team.kubectl("delete", "pod", worker, "--force", "--grace-period=0")

    team.wait_for("condition=Complete", "workflow/long")
    took = time.monotonic() - began
    announce(f"the worker was deleted by force; an activity of 4 s ended {took:.1f} s on")
    # The node tells the worker to stop, and may give it the time to finish.
    assert team.status("workflow/long")["result"] in {1, 2}, "the attempt"


def begin_long_activity(team: Team) -> str:
    """Have a worker in the middle of an activity, and return its pod."""
    apply_pool(team)
    team.apply(manifest_of("Workflow", "long", type="TakesLong", input=[4], workerPool=POOL))
    team.wait_for("jsonpath={.status.currentStep}=take_long", "workflow/long")
    return team.running_pod(POOL)


def test_how_long_five_activities_take(team: Team, announce: Announce) -> None:
    apply_pool(team)
    for name, what in (("cold", "from zero"), ("warm", "on a warm pool")):
        began = time.monotonic()
        team.apply(manifest_of("Workflow", name, type="FiveActivities", workerPool=POOL))
        team.wait_for("condition=Complete", f"workflow/{name}")
        seen = time.monotonic() - began

        history = history_of(team, f"workflow/{name}")
        ran = (history[-1].time - history[0].time) / 1000
        announce(
            f"five activities {what}: {ran:.2f} s from start to end, "
            f"{seen:.2f} s from `kubectl apply` to the return of `kubectl wait`"
        )
        assert team.status(f"workflow/{name}")["result"] == 10
