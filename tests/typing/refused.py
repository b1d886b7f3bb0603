"""What type checkers must refuse: each mistake is in a call whose line is marked.

This file is read by mypy and never run; ``test_types.py`` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import Pod, RetryPolicy

MINUTE = timedelta(minutes=1)


@dataclass
class Order:
    order_id: str


@activity.defn
async def charge(order: Order) -> int:
    return len(order.order_id)


@activity.defn
def tidy() -> None:
    """Take nothing and return nothing."""


def write_receipt(order_id: str, number: int) -> str:
    return f"{order_id}-{number}"


@workflow.defn
class OrderWorkflow:
    @workflow.signal
    def answered(self, available: bool) -> None:
        """Take a boolean."""

    @workflow.query
    def state(self) -> str:
        return "waiting"

    @workflow.run
    async def run(self, order: Order) -> int:
        await workflow.execute_activity(  # refused
            charge, "42", start_to_close_timeout=MINUTE
        )
        await workflow.execute_activity(  # refused
            charge, start_to_close_timeout=MINUTE
        )
        await workflow.execute_activity(  # refused
            tidy, order, start_to_close_timeout=MINUTE
        )
        await workflow.execute_activity(  # refused
            charge, order, start_to_close_timeout=60
        )
        await workflow.execute_activity(  # refused
            charge, order, start_to_close_timeuot=MINUTE
        )
        receipt: str = await workflow.execute_activity(  # refused
            charge, order, start_to_close_timeout=MINUTE
        )
        await workflow.execute_activity(  # refused
            charge, order, start_to_close_timeout=MINUTE, pod={"image": "gpu"}
        )
        await workflow.execute_container(  # refused
            ["busybox"], start_to_close_timeout=MINUTE
        )
        await workflow.execute_container(  # refused
            "busybox", start_to_close_timeout=MINUTE, pod=None
        )
        image: int = await workflow.execute_container(  # refused
            "busybox", result_type=str, start_to_close_timeout=MINUTE
        )
        Pod(resources="2Gi", image=image)  # refused
        workflow.map_activities(  # refused
            charge, ["42"], start_to_close_timeout=MINUTE
        )
        workflow.map_activities(  # refused
            charge, order, start_to_close_timeout=MINUTE
        )
        workflow.map_activities(  # refused
            charge, [order], parallelism="5", start_to_close_timeout=MINUTE
        )
        charged: list[int] = await workflow.map_activities(  # refused
            charge, [order], tolerated_failures=1, start_to_close_timeout=MINUTE
        )
        await workflow.step(write_receipt, order.order_id)  # refused
        await workflow.step(write_receipt, order.order_id, "1")  # refused
        number: int = await workflow.step(write_receipt, receipt, charged[0])  # refused
        await workflow.step(write_receipt("42", 1))  # refused
        await workflow.wait_condition(True)  # refused
        await workflow.sleep("1h")  # refused
        return number


async def as_a_client(client: Client) -> None:
    await client.start_workflow(  # refused
        OrderWorkflow.run, "42", id="42", task_queue="orders"
    )
    await client.start_workflow(  # refused
        OrderWorkflow.run, Order(order_id="42"), task_queue="orders"
    )
    handle = await client.start_workflow(
        OrderWorkflow.run, Order(order_id="42"), id="42", task_queue="orders"
    )
    result: str = await handle.result()  # refused
    await handle.signal(OrderWorkflow.answered, result)  # refused
    state: int = await handle.query(OrderWorkflow.state)  # refused
    RetryPolicy(maximum_attempts=state, initial_interval=1)  # refused
