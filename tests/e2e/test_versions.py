"""Versions of the code on a real cluster: old runs on old code, and nothing left of it after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.cluster_tools import Announce
from support.e2e import POOL_LABEL, Team
from support.manifests import manifest_of

POOL = "orders"
FILE = "shop.py"
CODE = """
from perdure import workflow


@workflow.defn
class Order:
    def __init__(self) -> None:
        self.approved = False

    @workflow.signal
    def approve(self) -> None:
        self.approved = True

    @workflow.run
    async def run(self) -> list[str]:
        begun = await workflow.step(lambda: "VERSION", name="begin-VERSION")
        await workflow.wait_condition(lambda: self.approved)
        return [begun, await workflow.step(lambda: "VERSION", name="end-VERSION")]
"""


def code(version: str) -> str:
    return CODE.replace("VERSION", version)


def change_code(team: Team, version: str) -> str:
    """Edit the ConfigMap as a user does, and return the pool's new version."""
    before = team.status(f"workerpool/{POOL}")["version"]
    team.replace_code("orders-code", FILE, code(version))
    team.kubectl("annotate", "--overwrite", f"workerpool/{POOL}", f"example.org/code={version}")
    team.cluster.eventually(
        lambda: team.status(f"workerpool/{POOL}")["version"] != before, what="a new version"
    )
    found: str = team.status(f"workerpool/{POOL}")["version"]
    return found


def begin(team: Team, name: str) -> None:
    """Have a run that waits to be approved."""
    team.apply(manifest_of("Workflow", name, type="Order", workerPool=POOL))
    team.cluster.eventually(
        lambda: any("StepCompleted" in line for line in tail(team, name)), what=f"{name} has begun"
    )


def tail(team: Team, name: str) -> list[str]:
    status: dict[str, Any] = team.get(f"workflow/{name}").get("status", {})
    found: list[str] = status.get("history", {}).get("tail", [])
    return found


def open_runs(team: Team) -> dict[str, int]:
    versions = team.status(f"workerpool/{POOL}").get("versions", ())
    return {each["hash"]: each["openRuns"] for each in versions}


def kept(team: Team, what: str) -> set[str]:
    """Return of which versions of the pool there are objects of a kind."""
    found = team.cluster.get(what, "-l", f"{POOL_LABEL}={POOL}", namespace=team.namespace)
    return {each["metadata"]["labels"]["perdure.dev/version"] for each in found["items"]}


def test_old_runs_end_on_the_old_code_and_nothing_is_left_of_it_then(
    team: Team, announce: Announce, tmp_path: Path
) -> None:
    file = tmp_path / FILE
    file.write_text(code("one"))
    team.give_code("orders-code", file)
    scaling = {"max": 2, "idleAfter": "3s"}
    team.apply(manifest_of("WorkerPool", POOL, code={"configMap": "orders-code"}, scaling=scaling))
    begin(team, "old")
    first = team.status(f"workerpool/{POOL}")["version"]
    team.wait_for_no_worker(POOL)

    second = change_code(team, "two")
    begin(team, "new")
    team.cluster.eventually(
        lambda: open_runs(team) == {second: 1, first: 1}, what="each run is pinned to its version"
    )
    announce(f"$ kubectl get workerpool -o wide\n{team.kubectl('get', 'wpool', '-o', 'wide')}")
    for name in ("old", "new"):
        team.signal(name, "a1", "approve")
        team.wait_for("condition=Complete", f"workflow/{name}")
    assert team.status("workflow/old")["result"] == ["one", "one"]
    assert team.status("workflow/new")["result"] == ["two", "two"]

    team.cluster.eventually(
        lambda: kept(team, "controllerrevisions,configmaps") == {second},
        what="nothing is written down of the old version",
    )
    team.cluster.eventually(lambda: first not in kept(team, "jobs"), what="no Job of it")
    team.cluster.eventually(
        lambda: open_runs(team) == {second: 0}, what="the status says that no run is open"
    )

    assert change_code(team, "one") == first, "rolled back"
    begin(team, "again")
    team.signal("again", "a1", "approve")
    team.wait_for("condition=Complete", "workflow/again")
    assert team.status("workflow/again")["result"] == ["one", "one"]
