"""The main job on a real cluster: an order, from ``kubectl apply`` to the receipt.

Whatever runs it is taken away on the way: its worker, the operator, the server. It ends as
written, the customer is charged once, and nothing is left running.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from support.cluster_tools import Announce
from support.e2e import Release, Team, container_id
from support.e2e_killing import Killer
from support.e2e_order import (
    LEDGER_CLAIM,
    ORDER,
    POOL,
    WORKFLOW,
    OrderManifests,
    answer,
    digest_of,
    history_of,
    order_manifests,
    place_order,
    save_ledger,
)
from support.order import check_effects, ledger_lines

RECEIPT = {"order_id": "42", "payment_id": "pay_42", "tracking": "track_42"}


def test_an_order_outlives_its_worker_the_operator_and_the_server(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    manifests = order_manifests(escalate_after=8, remind_after=20)

    began = time.monotonic()

    def say(what: str) -> None:
        control_plane = release.kubectl("get", "pods")
        seen = team.kubectl("get", "workflows,workerpools,jobs")
        announce(f"{time.monotonic() - began:.1f} s: {what}:\n{control_plane}\n{seen}")

    place_order(team, manifests)
    first = team.running_pod(POOL)
    killer.kill(container_id(team.get(f"pod/{first}"), "worker"))
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)
    say("a worker was killed as it began")

    second = team.running_pod(POOL, besides=[first])
    team.kubectl("delete", "pod", second, "--force", "--grace-period=0")
    killer.kill(container_id(release.pod(), "operator"))
    wait_for_event(team, "ActivityCompleted: escalate-to-manager")
    release.wait_restarted("operator")
    say("a worker's pod was deleted by force, and the operator killed")

    release.kubectl("delete", "pod", release.pod()["metadata"]["name"])
    wait_for_event(team, "ActivityCompleted: remind-customer")
    say("the server's pod was deleted")

    answer(team)
    killer.kill(container_id(release.pod(), "server"))
    team.wait_for("condition=Complete", WORKFLOW)
    release.wait_restarted("server")
    say("the server was killed as the answer came in")

    assert team.status(WORKFLOW)["phase"] == "Succeeded"
    assert team.status(WORKFLOW)["result"] == RECEIPT
    check_effects(save_ledger(team, tmp_path), "42", history_of(team))
    announce(release.perdure(tmp_path, "show", ORDER, "-n", team.namespace))

    team.wait_for_no_worker(POOL)
    check_that_applying_again_starts_nothing(release, team, manifests, tmp_path)


def check_that_applying_again_starts_nothing(
    release: Release, team: Team, manifests: OrderManifests, folder: Path
) -> None:
    before = team.get(WORKFLOW)

    said = team.apply(*manifests.all)

    assert said.count("unchanged") == len(manifests.all)
    time.sleep(3)  # ten times what the operator took to start it
    after = team.get(WORKFLOW)
    assert after == before
    assert team.jobs(POOL) == []
    runs = json.loads(release.perdure(folder, "list", "-n", team.namespace, "-o", "json"))
    assert [run["runId"] for run in runs] == [before["status"]["runId"]]


def wait_for_event(team: Team, line: str) -> None:
    team.cluster.eventually(
        lambda: any(line in event for event in team.status(WORKFLOW)["history"]["tail"]),
        what=f"{line} in the status of {WORKFLOW}",
    )


def test_the_status_says_where_an_order_is_and_how_it_went(team: Team, announce: Announce) -> None:
    place_order(team, order_manifests())
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)

    status = team.status(WORKFLOW)
    assert status["phase"] == "Running"
    assert status["taskQueue"] == POOL
    assert status["workflowId"] == ORDER
    assert team.condition(WORKFLOW, "Ready")["status"] == "False"
    assert team.condition(WORKFLOW, "Reconciling")["reason"] == "Running"
    team.wait_for("condition=WorkersReady", WORKFLOW)
    assert "TimerStarted: wait-for-warehouse, 2h" in status["history"]["tail"][-1]
    announce(f"$ kubectl get workflows\n{team.kubectl('get', 'workflows')}")
    announce(f"$ kubectl get workflows -o wide\n{team.kubectl('get', 'workflows', '-o', 'wide')}")
    announce(f"$ kubectl get workerpools\n{team.kubectl('get', 'workerpools')}")

    answer(team)
    team.wait_for("condition=Complete", WORKFLOW)

    status, history = team.status(WORKFLOW), history_of(team)
    assert "currentStep" not in status
    assert status["result"] == RECEIPT
    assert status["deliveredSignals"] == ["answer-1"]
    assert "WorkflowCompleted → " in status["history"]["tail"][-1]
    assert "track_42" in status["history"]["tail"][-1]
    assert status["history"]["events"] == status["checkpoint"]["events"] == len(history)
    assert status["history"]["digest"] == digest_of(history)
    assert team.condition(WORKFLOW, "Ready")["status"] == "True"
    assert not team.condition(WORKFLOW, "Reconciling")
    announce(f"$ kubectl get workflows\n{team.kubectl('get', 'workflows')}")
    announce(f"$ kubectl describe workflow\n{team.kubectl('describe', WORKFLOW)}")


def test_deleting_an_order_cancels_it_and_the_money_goes_back(
    release: Release, team: Team, tmp_path: Path
) -> None:
    place_order(team, order_manifests())
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)

    team.kubectl("delete", WORKFLOW, timeout=30)

    shown = json.loads(release.perdure(tmp_path, "show", ORDER, "-n", team.namespace, "-o", "json"))
    assert shown["status"] == "Canceled"
    calls = ledger_lines(save_ledger(team, tmp_path), "42")
    assert set(calls) == {"charge", "refund"}
    assert len(calls["refund"]) == 1
    assert team.get(f"pvc/{LEDGER_CLAIM}")
