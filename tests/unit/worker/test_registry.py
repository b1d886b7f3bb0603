import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from perdure import activity, workflow
from perdure.common import RawValue
from perdure.exceptions import UsageError
from perdure.worker._registry import register, usable_slots


@workflow.defn
class Order:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(name="Order")
class OtherOrder:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(dynamic=True)
class AnyOrder:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...


class Plain: ...


@workflow.defn
class Unreadable:
    @workflow.run
    async def run(self, order: "Nowhere") -> None: ...  # noqa: F821 - that is the point


@activity.defn
async def charge(amount: int) -> None: ...


@activity.defn(name="charge")
def charge_again(amount: int) -> None: ...


@activity.defn
def pack(*parts: str) -> None: ...


@activity.defn(dynamic=True)
async def anything(args: Sequence[RawValue]) -> None: ...


@activity.defn(dynamic=True)
async def anything_else(args: Sequence[RawValue]) -> None: ...


@activity.defn
async def unreadable(order: "Nowhere") -> None: ...  # noqa: F821 - that is the point


class Shop:
    @activity.defn
    async def ship(self, order: str) -> None: ...


@activity.defn
class Print:
    def __call__(self, text: str) -> None: ...


async def undecorated() -> None: ...


def test_what_is_registered_is_found_by_name():
    registry = register([Order], [charge, Shop().ship, Print()])
    assert registry.find_workflow("Order").cls is Order
    assert set(registry.activities) == {"charge", "ship", "Print"}
    assert registry.find_activity("ship").names == ("order",)
    assert registry.find_workflow("x") is registry.find_activity("x") is None
    assert registry.workflow_modules[0].__name__ == __name__


def test_a_dynamic_one_is_found_by_every_other_name():
    registry = register([Order, AnyOrder], [charge, anything])
    assert registry.find_workflow("x").cls is AnyOrder
    assert registry.find_activity("x").definition.fn is anything
    assert registry.find_activity("charge").definition.fn is charge


@pytest.mark.parametrize(
    ("workflows", "activities", "message"),
    [
        pytest.param([], [], "has nothing to do", id="nothing"),
        pytest.param([Plain], [], "Plain' is no workflow", id="plain-class"),
        pytest.param([Order, OtherOrder], [], "More than one workflow named 'Order'", id="twice"),
        pytest.param([Unreadable], [], "'Nowhere'", id="unreadable-workflow"),
        pytest.param([], [undecorated], "undecorated is no activity: mark it", id="undecorated"),
        pytest.param([], [charge, charge_again], "More than one activity named", id="same-name"),
        pytest.param([], [anything, anything_else], "that is dynamic", id="two-dynamic"),
        pytest.param([], [Print], "is a class: give the worker an instance", id="class"),
        pytest.param([], [Shop.ship], "without its object", id="unbound"),
        pytest.param([], [unreadable], "'Nowhere'", id="unreadable-activity"),
    ],
)
def test_a_mistake_is_told_when_the_worker_is_made(workflows, activities, message):
    with pytest.raises(UsageError, match=message):
        register(workflows, activities)


def test_how_many_arguments_are_taken_is_said(converter):
    registry = register([], [pack, charge])
    assert registry.find_activity("pack").decode(converter.to_payloads(["a", "b"]), converter) == [
        "a",
        "b",
    ]
    assert registry.find_activity("pack")._takes == "0 or more arguments"
    assert registry.find_activity("charge")._takes == "1 argument (amount)"


def test_slots_are_as_asked_where_the_worker_makes_the_threads():
    assert usable_slots(register([], [pack]), None, 100) == 100


def test_few_threads_mean_few_slots():
    with ThreadPoolExecutor(5) as threads:
        assert usable_slots(register([], [pack]), threads, 100) == 5
        assert usable_slots(register([], [pack]), threads, 3) == 3
        assert usable_slots(register([], [charge]), threads, 100) == 100


def test_few_threads_for_some_of_the_activities_are_warned_of(caplog):
    with ThreadPoolExecutor(5) as threads:
        assert usable_slots(register([], [pack, charge]), threads, 100) == 100
    assert caplog.records[0].levelno == logging.WARNING
    assert "has 5 threads, but max_concurrent_activities is 100" in caplog.text


def test_processes_are_refused():
    with (
        ProcessPoolExecutor(1) as processes,
        pytest.raises(UsageError, match="ProcessPoolExecutor"),
    ):
        usable_slots(register([], [pack]), processes, 100)
