"""A Schedule whose Workflows run on real pods, from none on, while operator and server die."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from support.cluster_tools import Announce
from support.e2e import Release, Team, container_id
from support.e2e_campaign import insist
from support.e2e_errands import open_shop
from support.e2e_killing import Killer
from support.e2e_order import POOL, save_ledger
from support.manifests import manifest_of

NAME = "report"
SCHEDULE = f"schedule/{NAME}"
EVERY = timedelta(seconds=3)
SCHEDULED_TIME = "perdure.dev/scheduled-time"


def times(team: Team, prefix: str = "") -> list[datetime]:
    """Return the times that there are Workflows for, in order."""
    found = insist(lambda: team.cluster.get("workflows", namespace=team.namespace)["items"])
    return sorted(
        datetime.fromisoformat(each["metadata"]["annotations"][SCHEDULED_TIME])
        for each in found
        if each["metadata"]["name"].startswith(f"{NAME}-{prefix}")
    )


def goes_on(team: Team) -> None:
    """Wait until it has fired for times that were still to come, across two of them."""
    later = datetime.now().astimezone() + EVERY
    team.cluster.eventually(lambda: times(team)[-1] > later, what="it goes on")


def ended(team: Team) -> Counter[str]:
    """Return how many Workflows are in each phase."""
    found = team.cluster.get("workflows", namespace=team.namespace)["items"]
    return Counter(each.get("status", {}).get("phase", "") for each in found)


def every_one_has_its_effect_once(team: Team, folder: Path, count: int) -> None:
    team.cluster.eventually(
        lambda: ended(team) == {"Succeeded": count}, what=f"{count} Workflows have succeeded"
    )
    lines = [json.loads(line) for line in save_ledger(team, folder).read_text().splitlines()]
    keys = {(line["order"], line["key"]) for line in lines}
    assert len(keys) == len({line["order"] for line in lines}) == count


def test_a_schedule_fires_each_time_once_while_operator_and_server_are_killed(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    open_shop(team)
    assert team.jobs(POOL) == []
    template = {"spec": {"type": "Reporting", "workerPool": POOL}}
    kept = {"successfulWorkflowsLimit": 1000, "failedWorkflowsLimit": 1000}
    spec = {"intervals": [{"every": "3s"}], "overlapPolicy": "AllowAll", **kept}
    team.apply(manifest_of("Schedule", NAME, workflowTemplate=template, **spec))
    team.running_pod(POOL)
    team.cluster.eventually(lambda: len(times(team)) >= 2, what="it has begun")

    killer.kill(container_id(release.pod(), "operator"))
    goes_on(team)
    killer.kill(container_id(release.pod(), "server"))
    goes_on(team)
    pod = release.pod()["metadata"]["name"]
    release.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    release.wait_ready()
    goes_on(team)

    team.patch(SCHEDULE, {"spec": {"pause": True, "note": "the test has seen enough"}})
    team.wait_for("jsonpath={.status.phase}=Paused", SCHEDULE)
    found = times(team)
    assert found == [found[0] + number * EVERY for number in range(len(found))]
    status = team.status(SCHEDULE)
    assert (status["started"], status["missed"], status["skipped"]) == (len(found), 0, 0)
    every_one_has_its_effect_once(team, tmp_path, len(found))
    announce(f"$ kubectl get schedules\n{team.kubectl('get', 'schedules')}")
    assert times(team) == found, "none while it is held"

    span = {"id": "gap", "start": "2025-12-01T00:00:00Z", "end": "2025-12-01T00:00:12Z"}
    team.patch(SCHEDULE, {"spec": {"backfills": [{**span, "overlapPolicy": "AllowAll"}]}})
    team.cluster.eventually(
        lambda: [each.get("done") for each in team.status(SCHEDULE)["backfills"]] == [True],
        what="the backfill is done",
    )
    start = datetime.fromisoformat(span["start"])
    assert times(team, "backfill-gap-") == [start + number * EVERY for number in range(5)]
    every_one_has_its_effect_once(team, tmp_path, len(found) + 5)

    team.patch(SCHEDULE, {"spec": {"successfulWorkflowsLimit": 2}})
    team.cluster.eventually(lambda: ended(team) == {"Succeeded": 2}, what="the others are deleted")
    team.wait_for_no_worker(POOL)
