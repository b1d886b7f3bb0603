"""What every store promises about results of batches' items that are not in history yet."""

from __future__ import annotations

from perdure.protocol.events import ItemResult
from perdure.protocol.failures import Failure, RetryState
from perdure.protocol.items import item_key
from perdure.protocol.payloads import Payload
from perdure_operator.engine.transitions import Transition, WaitingResult
from perdure_operator.store.port import Outcome, Store
from support.transitions import finish, follow, signal, start, waiting


async def commit(store: Store, *transitions: Transition) -> None:
    assert await store.commit(transitions) == [Outcome.COMMITTED] * len(transitions)


async def test_a_result_reads_back_as_it_was_written(store: Store) -> None:
    payload = Payload({"encoding": b"json/plain"}, b"\x00\xff")
    failure = Failure(message="no", cause=Failure(message="why"))
    returned = WaitingResult(item_key(2**20, 99_999), ItemResult(99_999, 3, payload))
    raised = WaitingResult(
        item_key(7, 0), ItemResult(0, 1, None, failure, RetryState.NON_RETRYABLE_FAILURE)
    )
    made = start()

    await commit(store, made, signal(made.row, put_items=(returned, raised)))

    assert await store.read_items(made.row.run_id) == [raised, returned]


async def test_results_are_dropped_before_others_are_put(store: Store) -> None:
    made = start(put_items=(waiting(1), waiting(2), waiting(3)))
    moved = follow(made.row, put_items=(waiting(2, attempt=2), waiting(4)), drop_items=(1, 2, 9))

    await commit(store, made, moved)

    assert await store.read_items(made.row.run_id) == [
        waiting(2, attempt=2),
        waiting(3),
        waiting(4),
    ]


async def test_a_transition_that_loses_writes_no_results(store: Store) -> None:
    made = start()
    await commit(store, made, signal(made.row, put_items=(waiting(1),)))

    late = signal(made.row, put_items=(waiting(2),), drop_items=(1,))

    assert await store.commit([late]) == [Outcome.CONFLICT]
    assert await store.read_items(made.row.run_id) == [waiting(1)]


async def test_results_of_one_run_are_not_those_of_another(store: Store) -> None:
    one, two = start("one", put_items=(waiting(1),)), start("two", put_items=(waiting(1),))
    await commit(store, one, two)

    await commit(store, finish(one.row, drop_items=(1,)))

    assert await store.read_items(one.row.run_id) == []
    assert await store.read_items(two.row.run_id) == [waiting(1)]


async def test_nothing_waits_in_a_run_that_was_never_made(store: Store) -> None:
    assert await store.read_items("nobody") == []


async def test_results_outlive_the_store_being_closed(store: Store) -> None:
    made = start(put_items=(waiting(1), waiting(2)))
    await commit(store, made)

    await store.close()
    await store.open()

    assert await store.read_items(made.row.run_id) == [waiting(1), waiting(2)]
