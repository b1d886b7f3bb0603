"""How fast the SQLite store is, against bare SQLite with the same settings in the same run.

``python tests/benchmarks/store.py [FOLDER]`` prints commits of one step each as a ratio to
commits of one bare row, and steps a second when many share a commit. The two take turns, so that
a noisy machine is noisy for both. FOLDER (default: a temporary one) decides which disk is
measured.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from perdure.protocol.events import HistoryEvent, StepCompleted, WorkflowStarted
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import RunRow, Transition
from perdure_operator.store.port import Outcome
from perdure_operator.store.sqlite import SqliteStore
from perdure_operator.store.sqlite_database import connect

ROUNDS = 10
COMMITS = 300
"""A round of single commits; a run gets 200 steps, then the next one has its turn."""
BATCHES = 20
BATCH = 100
RUNS = 2000
NOW = 1_700_000_000_000


class Bench:
    """Runs in a store, each of which can be moved on by a step."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.rows: list[RunRow] = []

    def prepare(self) -> None:
        made = [_start(number) for number in range(RUNS)]
        self._commit(made)
        self.rows = [transition.row for transition in made]

    def step(self, numbers: range) -> float:
        """Commit one step of each run, and return the seconds that the commit took."""
        steps = [_step(self.rows[number]) for number in numbers]
        began = time.perf_counter()
        self._commit(steps)
        took = time.perf_counter() - began
        for number, step in zip(numbers, steps, strict=True):
            self.rows[number] = step.row
        return took

    def _commit(self, transitions: list[Transition]) -> None:
        outcomes = _now(self._store.commit(transitions))
        assert set(outcomes) == {Outcome.COMMITTED}


def main() -> None:
    """Measure and print."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        store = SqliteStore(Path(folder) / "perdure.db")
        _now(store.open())
        bare = connect(Path(folder) / "bare.db", patience=0)
        bare.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, data BLOB)")
        bench = Bench(store)
        bench.prepare()

        _measure_single(bench, bare)
        _measure_batches(bench, bare)
        _measure_hand_off(bare)

        bare.close()
        _now(store.close())


def _measure_single(bench: Bench, bare: sqlite3.Connection) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    for round_ in range(ROUNDS):
        for number in range(COMMITS):
            run = (round_ * COMMITS + number) // 200
            ours.append(bench.step(range(run, run + 1)))
        theirs += [_bare_commit(bare, 1) for _ in range(COMMITS)]
    print(f"one row, bare SQLite      {_spread(theirs)}")
    print(f"one step, the store       {_spread(ours)}")
    more = (sum(ours) - sum(theirs)) / len(ours) * 1e3
    print(f"ratio of the means        {sum(ours) / sum(theirs):.2f}, {more:.3f} ms more")


def _measure_batches(bench: Bench, bare: sqlite3.Connection) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    for round_ in range(ROUNDS):
        first = round_ * BATCH % RUNS
        ours += [bench.step(range(first, first + BATCH)) for _ in range(BATCHES)]
        theirs += [_bare_commit(bare, BATCH) for _ in range(BATCHES)]
    steps = ROUNDS * BATCHES * BATCH
    print(f"{BATCH} rows, bare SQLite     {_spread(theirs)}, {steps / sum(theirs):,.0f} rows/s")
    print(f"{BATCH} steps, the store      {_spread(ours)}, {steps / sum(ours):,.0f} steps/s")


def _measure_hand_off(bare: sqlite3.Connection) -> None:
    """What it would cost to commit on another thread: the way there and back."""

    async def hand_off(call: Callable[[], object]) -> list[float]:
        times = []
        for _ in range(ROUNDS * 100):
            began = time.perf_counter()
            await asyncio.get_running_loop().run_in_executor(None, call)
            times.append(time.perf_counter() - began)
        return times

    took = asyncio.run(hand_off(lambda: None))
    commits = [_bare_commit(bare, 1) for _ in range(ROUNDS * 100)]
    print(f"to a thread and back      {_spread(took)}")
    print(f"ratio to a bare commit    {sum(took) / sum(commits):.2f}")


def _bare_commit(connection: sqlite3.Connection, rows: int) -> float:
    data = bytes(100)
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(rows):
        connection.execute("INSERT INTO bare (data) VALUES (?)", (data,))
    connection.execute("COMMIT")
    return time.perf_counter() - began


def _start(number: int) -> Transition:
    run_id = str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
    started = WorkflowStarted(workflow_type="OrderWorkflow", task_queue="orders", run_id=run_id)
    row = RunRow(
        namespace="default",
        workflow_id=f"order-{number}",
        run_id=run_id,
        kind="workflow",
        workflow_type="OrderWorkflow",
        task_queue="orders",
        status=RunStatus.RUNNING,
        version=1,
        started=NOW + number,
        last_event=1,
        history_bytes=100,
        digest=bytes(32),
        task_pending=True,
    )
    return Transition(expected=0, row=row, events=(HistoryEvent(1, NOW, started),))


def _step(row: RunRow) -> Transition:
    place = row.last_event + 1
    result = Payload({"encoding": b"json/plain"}, b'{"paymentId":"pay_991"}')
    step = StepCompleted(
        seq=place, name="charge-payment", result=result, through=row.last_event, started=NOW
    )
    moved = msgspec.structs.replace(
        row,
        version=row.version + 1,
        last_event=place,
        history_bytes=row.history_bytes + 100,
        digest=place.to_bytes(32, "big"),
        current_step="charge-payment",
    )
    event = HistoryEvent(place, NOW + place, step)
    return Transition(expected=row.version, row=moved, events=(event,))


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    mean = sum(ordered) / len(ordered)
    at = {"p50": 0.5, "p99": 0.99}
    points = [f"{name} {ordered[int(len(ordered) * part)] * 1e3:.3f}" for name, part in at.items()]
    return f"{mean * 1e3:7.3f} ms mean, {', '.join(points)}, worst {ordered[-1] * 1e3:.2f}"


def _now(coroutine):
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store suspended")


if __name__ == "__main__":
    main()
