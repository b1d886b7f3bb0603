import functools
from collections.abc import Sequence

import pytest

from perdure import activity
from perdure.activity._definition import find_definition, is_async, positional_types
from perdure.common import RawValue
from perdure.exceptions import UsageError


@activity.defn
async def charge(amount: int, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@activity.defn(name="refund-payment", no_thread_cancel_exception=True)
def refund(amount: int) -> None: ...


class Mailer:
    @activity.defn
    async def send(self, to: str, body: bytes) -> bool:
        return True

    @activity.defn
    def archive(self, to: str) -> None: ...


@activity.defn
class Resize:
    def __init__(self, width: int) -> None:
        self.width = width

    async def __call__(self, path: str) -> int:
        return self.width


def found(fn):
    definition = find_definition(fn)
    assert definition is not None
    return definition


def test_an_activity_is_named_after_its_function():
    assert found(charge).name == "charge"
    assert found(charge).is_async


def test_an_activity_may_have_a_name_of_its_own():
    assert found(refund).name == "refund-payment"
    assert not found(refund).is_async
    assert found(refund).no_thread_cancel_exception


def test_the_decorator_gives_back_the_function_itself():
    async def plain() -> None: ...

    assert activity.defn(plain) is plain


def test_a_method_is_found_bound_to_its_object():
    mailer = Mailer()
    assert found(mailer.send).fn == mailer.send
    assert found(mailer.send).is_async
    assert not found(mailer.archive).is_async


def test_an_instance_with_call_is_an_activity():
    resize = Resize(100)
    assert found(resize).name == "Resize"
    assert found(resize).fn is resize
    assert found(resize).is_async


def test_a_dynamic_activity_has_no_name():
    @activity.defn(dynamic=True)
    def anything(args: Sequence[RawValue]) -> None: ...

    assert found(anything).is_dynamic


def test_what_is_not_decorated_has_no_definition():
    assert find_definition(len) is None


@pytest.mark.parametrize(
    ("fn", "types", "result"),
    [
        pytest.param(charge, [int, str], str, id="function"),
        pytest.param(Mailer().send, [str, bytes], bool, id="method"),
        pytest.param(Resize(1), [str], int, id="callable"),
        pytest.param(Resize, [str], int, id="callable class"),
        pytest.param(lambda x: x, None, None, id="lambda"),
        pytest.param(len, None, None, id="builtin"),
    ],
)
def test_types_are_read_from_annotations(fn, types, result):
    assert positional_types(fn) == (types, result)


def test_an_annotation_that_names_nothing_is_refused():
    def odd(value: "Nowhere") -> None: ...  # noqa: F821 - that is the point

    with pytest.raises(UsageError, match="'Nowhere' is not defined"):
        positional_types(odd)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        pytest.param(charge, True, id="async function"),
        pytest.param(refund, False, id="function"),
        pytest.param(functools.partial(charge, 1), True, id="partial of async"),
        pytest.param(functools.partial(refund, 1), False, id="partial"),
        pytest.param(lambda: None, False, id="lambda"),
        pytest.param(Resize(1), True, id="async callable"),
        pytest.param(int, False, id="class"),
    ],
)
def test_async_callables_are_told_from_sync_ones(fn, expected):
    assert is_async(fn) is expected


def test_keyword_only_arguments_are_refused():
    def keyworded(*, amount: int) -> None: ...

    with pytest.raises(TypeError, match="keyword-only argument 'amount'"):
        activity.defn(keyworded)


def test_decorating_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        activity.defn(charge)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="needs a function"):
        activity.defn(3)


def test_a_dynamic_activity_with_a_name_is_refused():
    with pytest.raises(ValueError, match="no name of its own"):
        activity.defn(name="x", dynamic=True)


def test_a_callable_without_a_name_must_be_given_one():
    with pytest.raises(ValueError, match="has no name of its own"):
        activity.defn(functools.partial(refund, 1))
