"""Values of every supported type survive JSON, and what does not fit is refused with its place."""

import collections
import datetime as dt
import enum
import ipaddress
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pydantic
import pytest

from perdure.converter import (
    AdvancedJSONEncoder,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
)
from perdure.exceptions import ConversionError, UnsupportedTypeError

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Ratio(enum.Enum):
    HALF = 0.5
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Item:
    sku: str
    qty: int = 1


@dataclass
class Order:
    id: uuid.UUID
    items: list[Item]
    placed: dt.datetime
    color: Color | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Approved:
    by: str


@dataclass
class Rejected:
    reason: str


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    retries: int


class Address(pydantic.BaseModel):
    street: str = pydantic.Field(alias="streetName")
    since: dt.date


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    at: dt.datetime


@dataclass
class Customer:
    name: str
    address: Address


ADDRESS = Address(streetName="Elm", since=dt.date(2020, 1, 2))
STRICT = Strict(at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
ORDER = Order(
    uuid.UUID(int=7),
    [Item("a", 2), Item("b")],
    dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    Color.RED,
    {"gift": "yes"},
)

ROUND_TRIPS = [
    pytest.param(ORDER, Order, id="nested-dataclass"),
    pytest.param([ORDER], list[Order], id="list-of-dataclasses"),
    pytest.param({"a": Item("x")}, Mapping[str, Item], id="mapping"),
    pytest.param([1, 2], Sequence[int], id="sequence"),
    pytest.param(Box(Item("x")), Box[Item], id="generic-dataclass"),
    pytest.param(Color.BLUE, Color, id="enum"),
    pytest.param(Ratio.HALF, Ratio, id="enum-of-floats"),
    pytest.param(Level.LOW, Level, id="int-enum"),
    pytest.param(dt.datetime.fromisoformat("2026-01-01"), dt.datetime, id="naive-datetime"),
    pytest.param(dt.date(2026, 1, 1), dt.date, id="date"),
    pytest.param(dt.time(12, 30), dt.time, id="time"),
    pytest.param(dt.timedelta(days=-3, seconds=4, microseconds=5), dt.timedelta, id="timedelta"),
    pytest.param(uuid.UUID(int=1), uuid.UUID, id="uuid"),
    pytest.param(Decimal("1.10"), Decimal, id="decimal"),
    pytest.param({1, 2}, set[int], id="set"),
    pytest.param(frozenset("a"), frozenset[str], id="frozenset"),
    pytest.param((1, "a"), tuple[int, str], id="tuple"),
    pytest.param((1, 2, 3), tuple[int, ...], id="tuple-of-any-length"),
    pytest.param(Point(1, 2), Point, id="named-tuple"),
    pytest.param({"retries": 3}, Options, id="typed-dict"),
    pytest.param(None, Item | None, id="optional-none"),
    pytest.param(Item("a"), Item | None, id="optional"),
    pytest.param("a", int | str, id="union"),
    pytest.param(Rejected("late"), Approved | Rejected, id="union-of-dataclasses"),
    pytest.param([Approved("me")], list[Approved | Rejected], id="list-of-a-union"),
    pytest.param("b", Literal["a", "b"], id="literal"),
    pytest.param({1: "a"}, dict[int, str], id="int-keys"),
    pytest.param({"k": b"\x00\xff"}, dict[str, bytes], id="nested-bytes"),
    pytest.param(ADDRESS, Address, id="pydantic-model"),
    pytest.param([ADDRESS], list[Address], id="list-of-pydantic-models"),
    pytest.param(ADDRESS, Address | None, id="optional-pydantic-model"),
    pytest.param(Customer("Ann", ADDRESS), Customer, id="pydantic-in-a-dataclass"),
    pytest.param([Customer("Ann", ADDRESS)], list[Customer], id="pydantic-deep-down"),
    pytest.param(STRICT, Strict, id="strict-pydantic"),
    pytest.param(Box(STRICT), Box[Strict], id="strict-inside"),
    pytest.param(PurePosixPath("/a/b"), PurePosixPath, id="path"),
    pytest.param(ipaddress.ip_address("10.0.0.1"), ipaddress.IPv4Address, id="address"),
    pytest.param(collections.deque([1, 2]), collections.deque[int], id="deque"),
    pytest.param(2**80, int, id="big-int"),
    pytest.param({"a": [1, None, "x", 1.5, True]}, None, id="plain-values"),
    pytest.param({"a": 1}, Any, id="any"),
    pytest.param([1], object, id="object"),
    pytest.param(3, T, id="type-variable"),
]


@pytest.fixture
def converter():
    return JSONPlainPayloadConverter()


@pytest.mark.parametrize(("value", "hint"), ROUND_TRIPS)
def test_a_value_comes_back_as_it_was(converter, value, hint):
    payload = converter.to_payload(value)
    json.loads(payload.data)
    back = converter.from_payload(payload, hint)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("data", "hint", "message"),
    [
        pytest.param(b'{"sku":"a","qty":"2"}', Item, "$.qty: expected int, got str", id="field"),
        pytest.param(b'[{"sku":1}]', list[Item], "$[0].sku: expected str, got int", id="in-list"),
        pytest.param(b"{}", Item, "object missing required field sku", id="missing"),
        pytest.param(b"null", Item, "expected object, got null", id="null"),
        pytest.param(b"1.5", int, "expected int, got float", id="no-rounding"),
        pytest.param(b"1", bool, "expected bool, got int", id="no-bending"),
        pytest.param(b'"x"', uuid.UUID, "invalid UUID", id="uuid"),
        pytest.param(b'"green"', Color, "invalid enum value 'green'", id="enum"),
        pytest.param(b'{"x', Item, "input data was truncated", id="not-json"),
        pytest.param(b'{"x', None, "input data was truncated", id="not-json-plain"),
        pytest.param(b'"\xff"', str, "", id="not-utf-8"),
        pytest.param(b"[" * 100_000, None, "nested too deeply", id="bomb"),
        pytest.param(b"{}", Approved | Rejected, "got object", id="union-of-dataclasses"),
        pytest.param(b'{"streetName":"a","since":"no"}', Address, "$.since: ", id="pydantic-model"),
        pytest.param(
            b'{"name":"a","address":{"streetName":"x","since":"no"}}',
            Customer,
            "$.address.since: ",
            id="pydantic-in-a-dataclass",
        ),
        pytest.param(b"{", Address, "invalid JSON", id="pydantic-not-json"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(converter, data, hint, message):
    payload = converter.to_payload(None)
    bad = type(payload)(payload.metadata, data)
    with pytest.raises(ConversionError) as caught:
        converter.from_payload(bad, hint)
    assert message in str(caught.value)


def test_the_facts_of_a_refusal_are_attributes(converter):
    payload = converter.to_payload({"sku": "a", "qty": "2"})
    with pytest.raises(ConversionError) as caught:
        converter.from_payload(payload, Item)
    error = caught.value
    assert (error.path, error.expected, error.found) == ("$.qty", "int", "str")


def test_a_field_of_a_newer_sender_is_ignored(converter):
    payload = converter.to_payload({"sku": "a", "colour": "red"})
    assert converter.from_payload(payload, Item) == Item("a")


@dataclass
class Even:
    number: int

    def __post_init__(self):
        if self.number % 2:
            raise ValueError(f"{self.number} is odd")


def test_a_dataclass_that_refuses_its_values_is_heard(converter):
    with pytest.raises(ConversionError, match="3 is odd"):
        converter.from_payload(converter.to_payload({"number": 3}), Even)


class Socket:
    pass


async def fetch():
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(Socket(), "Socket as JSON: make it a dataclass", id="unknown-type"),
        pytest.param([{"a": Socket()}], "Socket as JSON", id="deep-down"),
        pytest.param({(1, 2): 3}, "a tuple as a key of a JSON object", id="tuple-keys"),
        pytest.param({1, (Socket,)}, "type as JSON", id="a-class"),
        pytest.param(iter([]), "list_iterator as JSON", id="an-iterator"),
    ],
)
def test_a_type_that_cannot_be_written_is_a_type_error_with_a_remedy(converter, value, message):
    with pytest.raises(TypeError) as caught:
        converter.to_payload(value)
    assert isinstance(caught.value, UnsupportedTypeError)
    assert message in str(caught.value)


def test_a_forgotten_await_is_named(converter):
    coroutine = fetch()
    with pytest.raises(UnsupportedTypeError, match="fetch as JSON: it has not been awaited"):
        converter.to_payload(coroutine)
    coroutine.close()


class Price(pydantic.BaseModel):
    amount: float


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param(float("nan"), "", id="alone"),
        pytest.param({"a": [1.0, None, float("inf")]}, r"\$\.a\[2\]: ", id="nested"),
        pytest.param(Box(-float("inf")), r"\$\.content: ", id="in-a-dataclass"),
        pytest.param([Price(amount=float("nan"))], r"\$\[0\]\.amount: ", id="in-a-model"),
    ],
)
def test_a_number_that_json_has_not_is_refused_rather_than_lost(converter, value, path):
    with pytest.raises(ConversionError, match=f"^{path}JSON has no (nan|-?inf)"):
        converter.to_payload(value)


def test_none_beside_finite_numbers_is_written(converter):
    assert converter.to_payload([None, 1.5]).data == b"[null,1.5]"


def test_a_value_that_contains_itself_is_refused(converter):
    endless = []
    endless.append(endless)
    with pytest.raises(ConversionError, match="contains itself"):
        converter.to_payload(endless)


def test_text_that_is_no_unicode_is_refused(converter):
    with pytest.raises(ConversionError, match="surrogates"):
        converter.to_payload("\ud800")


def test_a_type_that_nobody_can_read_is_named_with_a_remedy(converter):
    payload = converter.to_payload({})
    with pytest.raises(UnsupportedTypeError, match=r"cannot read JSON as Socket: .*dataclass"):
        converter.from_payload(payload, Socket)


def test_annotations_that_do_not_resolve_are_named(converter):
    namespace = {"dataclass": dataclass}
    exec(  # a class whose annotation names nothing
        "from __future__ import annotations\n@dataclass\nclass Lost:\n    x: Nowhere\n", namespace
    )
    with pytest.raises(UnsupportedTypeError, match="'Nowhere' is not defined"):
        converter.from_payload(converter.to_payload({"x": 1}), namespace["Lost"])


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


class CelsiusEncoder(AdvancedJSONEncoder):
    def default(self, o):
        return o.degrees if isinstance(o, Celsius) else super().default(o)


class CelsiusConverter(JSONTypeConverter):
    def to_typed_value(self, hint, value):
        return Celsius(value) if hint is Celsius else self.Unhandled


@pytest.fixture
def extended():
    return JSONPlainPayloadConverter(
        encoder=CelsiusEncoder, custom_type_converters=[CelsiusConverter()]
    )


@pytest.mark.parametrize(
    ("value", "hint", "content"),
    [
        pytest.param(Celsius(3), Celsius, lambda v: v, id="alone"),
        pytest.param([Celsius(3)], list[Celsius], lambda v: v[0], id="in-a-list"),
        pytest.param(Box(Celsius(3)), Box[Celsius], lambda v: v.content, id="in-a-dataclass"),
    ],
)
def test_users_can_add_a_type(extended, value, hint, content):
    back = content(extended.from_payload(extended.to_payload(value), hint))
    assert isinstance(back, Celsius)
    assert back.degrees == 3


def test_an_added_type_leaves_the_others_alone(extended):
    assert extended.from_payload(extended.to_payload(ORDER), Order) == ORDER
    assert extended.to_payload(PurePosixPath("/a")).data == b'"/a"'
    with pytest.raises(UnsupportedTypeError):
        extended.to_payload(Socket())
