"""Thousands of Workflow manifests on a real API server: how fast, and at what cost.

An API server without nodes, a real server, a real operator; worker processes stand in for the pods
of the pool's Jobs. The Workflows are made as fast as the API server takes them. Printed are runs a
minute beside what the same API server does bare and what the same server does without Kubernetes,
the writes for each run as the API server counted them, and what each process cost.

Then the operator is started anew beside the finished Workflows, which may write nothing. What
Workflows cost that wait is :mod:`benchmarks.waiting`. With ``--policy`` the chart's
admission policy puts the finalizers on.

Usage: PYTHONPATH=tests python -m benchmarks.manifests [--runs 10000] [--workers 1] [--policy]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.costs import Cost, cost_of
from perdure.client import Client
from support.bare_api import BareApi, at_once, open_api
from support.cluster import a_cluster
from support.operator_processes import Operator
from support.policies import an_admission_policy

CODE = Path(__file__).with_name("workload_code.py")
POOL = "bench"
WIDTH = 16
"""Requests at once of whoever applies."""
BARE = 500
"""Objects and runs that the bare figures are taken from."""
POLL = 1.0
"""Seconds between two looks, or five times as long as a look takes: it costs the API server."""
QUIET = 3.0
"""Seconds without a write after which all that was to be written is taken to be written."""


class Bench:
    """The processes, and the figures taken from them."""

    def __init__(self, operator: Operator, api: BareApi) -> None:
        self.operator, self.api = operator, api
        self.namespace = operator.namespace
        self.jobs: set[str] = set()
        self.workers: list[int] = []

    def pids(self) -> dict[str, int]:
        """Return every process whose cost counts."""
        found = {
            "operator": self.operator.operator.pid,
            "server": self.operator.server.pid,
            "bench": os.getpid(),
        }
        for number, pid in enumerate(self.workers, 1):
            found[f"worker {number}"] = pid
        state = self.operator.cluster.kubeconfig.parent
        for name in ("apiserver", "etcd", "controller-manager"):
            file = state / f"{name}.pid"
            if file.exists():
                found[name] = int(file.read_text())
        return found

    def costs(self) -> dict[str, Cost]:
        """Return what they have cost until now."""
        return {name: cost_of(pid) for name, pid in self.pids().items() if name != "bench"} | {
            "bench": _own_cost()
        }

    async def start_workers(self, wanted: int) -> None:
        """Make the pool, and start a worker process for each of its Jobs, as a kubelet would."""
        pool = {
            "apiVersion": "perdure.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": POOL},
            "spec": {
                "image": "bench:1",
                "modules": ["workload_code"],
                "slots": 200,
                "scaling": {"min": wanted, "max": wanted},
            },
        }
        self.operator.apply(pool)

        async def all_there() -> bool:
            for job in await asyncio.to_thread(self.operator.items, "jobs"):
                name = job["metadata"]["name"]
                if name not in self.jobs:
                    self.jobs.add(name)
                    self.workers.append(self.operator.start_worker(job).pid)
            return len(self.workers) >= wanted

        await self.wait("the pool has its Jobs", all_there, 60)

    def closed(self) -> int:
        """Return how many runs the server has closed."""
        return int(_metric(f"http://{self.operator.server.address}/metrics",
                           "perdure_runs_closed_total"))  # fmt: skip

    async def wait(self, what: str, holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it does not within ``seconds``.
        """
        began = time.monotonic()
        deadline = began + seconds
        while not await holds():
            now = time.monotonic()
            assert now < deadline, f"{what}: not within {seconds:.0f} s"
            await asyncio.sleep(max(POLL, 5 * (now - began)))
            began = time.monotonic()

    async def wait_quiet(self, seconds: float = 60.0) -> None:
        """Wait until nothing is written any more."""
        seen, since = await self.api.writes(), time.monotonic()

        async def quiet() -> bool:
            nonlocal seen, since
            now = await self.api.writes()
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > QUIET

        await self.wait("nothing more is written", quiet, seconds)


def a_workflow(namespace: str, name: str, type_: str) -> dict[str, Any]:
    """Return a manifest as a person writes one."""
    return {
        "apiVersion": "perdure.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": type_, "input": [3] if type_ == "Steps" else [], "workerPool": POOL},
    }


async def measure_bare(bench: Bench, other: str) -> dict[str, float]:
    """Return what the API server does a second for a client that does nothing else."""
    names = [f"bare-{number}" for number in range(BARE)]
    status = {"phase": "Running", "observedGeneration": 1, "conditions": [], "runId": "x" * 36}
    made = await at_once(
        (lambda n=n: bench.api.create(other, a_workflow(other, n, "Steps")) for n in names),
        width=WIDTH,
    )
    written = await at_once(
        (lambda n=n: bench.api.apply_status(other, n, status) for n in names), width=WIDTH
    )
    return {"creates": BARE / made, "status patches": BARE / written}


async def measure_direct(bench: Bench, queue: str) -> float:
    """Return how many of the same runs a second a client gets without Kubernetes."""
    address, namespace = bench.operator.server.address, bench.namespace
    async with await Client.connect(address, namespace=namespace) as client:
        number = itertools.count()

        async def one() -> None:
            id_ = f"direct-{next(number)}"
            await client.execute_workflow("Steps", 3, id=id_, task_queue=queue)

        return BARE / await at_once([one] * BARE, width=WIDTH)


async def measure_runs(bench: Bench, runs: int) -> None:
    """Apply, wait until all are complete, and print what that took."""
    before, writes, closed = bench.costs(), await bench.api.writes(), bench.closed()
    manifests = (a_workflow(bench.namespace, f"run-{number}", "Steps") for number in range(runs))
    began = time.perf_counter()
    applied = await apply_all(bench, manifests)
    say(f"{runs:,} applied in {applied:.1f} s: {runs / applied:.0f}/s")
    limit = 60 + runs * 0.1

    async def all_closed() -> bool:
        ended = bench.closed() - closed
        say(f"{ended:,} runs closed after {time.perf_counter() - began:.0f} s")
        return ended >= runs

    async def all_complete() -> bool:
        phases = await bench.api.phases(bench.namespace)
        say(f"{dict(phases)} after {time.perf_counter() - began:.0f} s")
        return phases["Succeeded"] >= runs

    await bench.wait("all runs are closed", all_closed, limit)
    await bench.wait("all Workflows are complete", all_complete, limit)
    seconds = time.perf_counter() - began
    after = bench.costs()
    await bench.wait_quiet()
    written = await bench.api.writes() - writes
    print(f"{runs:,} Workflows, from the first apply to the last Complete: {seconds:.1f} s, "
          f"{runs / seconds * 60:,.0f} a minute")  # fmt: skip
    print_writes(written, runs)
    print_costs(before, after, runs)
    await check_complete(bench, runs)


async def apply_all(bench: Bench, manifests: Iterable[dict[str, Any]]) -> float:
    """Make Workflows as fast as the API server takes them; return the seconds."""

    async def make(number: int, manifest: dict[str, Any]) -> None:
        await bench.api.create(bench.namespace, manifest)
        if number % 500 == 0:
            say(f"{number:,} applied")

    jobs = (partial(make, number, each) for number, each in enumerate(manifests, 1))
    return await at_once(jobs, width=WIDTH)


async def check_complete(bench: Bench, runs: int) -> None:
    """See in every object that its run has ended well and that nothing holds it."""
    seen = 0
    async for each in bench.api.workflows(bench.namespace):
        conditions = {c["type"]: c["status"] for c in each["status"]["conditions"]}
        assert conditions["Complete"] == conditions["Ready"] == "True", each
        assert each["status"]["result"] == 3, each
        assert "finalizers" not in each["metadata"], each
        seen += 1
    assert seen == runs, f"{seen} of {runs} Workflows are there"


async def measure_restart(bench: Bench, runs: int) -> None:
    """Start the operator anew beside what is there, and print what looking at it all took."""
    bench.operator.operator.kill()
    writes = await bench.api.writes()
    began = time.perf_counter()
    bench.operator.start_operator()

    async def has_looked() -> bool:
        metrics = f"{bench.operator.health}/metrics"
        heard = _metric(metrics, "perdure_operator_watch_events_total", 'kind="Workflow"')
        waiting = _metric(metrics, "perdure_operator_workqueue_depth")
        return heard >= runs and waiting == 0

    await bench.wait("the operator has looked at everything", has_looked, 120 + runs * 0.05)
    seconds = time.perf_counter() - began
    cost = cost_of(bench.operator.operator.pid)
    await bench.wait_quiet()
    written = await bench.api.writes() - writes
    print(f"operator restarted beside {runs:,}: {seconds:.1f} s, CPU {cost.cpu:.1f} s, "
          f"{cost.peak:.0f} MB at most; writes: {dict(written) or 0}")  # fmt: skip


def print_writes(written: Counter[str], runs: int) -> None:
    """Print what was written for each run; the CREATEs are those of whoever applied."""
    ours = {
        what: count
        for what, count in sorted(written.items())
        if " workflows" in what and what != "POST workflows"
    }
    print(f"  writes for each run by the operator: {sum(ours.values()) / runs:.3f}")
    for what, count in sorted(written.items()):
        print(f"    {what:34}{count:8,}")


def print_costs(before: dict[str, Cost], after: dict[str, Cost], runs: int) -> None:
    """Print CPU for each run, and memory, by process."""
    for name, cost in after.items():
        used = cost.cpu - (before[name].cpu if name in before else 0.0)
        print(f"  {name:20}{used / runs * 1e3:8.2f} ms CPU a run {cost.peak:8.0f} MB at most")


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"[{text}]", file=sys.stderr, flush=True)


def _own_cost() -> Cost:
    used = os.times()
    return Cost(cpu=used.user + used.system, resident=0.0, peak=0.0)


def _metric(address: str, name: str, label: str = "") -> float:
    """Return the sum of a metric's series, or of those with a label."""
    with urlopen(address) as answer:
        lines = answer.read().decode().splitlines()
    series = (line.rsplit(" ", 1) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
    return sum(float(value) for text, value in series if label in text)


@contextmanager
def processes(folder: Path) -> Iterator[tuple[Operator, str]]:
    """Give everything that runs, and the name of a namespace that the operator does not watch."""
    with a_cluster(nodes=False, announce=say) as cluster:
        cluster.define_resources()
        with (
            cluster.namespace("bare") as other,
            cluster.namespace("bench") as namespace,
            Operator(cluster, namespace, folder) as operator,
        ):
            (folder / "workload_code.py").write_text(CODE.read_text())
            yield operator, other


async def measure(operator: Operator, other: str, options: argparse.Namespace) -> None:
    """Do all of it."""
    async with open_api(operator.cluster.kubeconfig) as api:
        bench = Bench(operator, api)
        await bench.start_workers(options.workers)
        await measure_direct(bench, POOL)
        rates = await measure_bare(bench, other)
        rates["runs without Kubernetes"] = await measure_direct(bench, POOL)
        await measure_runs(bench, options.runs)
        for name, rate in rates.items():
            print(f"  bare {name:24}{rate * 60:10,.0f} a minute")
        await measure_restart(bench, options.runs)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="Workflows (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (%(default)s)")
    parser.add_argument("--policy", action="store_true", help="with the chart's admission policy")
    options = parser.parse_args()
    # Told to end, it takes along what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with (
        tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder,
        processes(Path(folder)) as (operator, other),
        an_admission_policy(operator.cluster) if options.policy else nullcontext(),
    ):
        asyncio.run(measure(operator, other, options))


if __name__ == "__main__":
    main()
