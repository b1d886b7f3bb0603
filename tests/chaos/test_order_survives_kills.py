"""The order, killed at every moment, ends the same and charges once.

First in turn: at each commit of its history, before it and after it, the server, the worker or
both get SIGKILL. Then at seeded random moments, several orders at once.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from perdure.protocol import events as ev
from support.order import Shop, check_effects, history_of

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

COMMITS = [1, 2, 4, 6, 8, 9, 11, 13, 15, 16, 18, 20, 21, 22, 24, 26, 27]
"""The first event of each commit that the order's history is made of."""
NAMES = [
    "WorkflowStarted",
    *("WorkflowTaskCompleted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"),
    *("WorkflowTaskCompleted", "TimerStarted", "TimerFired"),
    *("WorkflowTaskCompleted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"),
    *("WorkflowTaskCompleted", "TimerStarted", "TimerFired"),
    *("WorkflowTaskCompleted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"),
    *("WorkflowTaskCompleted", "SignalReceived"),
    *("WorkflowTaskCompleted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"),
    *("StepCompleted", "WorkflowTaskCompleted", "WorkflowCompleted"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with Shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


async def run_order(shop: Shop, order_id: str) -> list[ev.HistoryEvent]:
    handle = await shop.order(order_id)
    await shop.answer(order_id)
    result = await shop.finish(handle)
    expected = {
        "order_id": order_id,
        "payment_id": f"pay_{order_id}",
        "tracking": f"track_{order_id}",
    }
    assert result == expected
    return await shop.insist(lambda: history_of(handle))


async def test_an_undisturbed_order_does_everything_once(shop: Shop) -> None:
    history = await run_order(shop, "undisturbed")
    assert [ev.event_name(each.event) for each in history] == NAMES
    check_effects(shop.ledger, "undisturbed", history, once=True)


@pytest.mark.parametrize("victim", ["server", "worker", "both"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("event", COMMITS)
async def test_an_order_survives_a_kill(shop: Shop, event: int, moment: str, victim: str) -> None:
    order_id = f"killed-{victim}-{moment}-{event}"
    before = dict(shop.restarts)
    shop.kill_at(order_id, event, moment, victim)
    try:
        history = await run_order(shop, order_id)
        assert not shop.plan.exists(), "nobody was killed"
        await asyncio.sleep(0.05)
        for each in ("server", "worker") if victim == "both" else (victim,):
            assert shop.restarts[each] > before.get(each, 0), f"the {each} was not killed"
        check_effects(shop.ledger, order_id, history, once=victim == "server")
    except BaseException:
        print(shop.logs())
        raise


@pytest.mark.parametrize("seed", range(4))
async def test_orders_survive_kills_at_random_moments(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    async with Shop(tmp_path) as shop:
        orders = [f"random-{seed}-{n}" for n in range(12)]
        arrivals = [chance.uniform(0, 5) for _ in orders]

        async def arrive(order_id: str, delay: float) -> list[ev.HistoryEvent]:
            await asyncio.sleep(delay)
            return await run_order(shop, order_id)

        running = asyncio.gather(*map(arrive, orders, arrivals))
        kills = 0
        while not running.done():
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            victims = chance.choice([(shop.server,), (shop.worker,), (shop.server, shop.worker)])
            for victim in victims if kills < 8 else ():
                victim.signal(signal.SIGKILL)
            kills += 1
        try:
            histories = await running
        except BaseException:
            print(f"seed {seed}", shop.logs())
            raise
        assert kills >= 4, f"seed {seed}: the orders were over before anybody was killed"
        for order_id, history in zip(orders, histories, strict=True):
            check_effects(shop.ledger, order_id, history)
