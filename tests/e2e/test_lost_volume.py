"""The store's volume is lost with runs in flight, or is replaced by one that a file is imported to.

What was recorded is not done again: the ledger's calls of each key are counted before and after.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from support.cluster_tools import Announce
from support.e2e import Release, Team, container_id
from support.e2e_errands import (
    BAKING,
    FIRST_EFFECT,
    GIVING,
    HEARING,
    ORDER,
    REMINDED,
    Kind,
    check_errand,
    check_result,
    manifest_for,
    name_of,
    open_shop,
    recorded_keys,
)
from support.e2e_killing import Killer
from support.e2e_order import POOL, history_of, save_ledger
from support.order import ledger_lines

WAITING: Mapping[str, tuple[Kind, str]] = {
    "1": (ORDER, REMINDED),
    "2": (HEARING, FIRST_EFFECT),
    "3": (GIVING, FIRST_EFFECT),
}
"""Runs that come to rest and wait for somebody: each with what it has done by then."""
TOO_LONG = "4"
"""An order whose history is too long for a checkpoint."""
BUSY = "5"
"""A run that works when the volume goes."""
BY_HAND = "6"
"""An order that somebody has started with the command line, so no object has its checkpoint."""


def begin(team: Team) -> None:
    """Apply all but the busy one, and wait until they wait."""
    open_shop(team)
    image = team.release.worker_image
    manifests = [manifest_for(kind, number, image=image) for number, (kind, _) in WAITING.items()]
    manifests[1]["spec"]["signals"] = [{"id": "w0", "name": "word", "input": [0]}]
    too_long = manifest_for(ORDER, TOO_LONG, image=image)
    too_long["spec"]["input"][0]["card"] = os.urandom(30_000).hex()
    team.apply(*manifests, too_long)
    for number, (_, line) in {**WAITING, TOO_LONG: (ORDER, REMINDED)}.items():
        wait_for_line(team, number, line)
    team.cluster.eventually(
        lambda: all(
            team.status(workflow(number))["checkpoint"]["events"]
            == team.status(workflow(number))["history"]["events"]
            for number in WAITING
        ),
        what="the checkpoints are whole",
    )
    assert "checkpoint" not in team.status(workflow(TOO_LONG))


def workflow(number: str) -> str:
    return f"workflow/{name_of(number)}"


def wait_for_line(team: Team, number: str, line: str) -> None:
    def tail() -> list[str]:
        lines: list[str] = team.status(workflow(number))["history"]["tail"]
        return lines

    team.cluster.eventually(
        lambda: any(line in each for each in tail()), what=f"{line} of run {number}", timeout=90
    )


def finish(team: Team, kinds: Mapping[str, Kind]) -> None:
    """Do to the runs what people do, until they have ended."""
    # The first word was said when the run began.
    done = Counter({number: int(kind is HEARING) for number, kind in kinds.items()})

    def have_ended() -> bool:
        statuses = {number: team.status(workflow(number)) for number in kinds}
        for number, kind in kinds.items():
            patch = kind.touch(statuses[number], done[number])
            if patch:
                team.patch(workflow(number), {"spec": patch})
                done[number] += 1
        return all(statuses[number]["phase"] == kind.phase for number, kind in kinds.items())

    team.cluster.eventually(have_ended, what=f"{list(kinds)} have ended", timeout=120)
    for number, kind in kinds.items():
        check_result(kind, team.status(workflow(number)))


def calls_of(ledger: Path) -> Counter[str]:
    """Return how often each key was used."""
    return Counter(json.loads(line)["key"] for line in ledger.read_text().splitlines())


def test_runs_go_on_from_their_checkpoints_when_the_volume_is_lost(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    begin(team)
    team.apply(manifest_for(BAKING, BUSY, image=release.worker_image))
    team.wait_for("jsonpath={.status.currentStep}=glaze", workflow(BUSY), timeout=90)

    numbers = (*WAITING, BUSY)
    # Two that rebuild: the first one dies over it.
    with release.without_volume("operator.standbys=1"):
        before = {number: team.status(workflow(number)) for number in numbers}
        histories = [history_of(team, workflow(number)) for number in numbers]
        recorded = set[str]().union(*map(recorded_keys, histories))
        calls = calls_of(save_ledger(team, tmp_path))
    killer.kill(container_id(release.pod(), "operator"))

    lost = team.wait_for_reason("StateLost", "Stalled", workflow(TOO_LONG))
    announce(f"the volume is lost: {lost['message']}")
    finish(team, {**{number: kind for number, (kind, _) in WAITING.items()}, BUSY: BAKING})
    ledger = save_ledger(team, tmp_path)
    after = calls_of(ledger)
    assert {key: after[key] for key in recorded} == {key: calls[key] for key in recorded}
    for number, (kind, _) in WAITING.items():
        check_errand(kind, number, ledger, history_of(team, workflow(number)))
    # What the busy one did and was not written yet it may have done again, as the same attempt.
    busy = ledger_lines(ledger, BUSY)
    assert {effect: len({e["key"] for e in entries}) for effect, entries in busy.items()} == {
        "bake": 1, "glaze": 1,
    }  # fmt: skip
    for number in numbers:
        assert team.status(workflow(number))["runId"] == before[number]["runId"]
    announce(f"{len(recorded)} recorded effects, none of them again; calls by key: {after}")

    team.kubectl("delete", workflow(TOO_LONG), timeout=60)
    release.upgrade("operator.standbys=0")


def test_the_whole_store_is_exported_and_imported_to_a_new_volume(
    release: Release, team: Team, announce: Announce, tmp_path: Path
) -> None:
    begin(team)
    order = json.dumps({"order_id": BY_HAND, "escalate_after": 1, "remind_after": 2})
    there = ("-n", team.namespace)
    started = ("start", "OrderWorkflow", "--id", "by-hand", "--task-queue", POOL, "-i", order)
    release.perdure(tmp_path, *started, *there)
    team.cluster.eventually(
        lambda: REMINDED in release.perdure(tmp_path, "show", "by-hand", *there), what="it waits"
    )

    # As docs/how-to/move-or-rebuild-a-store.md has it.
    stop = {"replicas": 0, "scaling": {"mode": "External"}}
    team.patch(f"workerpool/{POOL}", {"spec": stop})
    team.wait_for_no_worker(POOL)
    file = tmp_path / "store.jsonl"
    announce(
        release.perdure(tmp_path, "history", "export", "--all-namespaces", "--file", str(file))
    )
    calls = calls_of(save_ledger(team, tmp_path))
    with release.without_volume():
        pass
    announce(release.perdure(tmp_path, "history", "import", str(file)))
    team.patch(f"workerpool/{POOL}", {"spec": {"scaling": {"mode": None}, "replicas": None}})

    release.perdure(tmp_path, "signal", "by-hand", "warehouse_answered", "-i", "true", *there)
    result = json.loads(release.perdure(tmp_path, "result", "by-hand", "-o", "json", *there))
    assert result["tracking"] == f"track_{BY_HAND}"
    kinds = {number: kind for number, (kind, _) in WAITING.items()}
    finish(team, {**kinds, TOO_LONG: ORDER})
    ledger = save_ledger(team, tmp_path)
    after = calls_of(ledger)
    assert {key: after[key] for key in calls} == calls, "nothing was done again"
    assert set(after.values()) == {1}
    for number, kind in kinds.items():
        check_errand(kind, number, ledger, history_of(team, workflow(number)))
    for number in (TOO_LONG, BY_HAND):
        assert {effect: len(each) for effect, each in ledger_lines(ledger, number).items()} == (
            dict.fromkeys(ORDER.effects, 1)
        )
