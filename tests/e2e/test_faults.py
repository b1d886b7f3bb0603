"""Minutes of faults on a real cluster: every order ends, and is charged, shipped and told once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.cluster_tools import Announce
from support.e2e import Release, Team
from support.e2e_campaign import SECONDS, SEED, Faults, Orders
from support.e2e_killing import Killer
from support.e2e_order import LEDGER_CLAIM, history_of, order_manifests, place_order, save_ledger
from support.order import check_effects

EVERY = 4.0
"""Seconds between two faults."""
SETTLE = 150.0
"""Seconds after the last fault within which all must have ended."""


@pytest.mark.timeout(SECONDS + SETTLE + 120, func_only=True)
def test_orders_come_to_their_end_exactly_once_whatever_is_killed(
    release: Release, team: Team, killer: Killer, announce: Announce, tmp_path: Path
) -> None:
    manifests = order_manifests(escalate_after=2, remind_after=4)
    place_order(team, manifests)
    orders = Orders(team, manifests)
    orders.placed.append("42")
    faults = Faults(release, team, killer, seed=SEED)
    began = time.monotonic()
    struck = began

    while time.monotonic() - began < SECONDS:
        orders.place()
        orders.answer()
        if time.monotonic() - struck >= EVERY and orders.open():
            struck = time.monotonic()
            what = faults.strike()
            if what:
                announce(f"{struck - began:.0f} s, {len(orders.placed)} orders: {what}")

    stopped = time.monotonic()
    while orders.open() or len(orders.answered) < len(orders.placed):
        assert time.monotonic() - stopped < SETTLE, f"seed {SEED}: open: {orders.open()}"
        orders.answer()
        time.sleep(1)

    phases = {name: each["phase"] for name, each in orders.statuses().items()}
    assert phases == dict.fromkeys(phases, "Succeeded"), f"seed {SEED}"
    assert len(phases) == len(orders.placed)
    ledger = save_ledger(team, tmp_path)
    for number in orders.placed:
        check_effects(ledger, number, history_of(team, f"workflow/order-{number}"))
    # An API server that comes back slowly on a loaded machine takes the time of other faults.
    assert faults.done.total() >= SECONDS / EVERY / 5, faults.done
    assert len(faults.done) >= 3, faults.done
    announce(
        f"{len(orders.placed)} orders, {len(ledger.read_text().splitlines())} calls of "
        f"{LEDGER_CLAIM}, faults {dict(faults.done)}, all ended "
        f"{time.monotonic() - stopped:.0f} s after the last (seed {SEED})"
    )
