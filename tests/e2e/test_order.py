"""The main job on a real cluster: an order, from ``kubectl apply`` to the receipt.

Whatever runs it is taken away on the way: its worker, the operator, the server. It ends as
written, the customer is charged once, and nothing is left running.
"""

from __future__ import annotations

from pathlib import Path

from support.cluster_tools import Announce
from support.e2e import Release, Team, container_id
from support.e2e_killing import Killer
from support.e2e_order import (
    POOL,
    WORKFLOW,
    answer,
    history_of,
    order_manifests,
    place_order,
    save_ledger,
)
from support.order import check_effects


def test_an_order_outlives_its_worker_the_operator_and_the_server(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    manifests = order_manifests(escalate_after=10, remind_after=25)
    place_order(team, manifests)

    first = team.running_pod(POOL)
    team.kubectl("delete", "pod", first, "--force", "--grace-period=0")
    team.wait_for("jsonpath={.status.currentStep}=wait-for-warehouse", WORKFLOW)
    announce("a worker was deleted by force in mid-run:\n" + team.kubectl("get", "pwf,wpool,jobs"))

    second = team.running_pod(POOL, besides=[first])
    killer.kill(container_id(release.pod(), "operator"))
    killer.kill(container_id(team.get(f"pod/{second}"), "worker"))
    _wait_for_event(team, "ActivityCompleted: escalate-to-manager")
    announce("operator and worker were killed:\n" + team.kubectl("get", "pwf,wpool,jobs"))

    release.cluster.kubectl("delete", "pod", "-n", release.namespace, _name(release.pod()))
    _wait_for_event(team, "ActivityCompleted: remind-customer")
    announce("the server's pod was deleted:\n" + team.kubectl("get", "pwf,wpool,jobs"))

    answer(team)
    killer.kill(container_id(release.pod(), "server"))
    team.wait_for("condition=Complete", WORKFLOW)

    assert team.status(WORKFLOW)["phase"] == "Succeeded"
    assert team.status(WORKFLOW)["result"] == {
        "order_id": "42", "payment_id": "pay_42", "tracking": "track_42",
    }  # fmt: skip
    check_effects(save_ledger(team, tmp_path), "42", history_of(team))


def _wait_for_event(team: Team, line: str) -> None:
    team.cluster.eventually(
        lambda: any(line in event for event in team.status(WORKFLOW)["history"]["tail"]),
        what=f"{line} in the status of {WORKFLOW}",
    )


def _name(pod: dict) -> str:
    return pod["metadata"]["name"]
