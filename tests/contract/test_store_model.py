"""SQLite against the memory store: whatever is asked of both, both answer the same."""

from __future__ import annotations

import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from perdure.protocol.events import SignalReceived
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import RunRow, Transition
from perdure_operator.store.memory import MemoryStore
from perdure_operator.store.port import Outcome, RunFilter
from perdure_operator.store.sqlite import SqliteStore
from support.transitions import T0, activity, finish, follow, start, timer, waiting

SEQS = st.integers(0, 3)
TIMES = st.integers(T0, T0 + 5)
SOME_SEQS = st.lists(SEQS, max_size=2).map(tuple)
EVENTS = st.lists(
    st.builds(
        SignalReceived,
        name=st.text(max_size=3),
        input=st.lists(
            st.builds(Payload, st.just({"encoding": b"x"}), st.binary(max_size=9)), max_size=2
        ).map(tuple),
    ),
    max_size=3,
)
TIMERS = st.lists(st.builds(timer, SEQS, fires=TIMES), max_size=2).map(tuple)
ACTIVITIES = st.lists(
    st.builds(activity, SEQS, wake=TIMES, worker_id=st.sampled_from(["", "w"])), max_size=2
).map(tuple)
ITEMS = st.lists(st.builds(waiting, SEQS, attempt=st.integers(0, 3)), max_size=2).map(tuple)
STARTS = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(["a", "b"]),
        "workflow_type": st.sampled_from(["T", "U"]),
        "started": TIMES,
        "watched": st.booleans(),
        "task_pending": st.booleans(),
        "put_timers": TIMERS,
        "put_activities": ACTIVITIES,
    }
)
CHANGES = st.fixed_dictionaries(
    {
        "put_timers": TIMERS,
        "put_activities": ACTIVITIES,
        "drop_timers": SOME_SEQS,
        "drop_activities": SOME_SEQS,
        "put_items": ITEMS,
        "drop_items": SOME_SEQS,
    },
    optional={
        "watched": st.booleans(),
        "task_pending": st.booleans(),
        "current_step": st.text(max_size=4),
    },
)
FILTERS = st.builds(
    RunFilter,
    namespace=st.sampled_from(["", "a"]),
    status=st.sampled_from([None, RunStatus.RUNNING, RunStatus.COMPLETED]),
    workflow_type=st.sampled_from(["", "T"]),
    workflow_id=st.sampled_from(["", "w1"]),
    limit=st.integers(1, 4),
    before=st.none() | st.tuples(TIMES, st.sampled_from(["r1", "r3", "r5"])),
)


class SqliteLikeMemory(RuleBasedStateMachine):
    """Both stores are told the same; memory is the model."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._model = MemoryStore()
        self._sqlite = SqliteStore(Path(self._folder.name) / "perdure.db")
        self._rows: list[RunRow] = []
        self._batch: list[Transition] = []

    @initialize()
    def open(self) -> None:
        self._both("open")

    @rule(
        run=st.integers(1, 6),
        workflow=st.sampled_from(["w1", "w2", "w3"]),
        events=EVENTS,
        fields=STARTS,
    )
    def start(self, run: int, workflow: str, events: list[Any], fields: dict[str, Any]) -> None:
        """Gather a start; of six runs, so that some are made twice."""
        self._gather(start(workflow, *events, run_id=f"r{run}", **fields))

    @rule(data=st.data(), events=EVENTS, changes=CHANGES)
    def move(self, data: st.DataObject, events: list[Any], changes: dict[str, Any]) -> None:
        """Gather a move from a row that there was, or is about to be."""
        if self._rows or self._batch:
            self._gather(follow(self._any_row(data), *events, **changes))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Gather an end."""
        if self._rows or self._batch:
            self._gather(finish(self._any_row(data)))

    @rule()
    def commit(self) -> None:
        """Commit what was gathered, and go on from what won."""
        outcomes = self._both("commit", self._batch)
        pairs = zip(self._batch, outcomes, strict=True)
        self._rows += [transition.row for transition, how in pairs if how is Outcome.COMMITTED]
        self._batch = []

    @rule()
    def restart(self) -> None:
        """Close and open again."""
        self._both("close")
        self._both("open")

    @rule(wanted=FILTERS)
    def list_runs(self, wanted: RunFilter) -> None:
        self._both("list_runs", wanted)

    @rule(after=st.integers(0, 6), limit=st.none() | st.integers(1, 4))
    def read_histories(self, after: int, limit: int | None) -> None:
        for run_id in {row.run_id for row in self._rows}:
            self._both("read_history", run_id, after=after, limit=limit)

    @rule(after=TIMES, length=st.integers(0, 5), limit=st.integers(1, 4))
    def look_at_windows(self, after: int, length: int, limit: int) -> None:
        window = {"after": after, "before": after + length, "limit": limit}
        self._both("due_timers", **window)
        self._both("waking_activities", **window)

    @rule(cursor=st.integers(0, 12), limit=st.integers(1, 4))
    def watch(self, cursor: int, limit: int) -> None:
        self._both("watched_changes", cursor=cursor, limit=limit)

    @invariant()
    def hold_the_same(self) -> None:
        if self._batch:
            return
        self._both("pending_runs")
        self._both("count_open_runs")
        self._both("started_activities")
        self._both("watched_changes", cursor=0, limit=99)
        for run_id in {row.run_id for row in self._rows}:
            for question in ("get_run", "read_history", "read_activities", "read_items"):
                self._both(question, run_id)
        for key in {(row.namespace, row.workflow_id) for row in self._rows}:
            self._both("find_run", *key)

    def teardown(self) -> None:
        _answer(self._sqlite.close())
        self._folder.cleanup()

    def _both(self, name: str, *args: Any, **options: Any) -> Any:
        wanted = _answer(getattr(self._model, name)(*args, **options))
        found = _answer(getattr(self._sqlite, name)(*args, **options))
        assert found == wanted, f"{name}{args}{options}"
        return found

    def _gather(self, transition: Transition) -> None:
        rows = [*self._rows, *(gathered.row for gathered in self._batch)]
        known = next((row for row in rows if row.run_id == transition.row.run_id), None)
        if known is not None and transition.expected == 0:
            # What a run is never changes; a second start must lose because it is one.
            names = ("run_id", "workflow_id", "namespace", "workflow_type", "started")
            transition = start(**{name: getattr(known, name) for name in names})
        self._batch.append(transition)

    def _any_row(self, data: st.DataObject) -> RunRow:
        rows = [*self._rows, *(transition.row for transition in self._batch)][-8:]
        return data.draw(st.sampled_from(rows[::-1]))


def _answer(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine of a store that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store suspended")


TestSqliteLikeMemory = SqliteLikeMemory.TestCase
TestSqliteLikeMemory.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, print_blob=True
)
