"""What every store promises about commits and runs; windows of rows are next door."""

from __future__ import annotations

import asyncio

import pytest

from perdure.protocol.events import SignalReceived, StepCompleted
from perdure.protocol.payloads import Payload
from perdure.protocol.verbs import RunStatus
from perdure_operator.engine.transitions import Transition
from perdure_operator.store.port import Outcome, Store, StoreUnavailableError
from support.transitions import T0, activity, finish, follow, signal, start, timer

COMMITTED, CONFLICT, ALREADY_OPEN = Outcome.COMMITTED, Outcome.CONFLICT, Outcome.ALREADY_OPEN


async def commit(store: Store, *transitions: Transition) -> None:
    assert await store.commit(transitions) == [COMMITTED] * len(transitions)


async def test_a_created_run_reads_back_as_it_was_written(store: Store) -> None:
    made = start(
        "order-\u00e9\U0001f600\x00'",
        kind="activity",
        current_step="charge",
        task_pending=True,
        watched=True,
        request_id="r-1",
    )

    await commit(store, made)

    assert await store.get_run(made.row.run_id) == made.row
    assert await store.find_run("default", made.row.workflow_id) == made.row
    assert await store.read_history(made.row.run_id) == list(made.events)


async def test_a_run_that_moved_on_reads_back_as_it_was_written_last(store: Store) -> None:
    first = start(task_pending=True)
    second = signal(first.row, current_step="approve", task_pending=False, watched=True)
    third = follow(second.row, StepCompleted(seq=1, name="x"), task_pending=True, watched=False)
    fourth = finish(third.row, status=RunStatus.FAILED)

    for transition in (first, second, third, fourth):
        await commit(store, transition)

        assert await store.get_run(first.row.run_id) == transition.row


async def test_nothing_is_known_of_a_run_that_was_never_made(store: Store) -> None:
    assert await store.get_run("nobody") is None
    assert await store.find_run("default", "nobody") is None
    assert await store.read_history("nobody") == []
    assert await store.read_activities("nobody") == []


async def test_a_whole_history_is_made_at_once_also_beside_an_open_run_of_its_id(
    store: Store,
) -> None:
    current = start(started=T0 + 10)
    steps = [StepCompleted(seq=number, name="x") for number in range(1, 1_500)]
    older = start("order-1", *steps, closed=T0 + 5, status=RunStatus.TERMINATED)
    await commit(store, current, older)

    assert await store.find_run("default", "order-1") == current.row
    assert await store.get_run(older.row.run_id) == older.row
    assert await store.read_history(older.row.run_id) == list(older.events)
    page = await store.read_history(older.row.run_id, after=998, limit=2)
    assert [each.id for each in page] == [999, 1000]


async def test_an_empty_commit_changes_nothing(store: Store) -> None:
    assert await store.commit([]) == []


async def test_of_two_transitions_at_one_version_exactly_one_wins(store: Store) -> None:
    made = start()
    await commit(store, made)
    one, other = signal(made.row, "one"), signal(made.row, "other", put_timers=(timer(),))

    outcomes = [*await store.commit([one]), *await store.commit([other])]

    assert outcomes == [COMMITTED, CONFLICT]
    assert await store.read_history(made.row.run_id) == [*made.events, *one.events]
    assert await store.due_timers(after=0, before=T0, limit=9) == []


async def test_of_many_transitions_at_one_version_in_one_commit_the_first_wins(
    store: Store,
) -> None:
    made = start()
    await commit(store, made)
    rivals = [signal(made.row, name) for name in ("one", "two", "three")]

    assert await store.commit(rivals) == [COMMITTED, CONFLICT, CONFLICT]
    assert await store.read_history(made.row.run_id) == [*made.events, *rivals[0].events]


async def test_of_concurrent_commits_at_one_version_exactly_one_wins(store: Store) -> None:
    made = start()
    await commit(store, made)

    outcomes = await asyncio.gather(
        *(store.commit([signal(made.row, str(number))]) for number in range(5))
    )

    assert sorted(one.value for (one,) in outcomes) == ["committed"] + ["conflict"] * 4


async def test_a_transition_that_loses_does_not_fail_the_others(store: Store) -> None:
    one, two = start("one"), start("two")
    await commit(store, one, two)
    stale = signal(one.row, "first")
    await commit(store, stale)

    outcomes = await store.commit([signal(one.row, "late"), signal(two.row), start("three")])

    assert outcomes == [CONFLICT, COMMITTED, COMMITTED]
    assert len(await store.read_history(two.row.run_id)) == 2


async def test_what_follows_a_transition_that_lost_loses_too(store: Store) -> None:
    made = start()
    won = signal(made.row, "won")
    await commit(store, made, won)
    lost = signal(made.row, "lost")
    fits = signal(lost.row, "fits the version of the winner")
    beyond = finish(fits.row)

    assert await store.commit([lost, fits, beyond]) == [CONFLICT, CONFLICT, CONFLICT]
    assert await store.get_run(made.row.run_id) == won.row


async def test_a_run_can_move_on_many_times_in_one_commit(store: Store) -> None:
    made = start()
    one = signal(made.row, "one", put_timers=(timer(),))
    two = signal(one.row, "two", drop_timers=(1,))

    await commit(store, made, one, two, end := finish(two.row))

    assert await store.get_run(made.row.run_id) == end.row
    assert [event.id for event in await store.read_history(made.row.run_id)] == [1, 2, 3, 4]
    assert await store.due_timers(after=0, before=T0, limit=9) == []


async def test_a_run_that_does_not_exist_cannot_move_on(store: Store) -> None:
    ghost = start()

    assert await store.commit([signal(ghost.row, put_timers=(timer(),))]) == [CONFLICT]
    assert await store.get_run(ghost.row.run_id) is None
    assert await store.due_timers(after=0, before=T0, limit=9) == []


async def test_a_run_is_made_once(store: Store) -> None:
    made = start()
    await commit(store, made)

    assert await store.commit([made]) == [CONFLICT]
    assert await store.commit([start("other", run_id=made.row.run_id)]) == [CONFLICT]
    assert await store.read_history(made.row.run_id) == list(made.events)


async def test_a_workflow_id_has_one_open_run(store: Store) -> None:
    made = start("order", put := SignalReceived(name="x"))
    await commit(store, made)
    second = start("order", put)

    assert await store.commit([second, start("other")]) == [ALREADY_OPEN, COMMITTED]
    assert await store.get_run(second.row.run_id) is None
    assert await store.read_history(second.row.run_id) == []


async def test_two_starts_of_a_workflow_id_in_one_commit_make_one_run(store: Store) -> None:
    assert await store.commit([start("order"), start("order")]) == [COMMITTED, ALREADY_OPEN]


async def test_a_workflow_id_may_be_open_in_each_namespace(store: Store) -> None:
    await commit(store, start("order", namespace="a"), start("order", namespace="b"))


async def test_a_closed_run_makes_way_for_the_next_in_the_same_commit(store: Store) -> None:
    old = start("order")
    await commit(store, old)
    ended = finish(old.row, status=RunStatus.TERMINATED)
    new = start("order", started=T0 + 9)

    await commit(store, ended, new)

    assert await store.find_run("default", "order") == new.row
    assert await store.get_run(old.row.run_id) == ended.row


async def test_a_next_run_before_the_end_of_the_last_is_refused(store: Store) -> None:
    old = start("order")
    await commit(store, old)

    assert await store.commit([start("order"), finish(old.row)]) == [ALREADY_OPEN, COMMITTED]


async def test_a_next_run_is_refused_when_the_end_of_the_last_loses(store: Store) -> None:
    old = start("order")
    await commit(store, old, signal(old.row))

    assert await store.commit([finish(old.row), start("order")]) == [CONFLICT, ALREADY_OPEN]


async def test_a_closed_run_cannot_open_again_beside_an_open_one(store: Store) -> None:
    old = start("order")
    ended = finish(old.row)
    await commit(store, old, ended, start("order"))
    reopened = follow(ended.row, status=RunStatus.RUNNING, closed=None)

    assert await store.commit([reopened]) == [ALREADY_OPEN]
    assert await store.get_run(old.row.run_id) == ended.row


async def test_the_open_run_is_found_before_a_newer_closed_one(store: Store) -> None:
    newer = start("order", started=T0 + 50)
    await commit(store, newer, finish(newer.row), older := start("order", started=T0))

    assert await store.find_run("default", "order") == older.row


async def test_of_closed_runs_the_newest_is_found(store: Store) -> None:
    for number, started in ((1, T0), (3, T0 + 20), (2, T0 + 20), (4, T0 + 10)):
        made = start("order", started=started, run_id=f"r{number}")
        await commit(store, made, finish(made.row))

    found = await store.find_run("default", "order")

    assert found is not None
    assert found.run_id == "r3"


async def test_history_is_read_in_pages(store: Store) -> None:
    made = start("order", *[SignalReceived(name=f"s{n}") for n in range(4)])
    more = [made]
    for n in range(3):
        more.append(follow(more[-1].row, *[SignalReceived(name=f"t{n}{m}") for m in range(n + 1)]))
    await commit(store, *more)
    everything = [event for transition in more for event in transition.events]
    read = store.read_history

    assert await read(made.row.run_id) == everything
    for after in range(len(everything) + 2):
        for limit in range(1, len(everything) + 2):
            page = await read(made.row.run_id, after=after, limit=limit)
            assert page == everything[after : after + limit]


async def test_a_transition_without_events_leaves_the_history_alone(store: Store) -> None:
    made = start()
    quiet = follow(made.row, put_activities=(activity(attempt=1),))
    loud = signal(quiet.row)
    await commit(store, made, quiet, loud)

    assert await store.read_history(made.row.run_id) == [*made.events, *loud.events]
    assert await store.read_activities(made.row.run_id) == [activity(attempt=1)]


async def test_a_history_of_many_megabytes_is_read_in_pages(store: Store) -> None:
    data = bytes(range(256)) * 4096
    made = start()
    latest = made
    transitions = [made]
    for _ in range(12):
        event = SignalReceived(name="blob", input=(Payload({"encoding": b"binary/plain"}, data),))
        latest = follow(latest.row, event)
        transitions.append(latest)
    await commit(store, *transitions)

    page = await store.read_history(made.row.run_id, after=11, limit=1)

    assert page == list(transitions[11].events)
    assert len(await store.read_history(made.row.run_id)) == 13


async def test_what_was_committed_outlives_a_close(store: Store) -> None:
    made = start(watched=True, task_pending=True)
    moved = signal(made.row, put_activities=(activity(),), put_timers=(timer(),))
    await commit(store, made, moved)

    await store.close()
    await store.open()

    assert await store.get_run(made.row.run_id) == moved.row
    assert await store.read_history(made.row.run_id) == [*made.events, *moved.events]
    assert await store.read_activities(made.row.run_id) == [activity()]
    assert [due.timer for due in await store.due_timers(after=0, before=T0, limit=9)] == [timer()]
    assert await store.pending_runs() == [moved.row]
    assert await store.commit([signal(made.row)]) == [CONFLICT]
    assert await store.commit([signal(moved.row)]) == [COMMITTED]


async def test_a_closed_store_refuses_every_call_and_may_be_closed_again(store: Store) -> None:
    await store.close()
    await store.close()

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.commit([start()])
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.get_run("r")


async def test_opening_twice_is_opening_once(store: Store) -> None:
    await commit(store, made := start())
    await store.open()

    assert await store.get_run(made.row.run_id) == made.row
