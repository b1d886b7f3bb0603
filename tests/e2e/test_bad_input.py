"""What users get wrong, on a real cluster: clear words where they look, nothing lost, no storm."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import pytest

from support import e2e_worker_code
from support.cluster_tools import Announce, CommandError
from support.e2e import Team
from support.e2e_order import WORKFLOW, answer, order_manifests, place_order
from support.manifests import manifest_of
from support.order import EXAMPLE

CODE = Path(e2e_worker_code.__file__)
POOL = "greeters"
SCALING = {"max": 2, "idleAfter": "5s"}


def greet(team: Team, **pool: object) -> None:
    """Apply a pool with something wrong about it, and a run that waits for it."""
    if not team.kubectl("get", "configmap", "code", "--ignore-not-found"):
        team.give_code("code", CODE)
    spec = {"code": {"configMap": "code"}, "scaling": SCALING, **pool}
    team.apply(
        manifest_of("WorkerPool", POOL, **spec),
        manifest_of("Workflow", "hello", type="Greeting", input=["you"], workerPool=POOL),
    )


def check_that_it_went_on(team: Team) -> None:
    team.wait_for("condition=Complete", "workflow/hello")
    assert team.status("workflow/hello")["result"] == "Hello, you!"
    team.wait_for("condition=WorkersReady", f"workerpool/{POOL}")


def test_a_worker_that_crashes_is_said_and_left_alone_longer_each_time_until_it_is_mended(
    team: Team, announce: Announce
) -> None:
    greet(team, modules=["nonsense"])

    said = team.wait_for_reason("WorkersCrashing", "WorkersReady", f"workerpool/{POOL}")
    assert said["status"] == "False"
    assert "nonsense" in said["message"]
    # On the run that waits, too: that is where its owner looks.
    said = team.wait_for_reason("WorkersCrashing", "WorkersReady", "workflow/hello")
    assert "nonsense" in said["message"]
    stalled = team.wait_for_reason("WorkersCrashing", "Stalled", f"workerpool/{POOL}")
    assert "nonsense" in stalled["message"]
    made = times_of_jobs(team)
    # 1 s, 2 s, 4 s … of waiting between them; the API tells times to the second.
    assert (made[-1] - made[0]).total_seconds() >= 2 ** (len(made) - 1) - 2
    announce(f"$ kubectl get wpool,jobs\n{team.kubectl('get', 'workerpools,jobs')}")

    team.patch(f"workerpool/{POOL}", {"spec": {"modules": None}})
    check_that_it_went_on(team)


def times_of_jobs(team: Team) -> list[datetime]:
    made = (job["metadata"]["creationTimestamp"] for job in team.jobs(POOL))
    return sorted(datetime.fromisoformat(each) for each in made)


def test_an_image_that_does_not_exist_is_said_and_asks_for_one_job_only(team: Team) -> None:
    greet(team, image="localhost/nobody-made-this:1")

    said = team.wait_for_reason("ImagePullFailed", "WorkersReady", f"workerpool/{POOL}")
    assert said["status"] == "False"
    assert "localhost/nobody-made-this:1" in said["message"]
    said = team.wait_for_reason("ImagePullFailed", "WorkersReady", "workflow/hello")
    assert "localhost/nobody-made-this:1" in said["message"]
    time.sleep(5)  # a storm would be seen by then
    assert len(team.jobs(POOL)) == 1

    team.patch(f"workerpool/{POOL}", {"spec": {"image": None}})
    check_that_it_went_on(team)


def test_a_pool_without_its_configmap_says_so_and_runs_once_it_is_there(team: Team) -> None:
    team.apply(
        manifest_of("WorkerPool", POOL, code={"configMap": "code"}, scaling=SCALING),
        manifest_of("Workflow", "hello", type="Greeting", input=["you"], workerPool=POOL),
    )

    said = team.wait_for_reason("CodeNotFound", "WorkersReady", f"workerpool/{POOL}")
    assert "there is no ConfigMap 'code'" in said["message"]
    assert team.jobs(POOL) == []

    team.give_code("code", CODE)
    check_that_it_went_on(team)


def test_a_run_without_its_pool_says_so_and_starts_once_it_is_there(team: Team) -> None:
    team.apply(manifest_of("Workflow", "hello", type="Greeting", input=["you"], workerPool=POOL))

    said = team.wait_for_reason("WorkerPoolNotFound", "Stalled", "workflow/hello")
    assert f"there is no WorkerPool '{POOL}'" in said["message"]

    greet(team)
    check_that_it_went_on(team)


def test_code_that_no_longer_fits_the_history_stalls_the_run_until_it_is_mended(
    team: Team, announce: Announce
) -> None:
    manifests = order_manifests(idle_after="2s")
    manifests.pool["spec"]["versioning"] = "AutoUpgrade"  # else the run would stay on its version
    place_order(team, manifests)
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)
    team.wait_for_no_worker("orders")
    code = EXAMPLE.read_text()

    team.replace_code("orders-code", EXAMPLE.name, code.replace("charge-payment", "charge-card"))
    answer(team)
    said = team.wait_for_reason("Nondeterministic", "Stalled", WORKFLOW)

    announce(said["message"])
    assert "charge-payment" in said["message"], "what history holds"
    assert "charge-card" in said["message"], "what the code does"
    assert team.status(WORKFLOW)["phase"] == "Running"
    team.replace_code("orders-code", EXAMPLE.name, code)
    team.kubectl("annotate", "workerpool/orders", "example.org/code=mended")
    team.wait_for("condition=Complete", WORKFLOW)


def test_an_unknown_workflow_type_is_said_with_the_types_there_are(team: Team) -> None:
    greet(team)
    team.apply(manifest_of("Workflow", "lost", type="Greetings", workerPool=POOL))

    said = team.wait_for_reason("TypeNotRegistered", "Stalled", "workflow/lost")

    assert "Greetings" in said["message"]
    assert "Greeting" in re.split(r"\bGreetings\b", said["message"], maxsplit=1)[1]
    team.patch("workflow/lost", {"spec": {"deletionPolicy": "Terminate"}})
    team.kubectl("delete", "workflow/lost", timeout=20)


def test_a_wrong_field_is_refused_by_the_api_server(team: Team) -> None:
    with pytest.raises(CommandError, match=r'unknown field "spec.inputs"'):
        team.apply(manifest_of("Workflow", "a", type="T", workerPool="p", inputs=[1]))


def test_input_that_does_not_decode_fails_the_run_in_words(team: Team, announce: Announce) -> None:
    manifests = order_manifests(amount="much")
    place_order(team, manifests)

    team.wait_for("condition=Failed", WORKFLOW)

    status = team.status(WORKFLOW)
    assert status["phase"] == "Failed"
    assert status["failure"]["type"] == "InvalidInput"
    assert "amount" in status["failure"]["message"]
    announce(f"$ kubectl get workflows\n{team.kubectl('get', 'workflows')}")
    announce(team.condition(WORKFLOW, "Failed")["message"])
