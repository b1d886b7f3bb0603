"""Minutes of faults on a real cluster: every run ends, and each effect has one key and one end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from support.cluster_tools import Announce
from support.e2e import Release, Team, container_id
from support.e2e_campaign import SECONDS, SEED, Errands, Faults
from support.e2e_errands import BAKING, check_errand, check_result, name_of, open_shop
from support.e2e_killing import Killer
from support.e2e_order import POOL, history_of, save_ledger
from support.manifests import manifest_of
from support.order import ledger_lines

EVERY = 4.0
"""Seconds between two faults."""
SETTLE = 150.0
"""Seconds after the last fault within which all must have ended."""


@pytest.mark.timeout(SECONDS + SETTLE + 180, func_only=True)
def test_runs_come_to_their_end_and_every_effect_counts_once_whatever_is_killed(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    open_shop(team)
    errands = Errands(team)
    faults = Faults(release, team, killer, errands, seed=SEED)
    with release.standby():
        began = time.monotonic()
        struck = began
        while time.monotonic() - began < SECONDS:
            errands.place()
            errands.touch()
            faults.wake()
            if time.monotonic() - struck >= EVERY and errands.open():
                struck = time.monotonic()
                what = faults.strike()
                if what:
                    announce(f"{struck - began:.0f} s, {len(errands.placed)} runs: {what}")

        faults.wake(all_of_them=True)
        stopped = time.monotonic()
        while errands.open() or not faults.is_over:
            assert time.monotonic() - stopped < SETTLE, f"seed {SEED}: open: {errands.open()}"
            errands.touch()
            faults.wake()
            time.sleep(1)
        took = time.monotonic() - stopped

    statuses = errands.statuses()
    assert sorted(statuses) == sorted(map(name_of, errands.placed)), f"seed {SEED}"
    ledger = save_ledger(team, tmp_path)
    again: Counter[str] = Counter()
    for number, kind in errands.placed.items():
        check_result(kind, statuses[name_of(number)])
        assert errands.touched[number] >= kind.touches, (kind.type, number)
        history = history_of(team, f"workflow/{name_of(number)}")
        again[kind.type] += check_errand(kind, number, ledger, history)
    # An API server that comes back slowly on a loaded machine takes the time of other faults.
    assert faults.done.total() >= SECONDS / EVERY / 5, faults.done
    assert len(faults.done) >= 3, faults.done
    assert again.total() > 0, "no fault came while work was going on"
    announce(
        f"{len(errands.placed)} runs, {len(ledger.read_text().splitlines())} effects, of which "
        f"{again.total()} by attempts that do not count ({dict(again)}), {faults.refused} late "
        f"reports refused, faults {dict(faults.done)}, all ended {took:.0f} s after the last "
        f"(seed {SEED})"
    )


def stop_while_it_bakes(team: Team, killer: Killer) -> tuple[str, str]:
    """Have a worker stopped in the middle of an activity, and return its pod and container."""
    team.apply(manifest_of("Workflow", "late", type="Baking", input=["7"], workerPool=POOL))
    team.wait_for("jsonpath={.status.currentStep}=bake", "workflow/late")
    pod = team.running_pod(POOL)
    container = container_id(team.get(f"pod/{pod}"), "worker")
    killer.stop(container)
    return pod, container


def test_what_a_worker_says_that_was_stopped_beyond_its_lease_does_not_count(
    team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    open_shop(team)
    sleeper, container = stop_while_it_bakes(team, killer)
    began = time.monotonic()
    team.patch(f"workerpool/{POOL}", {"spec": {"scaling": {"min": 2}}})

    def calls() -> list[int]:
        entries = ledger_lines(save_ledger(team, tmp_path), "7")["bake"]
        assert len({each["key"] for each in entries}) == 1
        return [each["attempt"] for each in entries]

    team.wait_for("jsonpath={.status.currentStep}=glaze", "workflow/late")
    announce(f"its worker stopped, the activity was done {time.monotonic() - began:.1f} s on")
    killer.go_on(container)
    late = "The report of attempt 1 of activity 1 of run"
    team.cluster.eventually(
        lambda: late in team.kubectl("logs", sleeper), what="its report is refused", timeout=30
    )
    said = [line for line in team.kubectl("logs", sleeper).splitlines() if late in line]
    announce("\n".join(said))
    team.wait_for("condition=Complete", "workflow/late")
    assert calls() == [2, 1], "late, but under the same key"
    assert team.status("workflow/late")["result"][0] == 2, "the attempt that counts"
    check_errand(BAKING, "7", save_ledger(team, tmp_path), history_of(team, "workflow/late"))

    assert team.get(f"pod/{sleeper}")["status"]["phase"] == "Running", "it goes on as a worker"


def test_a_worker_that_hangs_for_good_is_replaced_though_no_other_may_be_beside_it(
    team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    open_shop(team)
    team.patch(f"workerpool/{POOL}", {"spec": {"scaling": {"max": 1}}})
    sleeper, _ = stop_while_it_bakes(team, killer)
    began = time.monotonic()

    team.wait_for("condition=Complete", "workflow/late", timeout=90)

    announce(f"its only worker hangs: the run ended {time.monotonic() - began:.1f} s on")
    check_errand(BAKING, "7", save_ledger(team, tmp_path), history_of(team, "workflow/late"))
    events = team.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")
    assert "runs, but has not been connected since" in events
    assert team.running_pod(POOL, besides=[sleeper])
