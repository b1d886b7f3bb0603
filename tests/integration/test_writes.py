"""What the operator writes for some tens of Workflows, as the API server counts it by verb."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from perdure_operator.model import FINALIZER
from support.bare_api import BareApi, open_api
from support.cluster import Cluster
from support.cluster_tools import CHECKOUT
from support.operator_processes import Operator
from support.operator_scene import a_pool, a_workflow
from support.policies import an_admission_policy, served_versions

pytestmark = pytest.mark.timeout(300)

COUNT = 30
CODE = CHECKOUT / "tests" / "benchmarks" / "workload_code.py"
POOL = a_pool(image="shop/orders:1", modules=["workload_code"], scaling={"min": 1, "max": 1})

APPLIED = "APPLY workflows"
RELEASED = "PATCH workflows"
STATUS = "APPLY workflows/status"


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    with cluster.namespace("writes") as namespace, Operator(cluster, namespace, tmp_path) as own:
        shutil.copy(CODE, tmp_path)
        own.apply(POOL)
        own.start_worker(own.the_job())
        yield own


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[BareApi]:
    async with open_api(cluster.kubeconfig) as api:
        yield api


async def of_workflows(api: BareApi) -> Counter[str]:
    """Return the writes so far, but for those of whoever applies."""
    found = await api.writes()
    return Counter({what: n for what, n in found.items() if what in {APPLIED, RELEASED, STATUS}})


async def until_quiet(api: BareApi) -> Counter[str]:
    """Wait until nothing is written for two seconds, and return the writes so far."""
    seen = await of_workflows(api)
    for _ in range(30):
        await asyncio.sleep(2)
        now = await of_workflows(api)
        if now == seen:
            return now
        seen = now
    raise AssertionError(f"writing never ends: {seen}")


async def phases(api: BareApi, operator: Operator, phase: str) -> None:
    """Wait until all Workflows are in a phase."""
    for _ in range(120):
        found = await api.phases(operator.namespace)
        if found == {phase: COUNT}:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not all are {phase}: {found}")


async def apply(operator: Operator, type_: str, *inputs: int) -> None:
    manifests = [a_workflow(f"order-{n}", type=type_, input=list(inputs)) for n in range(COUNT)]
    await asyncio.to_thread(operator.apply, *manifests)


async def test_a_run_that_waits_is_written_to_at_its_start_and_not_while_it_waits(
    operator: Operator, api: BareApi
) -> None:
    before = await of_workflows(api)
    await apply(operator, "Waits")
    await phases(api, operator, "Running")
    after = await until_quiet(api)

    written = after - before
    assert written[APPLIED] == COUNT, "a finalizer each"
    # On a slow machine they come to rest only some seconds, and statuses, later.
    assert COUNT <= written[STATUS] <= 4 * COUNT

    # An operator that is started anew looks at all of them, and has nothing to say.
    operator.operator.kill()
    await asyncio.to_thread(operator.start_operator)
    assert await until_quiet(api) == after


async def test_a_run_to_its_end_costs_two_writes_and_its_statuses(
    operator: Operator, api: BareApi
) -> None:
    before = await of_workflows(api)
    await apply(operator, "Steps", 3)
    await phases(api, operator, "Succeeded")
    after = await until_quiet(api)

    written = after - before
    assert written[APPLIED] == written[RELEASED] == COUNT, "the finalizer comes and goes"
    # One each; a machine so slow that a run takes longer than a quarter of a second sees more.
    assert COUNT <= written[STATUS] <= 3 * COUNT
    operator.operator.kill()
    await asyncio.to_thread(operator.start_operator)
    assert await until_quiet(api) == after, "what is over is not written to again"


@pytest.fixture
def policy(cluster: Cluster) -> Iterator[None]:
    if not served_versions(cluster):
        pytest.skip("this API server has no MutatingAdmissionPolicy")
    with an_admission_policy(cluster):
        yield


async def test_a_policy_puts_the_finalizer_on_so_that_a_run_costs_two_writes(
    policy: None, operator: Operator, api: BareApi
) -> None:
    before = await of_workflows(api)
    await apply(operator, "Steps", 3)
    await phases(api, operator, "Succeeded")
    written = await until_quiet(api) - before

    assert written[APPLIED] == 0
    assert written[RELEASED] == COUNT
    assert COUNT <= written[STATUS] <= 3 * COUNT
    manifests = [a_workflow(f"order-{n}", type="Steps", input=[3]) for n in range(COUNT)]
    assert operator.apply(*manifests).count("unchanged") == COUNT
    assert all("finalizers" not in each["metadata"] for each in operator.items("workflows"))


async def test_what_outlives_its_workflow_gets_no_finalizer_from_the_policy(
    policy: None, operator: Operator
) -> None:
    theirs = a_workflow("theirs", type="Waits", input=[])
    theirs["metadata"]["finalizers"] = ["example.com/theirs"]
    operator.apply(theirs, a_workflow("orphan", type="Waits", input=[], deletionPolicy="Orphan"))
    operator.phase("workflow", "theirs", "Running")
    operator.phase("workflow", "orphan", "Running")

    assert "finalizers" not in operator.get("workflow", "orphan")["metadata"]
    held = operator.get("workflow", "theirs")["metadata"]["finalizers"]
    assert held == ["example.com/theirs", FINALIZER]
    operator.cluster.kubectl(
        "delete", "workflow", "theirs", "-n", operator.namespace, "--wait=false"
    )
    operator.eventually(
        lambda: (
            operator.get("workflow", "theirs")["metadata"]["finalizers"] == ["example.com/theirs"]
        ),
        "ours is taken off",
    )
    operator.patch("workflow", "theirs", {"metadata": {"finalizers": None}})
