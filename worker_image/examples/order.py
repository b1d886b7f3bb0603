"""An order, from the charge to the receipt: the whole of a long business process in one function.

The card is charged; if anything fails later, it is refunded. The warehouse is asked and may take
its time: after two hours somebody is told, after 48 hours the customer is. When the warehouse
says yes, the order is shipped and a receipt is written.

Run it on a bare machine, and answer for the warehouse from a second terminal:

    perdure run worker_image/examples/order.py --id order-42 --input '{"order_id": "42"}'
    perdure signal order-42 warehouse_answered --input true --address ADDRESS

Every side effect goes to a ledger, a file of one JSON line for each call, which stands for the
payment provider and the carrier of real life: they are called at least once, and know a repeated
call by its idempotency key.
"""

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

LEDGER = Path(os.environ.get("ORDER_LEDGER", "order-ledger.jsonl"))

QUICK = {"start_to_close_timeout": timedelta(seconds=30)}


@dataclass
class Order:
    """What was ordered, and how patient everybody is."""

    order_id: str
    amount: float = 49.90
    card: str = "4242"
    escalate_after: float = 2 * 3600
    """Seconds without an answer of the warehouse after which somebody is told."""
    remind_after: float = 48 * 3600
    """Seconds after which the customer is told."""


@dataclass
class Payment:
    """A charged card."""

    payment_id: str
    amount: float


@dataclass
class Receipt:
    """How it ended."""

    order_id: str
    payment_id: str
    tracking: str


def write_to_ledger(effect: str, order_id: str) -> None:
    """Do the side effect: one line, on disk when this returns."""
    info = activity.info()
    line = {
        "effect": effect,
        "order": order_id,
        "key": info.idempotency_key,
        "attempt": info.attempt,
    }
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())


@activity.defn(name="charge-payment")
def charge_payment(order: Order) -> Payment:
    """Charge the card. A real provider is given the idempotency key, and charges once."""
    if order.card == "declined":
        raise ApplicationError("the card was declined", type="CardDeclined", non_retryable=True)
    write_to_ledger("charge", order.order_id)
    return Payment(payment_id=f"pay_{order.order_id}", amount=order.amount)


@activity.defn(name="refund-payment")
def refund_payment(order: Order, payment: Payment) -> None:
    """Give the money back."""
    write_to_ledger("refund", order.order_id)


@activity.defn(name="escalate-to-manager")
async def escalate_to_manager(order: Order) -> None:
    """Tell somebody that the warehouse does not answer."""
    write_to_ledger("escalate", order.order_id)


@activity.defn(name="remind-customer")
async def remind_customer(order: Order) -> None:
    """Tell the customer that it takes longer."""
    write_to_ledger("remind", order.order_id)


@activity.defn(name="ship-order")
def ship_order(order: Order) -> str:
    """Hand the parcel to the carrier and return its tracking number."""
    write_to_ledger("ship", order.order_id)
    return f"track_{order.order_id}"


def write_receipt(order_id: str, payment_id: str, tracking: str) -> Receipt:
    """Write the receipt: a light side effect, so a step."""
    write_to_ledger("receipt", order_id)
    return Receipt(order_id=order_id, payment_id=payment_id, tracking=tracking)


@workflow.defn
class OrderWorkflow:
    """One order."""

    def __init__(self) -> None:
        self._answer: bool | None = None
        self._state = "new"

    @workflow.signal
    def warehouse_answered(self, available: bool) -> None:
        """The warehouse has looked: the goods are there, or not."""
        self._answer = available

    @workflow.query
    def state(self) -> str:
        """How far the order is."""
        return self._state

    @workflow.run
    async def run(self, order: Order) -> Receipt:
        """Charge, wait for the warehouse, ship, write the receipt; refund if that fails."""
        self._state = "charging"
        payment = await workflow.execute_activity(charge_payment, order, **QUICK)
        try:
            await self._wait_for_warehouse(order)
            if not self._answer:
                raise ApplicationError("the goods are sold out", type="SoldOut")
            self._state = "shipping"
            tracking = await workflow.execute_activity(ship_order, order, **QUICK)
            receipt = await workflow.step(
                write_receipt, order.order_id, payment.payment_id, tracking
            )
        except BaseException:
            self._state = "refunding"
            await workflow.execute_activity(refund_payment, args=[order, payment], **QUICK)
            self._state = "refunded"
            raise
        self._state = "shipped"
        return receipt

    async def _wait_for_warehouse(self, order: Order) -> None:
        self._state = "waiting for the warehouse"
        if await self._answered_within(order.escalate_after):
            return
        await workflow.execute_activity(escalate_to_manager, order, **QUICK)
        if await self._answered_within(order.remind_after - order.escalate_after):
            return
        await workflow.execute_activity(remind_customer, order, **QUICK)
        await workflow.wait_condition(lambda: self._answer is not None)

    async def _answered_within(self, seconds: float) -> bool:
        try:
            await workflow.wait_condition(
                lambda: self._answer is not None,
                timeout=timedelta(seconds=seconds),
                timeout_summary="wait-for-warehouse",
            )
        except TimeoutError:
            return False
        return True
