"""What type checkers must understand: each type is stated, and must be inferred alike.

This file is read by mypy and never run; ``test_types.py`` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from perdure import activity, workflow
from perdure.client import Client, WorkflowHandle
from perdure.common import Pod, RetryPolicy
from perdure.exceptions import ActivityError
from perdure.worker import Worker
from perdure.workflow import ActivityHandle, Batch, BatchItem

MINUTE = timedelta(minutes=1)


@dataclass
class Order:
    order_id: str


@dataclass
class Receipt:
    number: int


@activity.defn
async def charge(order: Order) -> Receipt:
    return Receipt(number=len(order.order_id))


@activity.defn(name="ship-order")
def ship(order: Order) -> str:
    return order.order_id


@activity.defn
def tidy() -> None:
    """Take nothing and return nothing."""


@activity.defn
async def move(order: Order, shelf: int) -> bool:
    return shelf > len(order.order_id)


class Warehouse:
    @activity.defn
    async def pick(self, order: Order) -> list[str]:
        return [order.order_id]


def write_receipt(order_id: str, number: int) -> Receipt:
    return Receipt(number=number + len(order_id))


async def look_up(order_id: str) -> int:
    return len(order_id)


@workflow.defn
class OrderWorkflow:
    def __init__(self) -> None:
        self.answer: bool | None = None

    @workflow.signal
    def answered(self, available: bool) -> None:
        self.answer = available

    @workflow.query
    def state(self) -> str:
        return "waiting"

    @workflow.run
    async def run(self, order: Order) -> Receipt:
        assert_type(
            await workflow.execute_activity(charge, order, start_to_close_timeout=MINUTE), Receipt
        )
        assert_type(
            await workflow.execute_activity(ship, order, start_to_close_timeout=MINUTE), str
        )
        assert_type(
            await workflow.execute_activity(
                move, args=[order, 3], schedule_to_close_timeout=MINUTE, retry_policy=RetryPolicy()
            ),
            bool,
        )
        assert_type(
            await workflow.execute_activity("by-name", order, start_to_close_timeout=MINUTE), Any
        )
        assert_type(
            await workflow.execute_activity_method(
                Warehouse.pick, order, start_to_close_timeout=MINUTE
            ),
            list[str],
        )
        assert_type(
            workflow.start_activity(charge, order, start_to_close_timeout=MINUTE),
            ActivityHandle[Receipt],
        )
        assert_type(await workflow.start_activity(ship, order, start_to_close_timeout=MINUTE), str)
        await workflow.execute_activity(tidy, start_to_close_timeout=MINUTE)
        gpu = Pod(resources={"limits": {"nvidia.com/gpu": 1}}, env={"LEVEL": "debug"})
        assert_type(
            await workflow.execute_activity(charge, order, start_to_close_timeout=MINUTE, pod=gpu),
            Receipt,
        )
        assert_type(
            await workflow.execute_container(
                "ffmpeg:6",
                command=["sh", "-c"],
                args=["convert"],
                input=[order, 1],
                env={"TOKEN": {"secretKeyRef": {"name": "card", "key": "token"}}},
                resources={"requests": {"cpu": "500m"}},
                non_retryable_exit_codes=[3],
                start_to_close_timeout=MINUTE,
                retry_policy=RetryPolicy(),
                result_type=Receipt,
            ),
            Receipt,
        )
        container = workflow.start_container("busybox", start_to_close_timeout=MINUTE)
        assert_type(container, ActivityHandle[Any])
        options = workflow.ContainerConfig(command=["true"], start_to_close_timeout=MINUTE)
        assert_type(await workflow.execute_container("busybox", **options), Any)
        assert_type(
            await workflow.execute_local_activity(ship, order, start_to_close_timeout=MINUTE), str
        )
        assert_type(await workflow.step(write_receipt, order.order_id, 1), Receipt)
        assert_type(await workflow.step(look_up, order.order_id, name="look-up"), int)
        assert_type(await workflow.step(lambda: 1.5, timeout=2), float)
        orders = [order]
        assert_type(
            await workflow.map_activities(charge, orders, start_to_close_timeout=MINUTE),
            list[Receipt],
        )
        assert_type(
            workflow.map_activities(
                ship, iter(orders), parallelism=5, schedule_to_close_timeout=MINUTE
            ),
            Batch[str],
        )
        tolerant = workflow.map_activities(
            ship, orders, tolerated_failures=3, start_to_close_timeout=MINUTE
        )
        assert_type(await tolerant, list[str | ActivityError])
        async for result in tolerant:
            assert_type(result, str | ActivityError)
        async for item in workflow.map_activities(charge, orders, start_to_close_timeout=MINUTE):
            assert_type(item, Receipt)
        async for ended in tolerant.as_completed():
            assert_type(ended, BatchItem[str | ActivityError])
            assert_type(ended.index, int)
        assert_type(
            await workflow.map_activities("by-name", [1], start_to_close_timeout=MINUTE),
            list[Any],
        )
        await workflow.wait_condition(lambda: self.answer is not None, timeout=MINUTE)
        return Receipt(number=1)


@workflow.defn
class NightlyWorkflow:
    @workflow.run
    async def run(self) -> int:
        return 1


@workflow.defn
class MoveWorkflow:
    @workflow.run
    async def run(self, order: Order, shelf: int) -> bool:
        return shelf > len(order.order_id)


async def as_a_client() -> None:
    client = await Client.connect("127.0.0.1:7233")
    order = Order(order_id="42")
    handle = await client.start_workflow(OrderWorkflow.run, order, id="42", task_queue="orders")
    assert_type(handle, WorkflowHandle[OrderWorkflow, Receipt])
    assert_type(await handle.result(), Receipt)
    assert_type(await handle.query(OrderWorkflow.state), str)
    await handle.signal(OrderWorkflow.answered, True)
    await handle.signal("answered", True)
    assert_type(
        await client.execute_workflow(NightlyWorkflow.run, id="nightly", task_queue="orders"), int
    )
    assert_type(
        await client.execute_workflow(
            MoveWorkflow.run, args=[order, 3], id="move", task_queue="orders"
        ),
        bool,
    )
    assert_type(
        await client.start_workflow("OrderWorkflow", order, id="42", task_queue="orders"),
        WorkflowHandle[Any, Any],
    )
    assert_type(
        client.get_workflow_handle_for(OrderWorkflow.run, "42"),
        WorkflowHandle[OrderWorkflow, Receipt],
    )


async def as_a_worker(client: Client) -> None:
    worker = Worker(
        client,
        task_queue="orders",
        workflows=[OrderWorkflow, NightlyWorkflow, MoveWorkflow],
        activities=[charge, ship, tidy, move, Warehouse().pick],
    )
    await worker.run()
