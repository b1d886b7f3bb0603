"""A fan-out as one batch, and as that many activities: items a second, and what they cost.

A real server process, one real worker process, durable defaults. For each way of fanning out it
prints the time of a run, items a second, the commits of the store, the events in history, and the
most memory that the server has had so far.

Usage: PYTHONPATH=tests python -m benchmarks.batches [--items 10000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from perdure.client import Client
from support.processes import Server, Worker

MODULE = Path(__file__).with_name("workload_code.py")
WAYS = {
    "one batch": "Batch",
    "one batch, streamed": "StreamedBatch",
    "one batch, 50 at once": "NarrowBatch",
    "gather of activities": "ParallelActivities",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one fan-out cost."""

    seconds: float
    commits: int
    events: int
    memory: float
    """Of the server, in MiB, at most so far."""


def commits(address: str) -> int:
    """Return how many transactions the server has committed."""
    with urllib.request.urlopen(f"http://{address}/metrics") as page:
        found = re.search(r"(?m)^perdure_store_commits_total (\S+)", page.read().decode())
    return int(float(found[1])) if found else 0


def most_memory(pid: int) -> float:
    """Return the most memory that a process has had, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


async def fan_out(client: Client, server: Server, workflow: str, number: int, items: int) -> Cost:
    """Run one fan-out."""
    before = commits(server.address)
    began = time.perf_counter()
    handle = await client.start_workflow(
        workflow, items, id=f"{workflow}-{number}", task_queue="bench"
    )
    total = await handle.result()
    seconds = time.perf_counter() - began
    assert total == items * (items - 1) // 2, total
    events = len((await handle.fetch_history()).events)
    return Cost(seconds, commits(server.address) - before, events, most_memory(server.pid))


async def measure(items: int, rounds: int, folder: Path) -> None:
    """Run every way ``rounds`` times over, and print."""
    log = folder / "log"
    with (
        Server(folder / "perdure.db", log=log) as server,
        Worker(server.address, str(MODULE), log=log, options=("--task-queue", "bench")),
    ):
        client = await Client.connect(server.address)
        await fan_out(client, server, "Batch", 0, 100)
        print(f"{items:,} items{'':13}{'seconds':>9}{'items/s':>10}{'commits':>9}{'events':>9}"
              f"{'server':>10}")  # fmt: skip
        for number in range(1, rounds + 1):
            for name, workflow in WAYS.items():
                cost = await fan_out(client, server, workflow, number, items)
                print(
                    f"{name:24}{cost.seconds:>9.2f}{items / cost.seconds:>10,.0f}"
                    f"{cost.commits:>9,}{cost.events:>9,}{cost.memory:>6.0f} MiB"
                )
        await client.close()
    print(
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        asyncio.run(measure(options.items, options.rounds, Path(folder)))


if __name__ == "__main__":
    main()
