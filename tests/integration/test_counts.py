"""What steps and activities cost, counted on real processes.

A step is one commit and one round trip, an activity no more than three commits. The costs are
taken from two runs of different length, so that what a run costs as such does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from support.scenes import Scene

WORKLOADS = Path(__file__).parents[1] / "benchmarks" / "workload_code.py"
FEW, MANY = 10, 110


class Cost(NamedTuple):
    """What the store did."""

    commits: int
    transitions: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.commits - other.commits, self.transitions - other.transitions)


@pytest.fixture(scope="module")
def quiet_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A server and a worker that nobody else uses."""
    with Scene(tmp_path_factory.mktemp("counts")) as scene:
        scene.start_server()
        scene.start_worker(WORKLOADS)
        yield scene


async def cost_so_far(scene: Scene) -> Cost:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{scene.address}/metrics") as response,
    ):
        lines = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines())
    names = ("perdure_store_commits_total", "perdure_store_transitions_total")
    return Cost(*(round(float(lines[name])) for name in names))


async def cost_of(scene: Scene, workflow_type: str, count: int) -> Cost:
    before = await cost_so_far(scene)
    async with scene.client() as client:
        result = await client.execute_workflow(
            workflow_type, count, id=f"{workflow_type}-{count}", task_queue="default"
        )
    assert result == sum(range(count))
    return await cost_so_far(scene) - before


async def cost_of_hundred_more(scene: Scene, workflow_type: str) -> Cost:
    few = await cost_of(scene, workflow_type, FEW)
    return await cost_of(scene, workflow_type, MANY) - few


async def test_a_step_costs_one_commit(quiet_scene: Scene) -> None:
    assert await cost_of_hundred_more(quiet_scene, "Steps") == (100, 100)


async def test_an_activity_costs_two_commits(quiet_scene: Scene) -> None:
    assert await cost_of_hundred_more(quiet_scene, "Activities") == (200, 200)


async def test_a_run_without_a_step_costs_two_commits(quiet_scene: Scene) -> None:
    assert await cost_of(quiet_scene, "Steps", 0) == (2, 2)


async def test_parallel_steps_share_commits(quiet_scene: Scene) -> None:
    cost = await cost_of_hundred_more(quiet_scene, "Parallel")
    assert cost.commits <= 20


@pytest.mark.parametrize("workflow_type", ["Parallel", "ParallelActivities"])
async def test_ten_thousand_at_once_come_back_and_share_their_commits(
    quiet_scene: Scene, workflow_type: str
) -> None:
    cost = await cost_of(quiet_scene, workflow_type, 10_000)
    assert cost.commits < 2_000
