"""Workflows whose histories are kept for ever, and how each history came about.

Every released version must replay these. So nothing here is ever changed or removed; what is new
gets a new workflow with a new story, and its history is written once, by::

    python tests/replay/record.py

Each story takes a fresh driver and lets things happen to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perdure import workflow
from perdure.common import Pod, RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError
from perdure.protocol.failures import Failure
from support.histories import RunDriver

LIMIT = timedelta(minutes=5)


@dataclass
class Order:
    id: str
    items: list[str]
    amount: int


@dataclass
class Receipt:
    order: str
    payment: str
    shipped: datetime | None
    notes: list[str]


def reserve(item: str) -> str:
    return f"reserved {item}"


async def write_note(text: str) -> str:
    return text.upper()


def refuse() -> None:
    raise ApplicationError("nothing left", 3, type="SoldOut", non_retryable=True)


@workflow.defn
class OrderV1:
    """The usual mixture: steps, activities, a signal with a limit, compensation."""

    @workflow.init
    def __init__(self, order: Order) -> None:
        self.order = order
        self.shipped_by: str | None = None
        self.notes: list[str] = []

    @workflow.run
    async def run(self, order: Order) -> Receipt:
        payment: str = await workflow.execute_activity(
            "charge",
            order.amount,
            result_type=str,
            start_to_close_timeout=LIMIT,
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        try:
            self.notes += await asyncio.gather(
                *(workflow.step(reserve, item) for item in order.items)
            )
            await self.wait_for_warehouse()
        except (ActivityError, TimeoutError):
            await workflow.execute_activity("refund", payment, start_to_close_timeout=LIMIT)
            raise ApplicationError("order cancelled", type="Cancelled") from None
        return Receipt(order.id, payment, workflow.now(), self.notes)

    async def wait_for_warehouse(self) -> None:
        try:
            await workflow.wait_condition(
                lambda: self.shipped_by is not None, timeout=timedelta(hours=2)
            )
        except TimeoutError:
            self.notes.append(await workflow.step(write_note, "escalated"))
            await workflow.wait_condition(
                lambda: self.shipped_by is not None, timeout=timedelta(hours=46)
            )

    @workflow.signal
    async def shipped(self, by: str) -> None:
        self.notes.append(await workflow.step(write_note, f"by {by}"))
        self.shipped_by = by


def order_ships(run: RunDriver) -> None:
    run.play({"charge": lambda amount: f"pay-{amount}"}, timers=False)
    run.signal("shipped", "van").play(timers=False)


def order_is_late(run: RunDriver) -> None:
    run.play({"charge": lambda amount: f"pay-{amount}"}, timers=False)
    run.advance(7200).play(timers=False)
    run.signal("shipped", "bike").play(timers=False)


def order_is_refunded(run: RunDriver) -> None:
    run.play({"charge": lambda amount: f"pay-{amount}", "refund": lambda _: None})


@workflow.defn
class StructuredV1:
    """Tasks, groups, shields, generators, locks and queues."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @workflow.run
    async def run(self, width: int) -> list[str]:
        async with asyncio.TaskGroup() as group:
            for number in range(width):
                group.create_task(self.work(number))
        tasks = [asyncio.create_task(asyncio.sleep(each, each)) for each in (3, 1, 2)]
        for each in workflow.as_completed(tasks):
            self.log.append(f"nap {await each}")
        async for number in self.numbers(width):
            self.log.append(f"number {number}")
        try:
            async with asyncio.timeout(10):
                await asyncio.shield(asyncio.create_task(self.work(99)))
                await asyncio.Event().wait()
        except TimeoutError:
            self.log.append("timeout")
        self.log.append(str(workflow.uuid4()))
        self.log.append(f"{workflow.random().randint(1, 10**9)}")
        return self.log

    async def work(self, number: int) -> None:
        self.log.append(await workflow.step(lambda: f"work {number}"))
        await asyncio.sleep(workflow.random().random())

    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            await workflow.step(reserve, str(number), name=f"number-{number}")
            yield number


def structured(run: RunDriver) -> None:
    run.play()


@workflow.defn
class CancelledV1:
    """Every way of being cancelled."""

    @workflow.run
    async def run(self) -> str:
        options = workflow.ActivityConfig(start_to_close_timeout=LIMIT)
        waits = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        tried = workflow.start_activity("tried", **options)
        waited = workflow.start_activity("waited", cancellation_type=waits, **options)
        workflow.start_activity("never sent", **options).cancel()
        nap = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(1)
        nap.cancel()
        tried.cancel()
        waited.cancel()
        await asyncio.gather(tried, waited, nap, return_exceptions=True)
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            await asyncio.shield(workflow.step(write_note, workflow.cancellation_reason() or ""))
        return "not reached"


def cancelled(run: RunDriver) -> None:
    run.activate()
    run.advance(1).activate()
    run.finish_cancelled_activity(2).activate()
    run.cancel("enough").play()


@workflow.defn
class FailsV1:
    """A failed step, caught once and once not."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.step(refuse)
        except ActivityError as error:
            await asyncio.sleep(float(error.cause.details[0]))  # type: ignore[union-attr]
        await workflow.execute_local_activity(
            "local", start_to_close_timeout=LIMIT, retry_policy=RetryPolicy(maximum_attempts=1)
        )


def fails(run: RunDriver) -> None:
    run.activate()
    run.finish_steps()
    run.activate()
    run.advance(3).activate()
    run.fail_step(3, ApplicationError("boom")).play()


@workflow.defn
class SignalsV1:
    """Portions of signals: early ones, several at once, and one that nobody handles yet."""

    def __init__(self) -> None:
        self.count = 0
        self.portions: list[int] = []

    @workflow.run
    async def run(self, until: int) -> list[int]:
        seen = 0
        while self.count < until:
            await workflow.wait_condition(lambda: self.count > seen)  # noqa: B023 - asked now
            self.portions.append(self.count - seen)
            seen = self.count
        workflow.set_signal_handler("late", self.portions.append)
        await workflow.wait_condition(lambda: self.portions[-1] < 0)
        return self.portions

    @workflow.signal
    def add(self) -> None:
        self.count += 1


def signals(run: RunDriver) -> None:
    run.signal("add").signal("late", 5).play()
    run.signal("add").signal("add").play()
    run.signal("add").play().signal("late", -1).play()


@workflow.defn
class PlacedV1:
    """A container that fails and one that does not, and an activity with its own pod."""

    @workflow.run
    async def run(self, photo: str) -> list[Any]:
        try:
            await workflow.execute_container(
                "shop/scan:3",
                args=["$(PERDURE_INPUT)"],
                input=[photo],
                non_retryable_exit_codes=[3],
                start_to_close_timeout=LIMIT,
            )
        except ActivityError as error:
            found = str(error.cause)
        resized = workflow.start_container(
            "registry.local:5000/resize@sha256:00", name="smaller", start_to_close_timeout=LIMIT
        )
        pod = Pod(resources={"limits": {"nvidia.com/gpu": 1}})
        tags = await workflow.execute_activity("tags", photo, start_to_close_timeout=LIMIT, pod=pod)
        return [found, await resized, tags]


def placed(run: RunDriver) -> None:
    run.activate()
    run.fail_activity(1, ApplicationError("exit code 3", type="ContainerFailed")).activate()
    run.complete_activity(3, ["cat"]).activate()
    run.complete_activity(2, {"width": 64}).play()


@workflow.defn
class BatchesV1:
    """Batches: awaited with a tolerated failure, gone through, failed, cancelled."""

    @workflow.run
    async def run(self, width: int) -> list[str]:
        log: list[str] = []
        options = workflow.ActivityConfig(start_to_close_timeout=LIMIT)
        for each in await workflow.map_activities(
            "work", range(width), tolerated_failures=1, parallelism=2, **options
        ):
            log += ["failed" if isinstance(each, ActivityError) else f"got {each}"]
        batch = workflow.map_activities("work", range(width), **options)
        async for item in batch.as_completed():
            log += [f"{item.index} is {item.result}"]
        try:
            async for each in workflow.map_activities("fragile", range(width), **options):
                log += [f"before: {each}"]
        except ActivityError as error:
            log.append(error.message)
        last = workflow.map_activities("work", range(width), **options)
        await asyncio.sleep(1)
        last.cancel()
        return log


def batches(run: RunDriver) -> None:
    run.activate()
    run.close_items(1, {2: "c", 0: "a"})
    run.close_items(1, {1: ApplicationError("boom")}, ends=True).activate()
    run.close_items(2, {1: "b"}).activate()
    run.close_items(2, {2: "c", 0: "a"}, ends=True).activate()
    failure = Failure(message="1 of 3 items failed", cause=Failure(message="broken"))
    run.close_items(3, {0: "a", 1: ApplicationError("broken")}).fail_batch(3, failure)
    run.activate()
    run.close_items(4, {0: "a"})
    run.play()


STORIES: dict[str, tuple[type, tuple[object, ...], Callable[[RunDriver], None]]] = {
    "v0.1/order-ships": (OrderV1, (Order("o1", ["tea", "cup"], 42),), order_ships),
    "v0.1/order-is-late": (OrderV1, (Order("o2", ["tea"], 42),), order_is_late),
    "v0.1/order-is-refunded": (OrderV1, (Order("o3", [], 42),), order_is_refunded),
    "v0.1/structured": (StructuredV1, (4,), structured),
    "v0.1/cancelled": (CancelledV1, (), cancelled),
    "v0.1/fails": (FailsV1, (), fails),
    "v0.1/signals": (SignalsV1, (4,), signals),
    "v0.1/placed": (PlacedV1, ("cat.png",), placed),
    "v0.1/batches": (BatchesV1, (3,), batches),
}
"""By the name of the file: the workflow, its input, and what happens to it."""
