"""What every store promises about the rows beside the runs: lists, timers, activities, changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contract.conftest import STORES
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import RUN_TIMEOUT_SEQ, Transition
from perdure_operator.store.port import Outcome, RunFilter, Store
from support.transitions import T0, activity, finish, follow, signal, start, timer


async def commit(store: Store, *transitions: Transition) -> None:
    assert await store.commit(transitions) == [Outcome.COMMITTED] * len(transitions)


async def listed(store: Store, **wanted: Any) -> list[str]:
    return [row.workflow_id for row in await store.list_runs(RunFilter(**wanted))]


async def due(store: Store, after: int, before: int, limit: int = 100) -> list[tuple[str, int]]:
    found = await store.due_timers(after=after, before=before, limit=limit)
    return [(one.run_id, one.timer.seq) for one in found]


async def waking(store: Store, after: int, before: int, limit: int = 100) -> list[int]:
    found = await store.waking_activities(after=after, before=before, limit=limit)
    return [one.activity.seq for one in found]


async def changes(store: Store, cursor: int, limit: int = 100) -> tuple[int, list[str]]:
    cursor, rows = await store.watched_changes(cursor=cursor, limit=limit)
    return cursor, [row.run_id for row in rows]


# --- lists ---------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first(store: Store) -> None:
    await commit(
        store,
        start("b", started=T0 + 1, run_id="r1"),
        start("d", started=T0, run_id="r4"),
        start("a", started=T0 + 2, run_id="r2"),
        start("c", started=T0, run_id="r5"),
    )

    assert await listed(store) == ["a", "b", "c", "d"]
    assert await listed(store, limit=2) == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({"namespace": "shop"}, ["z", "y"], id="namespace"),
        pytest.param({"status": RunStatus.COMPLETED}, ["y"], id="status"),
        pytest.param({"workflow_type": "Refund"}, ["x"], id="type"),
        pytest.param({"workflow_id": "x"}, ["x"], id="workflow-id"),
        pytest.param({"kind": "activity"}, ["w"], id="kind"),
        pytest.param({"namespace": "shop", "status": RunStatus.RUNNING}, ["z"], id="two"),
        pytest.param({"namespace": "nowhere"}, [], id="none"),
    ],
)
async def test_runs_are_listed_by(store: Store, wanted: dict[str, Any], found: list[str]) -> None:
    done = start("y", namespace="shop", started=T0 + 3)
    await commit(
        store,
        start("w", kind="activity", started=T0 + 1),
        start("x", workflow_type="Refund", started=T0 + 2),
        done,
        start("z", namespace="shop", started=T0 + 4),
        finish(done.row),
    )

    assert await listed(store, **wanted) == found


@pytest.mark.parametrize("wanted", [{}, {"status": RunStatus.RUNNING}, {"namespace": "default"}])
async def test_pages_of_a_list_hold_each_run_once(store: Store, wanted: dict[str, Any]) -> None:
    made = [start(f"w{n}", started=T0 + n // 3, run_id=f"r{n * 7 % 10}") for n in range(10)]
    await commit(store, *made)

    rows, before = [], None
    while page := await store.list_runs(RunFilter(limit=3, before=before, **wanted)):
        assert len(page) <= 3
        rows += page
        before = (page[-1].started, page[-1].run_id)

    newest_first = sorted((t.row for t in made), key=lambda r: (r.started, r.run_id), reverse=True)
    assert rows == newest_first


# --- timers --------------------------------------------------------------------------------


async def test_timers_are_due_in_a_window_earliest_first(store: Store) -> None:
    one = start("one", run_id="one")
    two = start("two", run_id="two")
    await commit(
        store,
        one,
        two,
        signal(one.row, put_timers=(timer(1, fires=T0 + 30), timer(2, fires=T0 + 10))),
        signal(two.row, put_timers=(timer(RUN_TIMEOUT_SEQ, fires=T0 + 20),)),
    )

    assert await due(store, 0, T0 + 99) == [("one", 2), ("two", 0), ("one", 1)]
    assert await due(store, T0 + 10, T0 + 30) == [("two", 0), ("one", 1)]
    assert await due(store, T0 + 10, T0 + 29) == [("two", 0)]
    assert await due(store, T0 + 30, T0 + 99) == []
    assert await due(store, 0, T0 + 99, limit=1) == [("one", 2)]


async def test_timers_due_at_the_same_time_are_never_split_between_pages(store: Store) -> None:
    made = start(run_id="r")
    at = {1: T0, 2: T0 + 1, 3: T0 + 1, 4: T0 + 1, 5: T0 + 2}
    await commit(
        store, made, signal(made.row, put_timers=tuple(timer(s, fires=f) for s, f in at.items()))
    )

    assert [seq for _, seq in await due(store, 0, T0 + 9, limit=2)] == [1, 2, 3, 4]
    assert [seq for _, seq in await due(store, T0 + 1, T0 + 9, limit=2)] == [5]
    assert [seq for _, seq in await due(store, 0, T0, limit=2)] == [1]


async def test_a_timer_can_be_moved_and_dropped(store: Store) -> None:
    made = start(run_id="r")
    put = signal(made.row, put_timers=(timer(1, fires=T0), timer(2, fires=T0)))
    moved = signal(put.row, put_timers=(timer(1, fires=T0 + 5),))
    await commit(store, made, put, moved)
    assert await due(store, 0, T0 + 9) == [("r", 2), ("r", 1)]

    dropped = signal(moved.row, drop_timers=(1, 7))
    await commit(store, dropped)
    assert await due(store, 0, T0 + 9) == [("r", 2)]


async def test_a_timer_dropped_and_put_in_one_transition_is_there(store: Store) -> None:
    made = start(run_id="r", started=T0)
    put = signal(made.row, put_timers=(timer(1),))
    again = signal(put.row, drop_timers=(1,), put_timers=(timer(1, fires=T0 + 3),))
    await commit(store, made, put, again)

    assert await store.due_timers(after=0, before=T0 + 2, limit=9) == []
    assert await due(store, 0, T0 + 3) == [("r", 1)]


# --- activities ----------------------------------------------------------------------------


async def test_an_activity_reads_back_as_it_was_written(store: Store) -> None:
    payload = Payload({"encoding": b"json/plain"}, b"{}")
    full = activity(
        2,
        attempt=3,
        worker_id="w",
        identity="me",
        started=T0 + 1,
        heartbeat=T0 + 2,
        heartbeat_details=(payload, payload),
        last_failure=Failure(message="no", cause=Failure(message="why")),
        cancel_requested=True,
        wake=T0 + 7,
    )
    made = start()
    await commit(store, made, signal(made.row, put_activities=(full, activity(1))))

    assert await store.read_activities(made.row.run_id) == [activity(1), full]


async def test_an_activity_is_replaced_and_dropped(store: Store) -> None:
    made = start()
    put = signal(made.row, put_activities=(activity(1), activity(2)))
    changed = follow(put.row, put_activities=(activity(1, attempt=1, wake=T0 + 4),))
    await commit(store, made, put, changed)
    assert await store.read_activities(made.row.run_id) == [
        activity(1, attempt=1, wake=T0 + 4),
        activity(2),
    ]

    await commit(store, signal(changed.row, drop_activities=(1, 9)))
    assert await store.read_activities(made.row.run_id) == [activity(2)]


async def test_activities_wake_in_a_window_earliest_first(store: Store) -> None:
    made = start()
    wakes = {1: T0 + 20, 2: T0 + 10, 3: T0 + 20, 4: T0 + 30}
    put = [activity(seq, wake=wake) for seq, wake in wakes.items()]
    await commit(store, made, signal(made.row, put_activities=tuple(put)))

    assert await waking(store, 0, T0 + 99) == [2, 1, 3, 4]
    assert await waking(store, T0 + 10, T0 + 20) == [1, 3]
    assert await waking(store, 0, T0 + 99, limit=2) == [2, 1, 3]
    assert await waking(store, T0 + 30, T0 + 99) == []


async def test_waking_activities_are_given_with_their_run(store: Store) -> None:
    one, two = start("one"), start("two")
    putting = [signal(made.row, put_activities=(activity(),)) for made in (one, two)]
    await commit(store, one, two, *putting)

    found = await store.waking_activities(after=0, before=T0, limit=9)

    assert {(each.run_id, each.activity.seq) for each in found} == {
        (one.row.run_id, 1),
        (two.row.run_id, 1),
    }


async def test_started_activities_are_those_that_somebody_runs(store: Store) -> None:
    made = start()
    started = activity(2, attempt=1, worker_id="w", started=T0)
    put = signal(made.row, put_activities=(activity(1), started))
    await commit(store, made, put)
    (found,) = await store.started_activities()
    assert (found.run_id, found.activity) == (made.row.run_id, started)

    await commit(store, follow(put.row, put_activities=(activity(2, attempt=1),)))
    assert await store.started_activities() == []


async def test_a_closing_transition_drops_the_rows_that_it_names(store: Store) -> None:
    made = start()
    put = signal(
        made.row,
        put_activities=(activity(1), activity(2)),
        put_timers=(timer(RUN_TIMEOUT_SEQ), timer(3)),
    )
    end = finish(put.row, drop_activities=(1, 2), drop_timers=(RUN_TIMEOUT_SEQ, 3))
    await commit(store, made, put, end)

    assert await store.read_activities(made.row.run_id) == []
    assert await waking(store, 0, T0 + 99) == []
    assert await due(store, 0, T0 + 99) == []


async def test_rows_of_one_run_are_not_those_of_another(store: Store) -> None:
    one, two = start("one"), start("two")
    putting = [
        signal(made.row, put_activities=(activity(),), put_timers=(timer(),)) for made in (one, two)
    ]
    await commit(store, one, two, *putting)

    await commit(store, signal(putting[0].row, drop_activities=(1,), drop_timers=(1,)))

    assert await store.read_activities(one.row.run_id) == []
    assert await store.read_activities(two.row.run_id) == [activity()]
    assert await due(store, 0, T0) == [(two.row.run_id, 1)]


# --- pending and watched runs --------------------------------------------------------------


async def test_pending_runs_are_open_and_have_something_to_be_told(store: Store) -> None:
    idle, busy, over = start("idle"), start("busy", task_pending=True), start("over")
    ended = finish(over.row, task_pending=True)
    await commit(store, idle, busy, over, ended)
    assert await store.pending_runs() == [busy.row]

    woken = signal(idle.row, task_pending=True)
    await commit(store, signal(busy.row, task_pending=False), woken)
    assert await store.pending_runs() == [woken.row]


async def test_open_runs_are_counted_by_status(store: Store) -> None:
    one, two, over = start("one"), start("two"), start("over")
    held = signal(two.row, status=RunStatus.SUSPENDED)
    await commit(store, one, two, over, finish(over.row), held)

    assert await store.count_open_runs() == {RunStatus.RUNNING: 1, RunStatus.SUSPENDED: 1}


async def test_changes_of_watched_runs_come_oldest_first_and_each_once(store: Store) -> None:
    one, two, plain = start("1", watched=True), start("2", watched=True), start("3")
    again = signal(one.row)
    await commit(store, one, two, plain, again, signal(plain.row))

    cursor, rows = await store.watched_changes(cursor=0, limit=9)

    assert rows == [two.row, again.row]
    assert await changes(store, cursor) == (cursor, [])


async def test_a_cursor_that_read_a_part_goes_on_with_the_rest(store: Store) -> None:
    made = [start(f"{n}", watched=True, run_id=f"r{n}") for n in range(5)]
    await commit(store, *made)

    cursor, first = await changes(store, 0, limit=2)
    await commit(store, signal(made[0].row))
    cursor, then = await changes(store, cursor, limit=2)
    cursor, last = await changes(store, cursor, limit=2)

    assert (first, then, last) == (["r0", "r1"], ["r2", "r3"], ["r4", "r0"])


async def test_a_cursor_outlives_a_restart_and_only_grows(store: Store) -> None:
    made = start(watched=True)
    await commit(store, made)
    cursor, _ = await changes(store, 0)

    await store.close()
    await store.open()

    assert await changes(store, cursor) == (cursor, [])
    await commit(store, signal(made.row))
    later, rows = await changes(store, cursor)
    assert later > cursor
    assert rows == [made.row.run_id]


async def test_a_transition_that_lost_changes_nothing_watched(store: Store) -> None:
    made = start(watched=True)
    await commit(store, made, signal(made.row))
    cursor, _ = await changes(store, 0)

    assert await store.commit([signal(made.row)]) == [Outcome.CONFLICT]
    assert await changes(store, cursor) == (cursor, [])


async def test_a_run_is_watched_from_when_it_is_marked_until_it_is_not(store: Store) -> None:
    made = start()
    marked = signal(made.row, watched=True)
    await commit(store, made, marked)
    cursor, rows = await changes(store, 0)
    assert rows == [made.row.run_id]

    await commit(store, unmarked := signal(marked.row, watched=False))
    assert await changes(store, 0) == (0, [])

    await store.close()
    await store.open()
    await commit(store, signal(unmarked.row, watched=True))
    later, rows = await changes(store, cursor)
    assert later > cursor
    assert rows == [made.row.run_id]


# --- which store it is ---------------------------------------------------------------------


async def test_a_store_is_the_same_one_when_it_is_opened_again(store: Store) -> None:
    identity = await store.identity()
    await store.close()
    await store.open()

    assert len(identity) == 32
    assert await store.identity() == identity


async def test_two_stores_are_not_the_same(tmp_path: Path) -> None:
    identities = set()
    for name, make in STORES.items():
        for number in range(2):
            folder = tmp_path / f"{name}-{number}"
            folder.mkdir()
            made = make(folder)
            await made.open()
            identities.add(await made.identity())
            await made.close()

    assert len(identities) == 2 * len(STORES)
