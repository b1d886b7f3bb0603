"""An operator that dies anywhere, and starts anew: nothing is missed and nothing is doubled."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from perdure_operator.cluster import SCHEDULES
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.schedules.reconciler import ScheduleReconciler
from support.operator_scene import ref
from support.schedules import NAME, DyingApplier, ScheduleScene

SPAN = {"id": "gap", "start": "2025-12-01T10:00:00Z", "end": "2025-12-01T10:04:00Z"}


async def look_and_die(scene: ScheduleScene, *, before: int) -> None:
    """Look as an operator that dies before its n-th action, if it has so many."""
    applier = DyingApplier(scene.world.applier, before=before)
    world = dataclasses.replace(scene.world, applier=applier)  # type: ignore[arg-type] # same verbs
    try:
        await ScheduleReconciler(world).reconcile(Key(SCHEDULES, ref(NAME)))
    except DyingApplier.DeathError:
        return


@pytest.mark.parametrize("before", range(8))
async def test_a_death_before_any_action_misses_and_doubles_nothing(before: int) -> None:
    scene = ScheduleScene()
    scene.schedule(overlapPolicy="AllowAll", triggers=[{"id": "t"}], backfills=[SPAN])
    await scene.look_now()
    scene.pass_time(minutes=5)
    await look_and_die(scene, before=before)
    scene.pass_time(minutes=1)
    await scene.look_now()

    assert scene.state["started"] == 6
    assert max(Counter(scene.created()).values()) == 1
    assert sum(not each.startswith(("trigger", "backfill")) for each in scene.created()) == 6


@pytest.mark.parametrize("policy", ["BufferAll", "AllowAll"])
@pytest.mark.parametrize("seed", range(10))
async def test_deaths_at_random_miss_and_double_nothing(policy: str, seed: int) -> None:
    chance = random.Random(seed)
    scene = ScheduleScene()
    scene.schedule(
        overlapPolicy=policy, successfulWorkflowsLimit=0, triggers=[{"id": "t"}], backfills=[SPAN]
    )
    for _ in range(40):
        scene.pass_time(seconds=chance.choice([5, 20, 61, 150]))
        await look_and_die(scene, before=chance.randrange(5))
        for name in scene.workflows():
            if chance.random() < 0.5:
                scene.end(name)
    # From here on no time passes, so that everything comes to rest.
    for _ in range(200):
        for name in scene.workflows():
            scene.end(name)
        await scene.look_now()

    made = Counter(scene.created())
    assert max(made.values()) == 1
    assert made["trigger-t"] == 1
    assert sum(name.startswith("backfill-gap-") for name in made) == 5
    assert scene.state["skipped"] == scene.state["missed"] == 0
    times = sorted(int(name) for name in made if name.isdigit())
    assert times == list(range(times[0], times[-1] + 60, 60))
    assert scene.state["started"] == len(times)
