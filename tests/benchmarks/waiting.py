"""Thousands of Workflows that wait for a signal, on a real API server: what holding them costs.

The same processes as in :mod:`benchmarks.manifests`. Printed are the writes for each run until all
wait, what operator and server hold and do while nothing happens, and what an operator costs that
is started anew beside them all. Then some are canceled and some deleted, as a person would, and it
is told how long it took until the last of them was through.

Usage: PYTHONPATH=tests python -m benchmarks.waiting [--waiting 10000] [--few 100]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.manifests import (
    WIDTH,
    Bench,
    a_workflow,
    apply_all,
    measure_restart,
    print_costs,
    print_writes,
    processes,
    say,
)
from support.bare_api import at_once, open_api
from support.operator_processes import Operator

IDLE = 30.0
"""Seconds in which nothing may be written."""
MEMORY = 300.0
"""MB that the operator may take at most."""


async def measure_start(bench: Bench, waiting: int) -> None:
    """Apply, wait until all wait, and print what that took."""
    before, writes = bench.costs(), await bench.api.writes()
    began = time.perf_counter()
    manifests = (a_workflow(bench.namespace, f"wait-{n}", "Waits") for n in range(waiting))
    say(f"{waiting:,} applied in {await apply_all(bench, manifests):.1f} s")

    async def all_running() -> bool:
        phases = await bench.api.phases(bench.namespace)
        say(f"{dict(phases)} after {time.perf_counter() - began:.0f} s")
        return phases["Running"] >= waiting

    await bench.wait("all are running", all_running, 60 + waiting * 0.3)
    seconds = time.perf_counter() - began
    await bench.wait_quiet(120)
    print(f"{waiting:,} Workflows, from the first apply until all wait: {seconds:.1f} s")
    print_writes(await bench.api.writes() - writes, waiting)
    print_costs(before, bench.costs(), waiting)


async def measure_idle(bench: Bench) -> None:
    """See that waiting writes nothing, and print what it costs."""
    before, writes = bench.costs(), await bench.api.writes()
    await asyncio.sleep(IDLE)
    after = bench.costs()
    written = await bench.api.writes() - writes
    print(f"while nothing happens, for {IDLE:.0f} s: writes: {dict(written) or 0}")
    for name, cost in after.items():
        used = cost.cpu - before[name].cpu
        print(f"  {name:20}{used / IDLE:8.1%} of a core {cost.resident:8.0f} MB")
    assert not written, "something was written though nothing happened"


async def measure_few(bench: Bench, names: Sequence[str]) -> None:
    """Cancel half of these and delete the others, and print how long that took."""
    half = len(names) // 2
    canceled, deleted = names[:half], names[half:]
    took = await _until_none(bench, canceled, bench.api.cancel, "Running")
    print(f"{len(canceled)} canceled: the last was Canceled after {took:.1f} s")
    took = await _until_none(bench, deleted, bench.api.delete, "")
    print(f"{len(deleted)} deleted: the last was gone after {took:.1f} s")


async def _until_none(
    bench: Bench, names: Sequence[str], act: Callable[[str, str], Awaitable[None]], phase: str
) -> float:
    """Return the seconds from asking for it until none of them is in a phase, or there at all."""
    began = time.perf_counter()
    await at_once([lambda n=n: act(bench.namespace, n) for n in names], width=WIDTH)
    left = set(names)
    while left:
        assert time.perf_counter() - began < 300, f"not within minutes: {sorted(left)[:5]}"
        for name in sorted(left):
            found = await bench.api.phase(bench.namespace, name)
            if found is None or (phase and found != phase):
                left.discard(name)
    return time.perf_counter() - began


async def measure(operator: Operator, options: argparse.Namespace) -> None:
    """Do all of it."""
    async with open_api(operator.cluster.kubeconfig) as api:
        bench = Bench(operator, api)
        await bench.start_workers(1)
        await measure_start(bench, options.waiting)
        await measure_idle(bench)
        await measure_restart(bench, options.waiting)
        few = min(options.few, options.waiting)
        await measure_few(bench, [f"wait-{number}" for number in range(few)])
        peak = bench.costs()["operator"].peak
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        assert peak <= MEMORY, f"the operator took {peak:.0f} MB, more than {MEMORY:.0f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=10_000, help="Workflows (%(default)s)")
    parser.add_argument("--few", type=int, default=100, help="to cancel and delete (%(default)s)")
    options = parser.parse_args()
    # Told to end, it takes along what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with (
        tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder,
        processes(Path(folder)) as (operator, _),
    ):
        asyncio.run(measure(operator, options))


if __name__ == "__main__":
    main()
