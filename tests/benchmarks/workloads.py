"""The four workloads that every durable engine is compared by, on this machine, right now.

A real server process, a real worker process, durable defaults; each workload is run a few times,
interleaved with a bare SQLite commit (one row of an event and one of a run, full fsync) on the same
disk, and printed as its best, its median, and the median's ratio to that commit.

Usage: make bench, or: PYTHONPATH=tests python -m benchmarks.workloads [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from perdure.client import Client
from support.processes import Server, Worker

MODULE = Path(__file__).with_name("workload_code.py")
BARE_COMMITS = 200


@dataclass
class Measure:
    """One line of the result: seconds for one unit, by round."""

    name: str
    unit: str
    units: int
    """What one round does: steps, or runs one after the other."""
    run: Callable[[], Awaitable[float]]
    rates: bool = False
    """Printed as units a second rather than as milliseconds for one."""
    budget: str = ""
    seconds: list[float] = field(default_factory=list)


def bare_commit(folder: Path) -> float:
    """Return the seconds that a bare commit of an event and a run row takes."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA locking_mode=EXCLUSIVE;"
        "CREATE TABLE IF NOT EXISTS event (run INT, id INT, body BLOB);"
        "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, version INT);"
        "INSERT OR IGNORE INTO run VALUES (1, 0);"
    )
    began = time.perf_counter()
    for number in range(BARE_COMMITS):
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO event VALUES (1, ?, ?)", (number, b"x" * 120))
        database.execute("UPDATE run SET version = version + 1 WHERE id = 1")
        database.execute("COMMIT")
    seconds = (time.perf_counter() - began) / BARE_COMMITS
    database.close()
    return seconds


class Bench:
    """The workloads, against one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._count = 0

    async def _execute(self, workflow: str, *args: object) -> object:
        self._count += 1
        return await self._client.execute_workflow(
            workflow, args=args, id=f"bench-{self._count}", task_queue="bench"
        )

    async def one(self, workflow: str, *args: object) -> float:
        """Return the seconds from start to result."""
        began = time.perf_counter()
        await self._execute(workflow, *args)
        return time.perf_counter() - began

    async def many(self, workflow: str, runs: int, at_once: int, *args: object) -> float:
        """Return the seconds that ``runs`` runs take, ``at_once`` of them at a time."""
        free = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with free:
                await self._execute(workflow, *args)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(runs)))
        return time.perf_counter() - began

    async def median_of(self, workflow: str, times: int) -> float:
        """Return ``times`` times the median seconds of a run, one after the other."""
        return times * statistics.median([await self.one(workflow) for _ in range(times)])

    def measures(self) -> list[Measure]:
        """Return every workload."""
        return [
            Measure("200 sequential steps", "step", 200, lambda: self.one("Steps", 200),
                    budget="<= 1.5 ms"),
            Measure("200 sequential activities", "activity", 200,
                    lambda: self.one("Activities", 200), budget="<= 4 ms"),
            Measure("500 runs x 5 steps, 100 at once", "step", 2500,
                    lambda: self.many("Steps", 500, 100, 5), rates=True, budget=">= 1,500/s"),
            Measure("500 runs x 5 activities, 100 at once", "activity", 2500,
                    lambda: self.many("Activities", 500, 100, 5), rates=True, budget=">= 600/s"),
            Measure("1,000 parallel steps", "step", 1000, lambda: self.one("Parallel", 1000),
                    rates=True, budget=">= 2,000/s"),
            Measure("no-op run, start to result, p50", "run", 100,
                    lambda: self.median_of("Nothing", 100), budget="<= 4 ms"),
        ]  # fmt: skip


async def measure(rounds: int, folder: Path) -> tuple[list[float], list[Measure]]:
    """Run everything ``rounds`` times over, interleaved with bare commits."""
    log = folder / "log"
    with (
        Server(folder / "perdure.db", log=log) as server,
        Worker(server.address, str(MODULE), log=log, options=("--task-queue", "bench")),
    ):
        client = await Client.connect(server.address)
        bench = Bench(client)
        measures = bench.measures()
        await bench.one("Steps", 20)
        await bench.one("Activities", 20)
        bare = []
        for number in range(rounds):
            for each in measures:
                bare.append(bare_commit(folder))
                each.seconds.append(await each.run() / each.units)
                print(f"round {number + 1}/{rounds}: {each.name}", file=sys.stderr)
        await client.close()
    return bare, measures


def report(bare: list[float], measures: list[Measure]) -> list[dict[str, object]]:
    """Print the table and return it."""
    commit = statistics.median(bare)
    print(
        f"bare SQLite commit: median {commit * 1e3:.3f} ms "
        f"({min(bare) * 1e3:.3f} to {max(bare) * 1e3:.3f})"
    )
    print(f"{'workload':40}{'median':>12}{'best':>12}{'x commit':>10}   budget")
    rows: list[dict[str, object]] = []
    for each in measures:
        middle, best = statistics.median(each.seconds), min(each.seconds)
        show = (lambda s: f"{1 / s:,.0f}/s") if each.rates else (lambda s: f"{s * 1e3:.2f} ms")
        print(
            f"{each.name:40}{show(middle):>12}{show(best):>12}"
            f"{middle / commit:>9.2f}x   {each.budget}"
        )
        rows.append(
            {
                "workload": each.name,
                f"ms_per_{each.unit}": middle * 1e3,
                f"{each.unit}s_per_second": 1 / middle,
                "commits": middle / commit,
            }
        )
    print(
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        bare, measures = asyncio.run(measure(options.rounds, Path(folder)))
    rows = report(bare, measures)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
