from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.exceptions import UsageError
from perdure.workflow._definition import (
    WorkflowDefinition,
    query_name_and_type,
    signal_name,
    workflow_name_and_types,
)


@workflow.defn
class Order:
    @workflow.run
    async def run(self, number: int, urgent: bool = False) -> str:
        return ""

    @workflow.signal
    def approve(self, by: str) -> None: ...

    @workflow.signal(name="say-no")
    def refuse(self) -> None: ...

    @workflow.query(description="how far it is")
    def state(self) -> list[int]:
        return []

    def plain(self) -> None: ...


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> None: ...


def test_a_workflow_is_named_after_its_class_unless_it_says_otherwise() -> None:
    @workflow.defn(name="other")
    class Named:
        @workflow.run
        async def run(self) -> None: ...

    assert WorkflowDefinition.of(Order).name == "Order"
    assert WorkflowDefinition.of(Named).name == "other"
    assert WorkflowDefinition.of(Anything).name is None
    assert WorkflowDefinition.of(Anything).is_dynamic


def test_a_client_learns_name_and_types_from_what_it_is_given() -> None:
    assert workflow_name_and_types("Order") == ("Order", None, None)
    assert workflow_name_and_types(Order.run) == ("Order", [int, bool], str)
    assert workflow_name_and_types(Order) == ("Order", [int, bool], str)
    assert signal_name("x") == "x"
    assert signal_name(Order.approve) == "approve"
    assert signal_name(Order.refuse) == "say-no"
    assert query_name_and_type("x") == ("x", None)
    assert query_name_and_type(Order.state) == ("state", list[int])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        pytest.param(
            lambda: workflow_name_and_types(Order.plain), "is no workflow", id="no-workflow"
        ),
        pytest.param(lambda: workflow_name_and_types(int), "is no workflow", id="no-class"),
        pytest.param(
            lambda: workflow_name_and_types(Anything.run), "start it by the name", id="dynamic"
        ),
        pytest.param(lambda: signal_name(Order.state), "is no signal", id="no-signal"),
        pytest.param(lambda: query_name_and_type(Order.approve), "is no query", id="no-query"),
        pytest.param(lambda: signal_name(Anything.any_signal), "dynamic signal", id="any-signal"),
        pytest.param(
            lambda: query_name_and_type(Anything.any_query), "dynamic query", id="any-query"
        ),
        pytest.param(lambda: WorkflowDefinition.of(int), "is no workflow", id="unmarked"),
        pytest.param(lambda: WorkflowDefinition.of("x"), "is no workflow", id="no-type"),  # type: ignore[arg-type]  # that is the mistake
    ],
)
def test_what_is_not_what_it_should_be_is_refused(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask()


def test_types_are_read_when_they_are_needed() -> None:
    definition = WorkflowDefinition.of(Forward)

    assert definition.argument_types == [Later]
    assert definition.return_type is Later


@workflow.defn
class Forward:
    @workflow.run
    async def run(self, value: Later) -> Later:
        return value


class Later:
    pass


def test_an_annotation_that_names_nothing_is_refused_with_a_remedy() -> None:
    @workflow.defn
    class Broken:
        @workflow.run
        async def run(self, value: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(UsageError, match="importable at run time"):
        _ = WorkflowDefinition.of(Broken).argument_types


def test_an_unannotated_parameter_means_no_types() -> None:
    @workflow.defn
    class Loose:
        @workflow.run
        async def run(self, value, other: int) -> int:  # type: ignore[no-untyped-def]
            return other

    assert WorkflowDefinition.of(Loose).argument_types is None
    assert WorkflowDefinition.of(Loose).return_type is int


def test_handlers_are_inherited_and_may_be_overridden() -> None:
    class Base:
        @workflow.signal
        def hello(self) -> None: ...

        @workflow.query
        def state(self) -> int:
            return 1

    @workflow.defn
    class Derived(Base):
        @workflow.run
        async def run(self) -> None: ...

        @workflow.query
        def state(self) -> int:
            return 2

    definition = WorkflowDefinition.of(Derived)

    assert list(definition.signals) == ["hello"]
    assert definition.queries["state"].fn is Derived.state


def test_a_definition_is_not_inherited() -> None:
    class Derived(Order):
        pass

    with pytest.raises(UsageError, match="a base class does not count"):
        WorkflowDefinition.of(Derived)


# --- classes that cannot be workflows ------------------------------------------------------------


def no_run() -> None:
    @workflow.defn
    class Broken:
        pass


def two_runs() -> None:
    @workflow.defn
    class Broken:
        @workflow.run
        async def run(self) -> None: ...

        @workflow.run
        async def again(self) -> None: ...


def run_on_a_base() -> None:
    class Base:
        @workflow.run
        async def run(self) -> None: ...

    @workflow.defn
    class Broken(Base):
        pass


def sync_run() -> None:
    class Broken:
        @workflow.run
        def run(self) -> None: ...


def keyword_only_run() -> None:
    class Broken:
        @workflow.run
        async def run(self, *, value: int) -> None: ...


def two_signals_of_one_name() -> None:
    @workflow.defn
    class Broken:
        @workflow.run
        async def run(self) -> None: ...

        @workflow.signal(name="x")
        def one(self) -> None: ...

        @workflow.signal(name="x")
        def two(self) -> None: ...


def keyword_only_signal() -> None:
    class Broken:
        @workflow.signal
        def one(self, *, value: int) -> None: ...


def unmarked_override() -> None:
    class Base:
        @workflow.signal
        def hello(self) -> None: ...

    @workflow.defn
    class Broken(Base):
        @workflow.run
        async def run(self) -> None: ...

        def hello(self) -> None: ...


def init_of_another_shape() -> None:
    @workflow.defn
    class Broken:
        @workflow.init
        def __init__(self, value: str) -> None: ...

        @workflow.run
        async def run(self, value: int) -> None: ...


def init_elsewhere() -> None:
    class Broken:
        @workflow.init
        def start(self) -> None: ...


def marked_twice() -> None:
    @workflow.defn
    @workflow.defn
    class Broken:
        @workflow.run
        async def run(self) -> None: ...


def named_and_dynamic() -> None:
    workflow.defn(name="x", dynamic=True)  # type: ignore[call-overload]


def dynamic_signal_of_another_shape() -> None:
    class Broken:
        @workflow.signal(dynamic=True)
        def any(self, args: Sequence[RawValue]) -> None: ...


def named_dynamic_query() -> None:
    class Broken:
        @workflow.query(name="x", dynamic=True)
        def any(self, name: str, args: Sequence[RawValue]) -> None: ...


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (no_run, "no method is marked with @workflow.run"),
        (two_runs, r"more than one method is marked with @workflow.run \(run, again\)"),
        (run_on_a_base, "is on a base class"),
        (sync_run, "must be an async def"),
        (keyword_only_run, "keyword-only argument 'value'"),
        (two_signals_of_one_name, "one and two share the name 'x'"),
        (keyword_only_signal, "keyword-only argument 'value'"),
        (unmarked_override, "hello overrides a marked method"),
        (init_of_another_shape, "must take exactly the arguments of its run method"),
        (init_elsewhere, "marks an __init__"),
        (marked_twice, "decorated with @workflow.defn twice"),
        (named_and_dynamic, "no name of its own"),
        (dynamic_signal_of_another_shape, r"must take \(self, name: str"),
        (named_dynamic_query, "no name of its own"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_that_cannot_be_a_workflow_is_refused(
    define: Callable[[], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        define()


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"no method is marked .*; one and two share"):

        @workflow.defn
        class Broken:
            @workflow.query(name="x")
            def one(self) -> None: ...

            @workflow.query(name="x")
            def two(self) -> None: ...
