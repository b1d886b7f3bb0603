"""Which encoding a value gets, and the data converter around it."""

from dataclasses import dataclass

import pytest

from perdure.common import RawValue
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    default,
    type_name,
)
from perdure.exceptions import (
    ApplicationError,
    ConversionError,
    PayloadTooLargeError,
    TimeoutError,  # noqa: A004 - Temporal's name
    TimeoutType,
    UnsupportedTypeError,
)
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload


@dataclass
class Order:
    qty: int


@dataclass
class A:
    x: int


@dataclass
class B:
    y: int


class Reversing(PayloadCodec):
    """Turns the bytes round: enough to see whether it ran."""

    async def encode(self, payloads):
        return [Payload({"encoding": b"reversed"}, p.data[::-1]) for p in payloads]

    async def decode(self, payloads):
        return [Payload({"encoding": b"json/plain"}, p.data[::-1]) for p in payloads]


@pytest.mark.parametrize(
    ("value", "encoding", "data"),
    [
        pytest.param(None, b"binary/null", b"", id="none"),
        pytest.param(b"\x00", b"binary/plain", b"\x00", id="bytes"),
        pytest.param(bytearray(b"a"), b"binary/plain", b"a", id="bytearray"),
        pytest.param("a", b"json/plain", b'"a"', id="text"),
        pytest.param(Order(1), b"json/plain", b'{"qty":1}', id="dataclass"),
    ],
)
def test_each_value_gets_the_first_encoding_that_takes_it(value, encoding, data):
    payload = default().to_payload(value)
    assert payload == Payload({"encoding": encoding}, data)
    assert default().from_payload(payload) == (
        bytes(value)
        if encoding == b"binary/plain"
        else {"qty": 1}
        if isinstance(value, Order)
        else value
    )


def test_a_raw_value_passes_untouched_both_ways():
    payload = Payload({"encoding": b"of/mine"}, b"?")
    assert default().to_payload(RawValue(payload)) is payload
    assert default().from_payload(payload, RawValue) == RawValue(payload)


def test_no_payload_is_none():
    assert default().from_payload(None, Order) is None


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        pytest.param(None, Order, "expected object, got null", id="null-for-a-dataclass"),
        pytest.param(None, int, "expected int, got null", id="null-for-an-int"),
        pytest.param(b"x", str, "expected str, got bytes", id="bytes-for-text"),
    ],
)
def test_a_binary_value_must_fit_its_hint_too(value, hint, message):
    with pytest.raises(ConversionError, match=message):
        default().from_payload(default().to_payload(value), hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        pytest.param(None, Order | None, id="optional"),
        pytest.param(None, type(None), id="none-type"),
        pytest.param(None, object, id="object"),
        pytest.param(None, A | B | None, id="optional-union"),
        pytest.param(b"x", bytes | None, id="optional-bytes"),
        pytest.param(b"x", str | bytes, id="a-union-msgspec-cannot-do"),
    ],
)
def test_a_binary_value_that_fits_its_hint_comes_back(value, hint):
    assert default().from_payload(default().to_payload(value), hint) == value


def test_an_unknown_encoding_is_named_with_those_that_are_known():
    with pytest.raises(ConversionError, match=r"'of/mine' \(known: binary/null, .*json/plain"):
        default().from_payload(Payload({"encoding": b"of/mine"}, b""))


def test_a_composite_that_takes_nothing_says_so():
    with pytest.raises(UnsupportedTypeError, match="takes a Order"):
        CompositePayloadConverter().to_payload(Order(1))


def test_arguments_are_decoded_by_their_hints_as_far_as_there_are_any():
    payloads = default().to_payloads([{"qty": 1}, {"qty": 2}, {"qty": 3}])
    assert default().from_payloads(payloads, [Order, None]) == [Order(1), {"qty": 2}, {"qty": 3}]


def test_an_argument_that_does_not_fit_is_named_with_its_place():
    payloads = default().to_payloads([1, {"qty": "2"}])
    with pytest.raises(ConversionError) as caught:
        default().from_payloads(
            payloads, [int, Order], of="OrderWorkflow.run", names=["n", "order"]
        )
    assert str(caught.value) == (
        "argument 2 (order: Order) of OrderWorkflow.run: $.qty: expected int, got str"
    )


def test_an_argument_that_cannot_be_encoded_is_named():
    with pytest.raises(UnsupportedTypeError, match=r"^argument 2 of charge: cannot write"):
        default().to_payloads([1, object()], of="charge")


def test_a_payload_converter_alone_numbers_its_values():
    converter = DefaultPayloadConverter()
    with pytest.raises(ConversionError, match=r"^value 2 of 2: expected int"):
        converter.from_payloads(converter.to_payloads([1, "a"]), [int, int])
    assert converter.to_payloads([1]) == [converter.to_payload(1)]


def test_a_payload_over_the_limit_is_refused_and_one_at_it_is_not():
    assert default().to_payload(b"x" * MAX_PAYLOAD_BYTES).size >= MAX_PAYLOAD_BYTES
    with pytest.raises(PayloadTooLargeError, match="the result takes") as caught:
        default().to_payload(b"x" * (MAX_PAYLOAD_BYTES + 1), "the result")
    assert caught.value.size == MAX_PAYLOAD_BYTES + 1


async def test_a_codec_works_on_the_bytes_both_ways():
    converter = DataConverter(payload_codec=Reversing())
    payloads = await converter.encode([Order(12)])
    assert payloads == (Payload({"encoding": b"reversed"}, b'}21:"ytq"{'),)
    assert await converter.decode(payloads, [Order]) == [Order(12)]


async def test_without_a_codec_encode_and_decode_convert_only():
    payloads = await default().encode([Order(1)])
    assert payloads == default().to_payloads([Order(1)])
    assert await default().decode(payloads, [Order]) == [Order(1)]


class Shrinking(Reversing):
    async def encode(self, payloads):
        return [Payload({}, b"small") for _ in payloads]


class Growing(Reversing):
    async def encode(self, payloads):
        return [Payload({}, b"x" * (MAX_PAYLOAD_BYTES + 1)) for _ in payloads]


async def test_with_a_codec_the_limit_is_for_what_comes_out_of_it():
    large = [b"x" * (MAX_PAYLOAD_BYTES + 1)]
    assert len(await DataConverter(payload_codec=Shrinking()).encode(large)) == 1
    with pytest.raises(PayloadTooLargeError):
        await DataConverter(payload_codec=Growing()).encode([1])


async def test_a_codec_sees_the_details_of_errors_and_of_their_causes():
    converter = DataConverter(payload_codec=Reversing())
    error = ApplicationError("outer", 12)
    error.__cause__ = TimeoutError("inner", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[34])
    failure = await converter.encode_failure(error)
    assert failure.info.details[0].data == b"21"
    assert failure.cause.info.last_heartbeat_details[0].data == b"43"

    back = await converter.decode_failure(failure)
    assert list(back.details) == [12]
    assert list(back.cause.last_heartbeat_details) == [34]


async def test_without_a_codec_errors_are_converted_only():
    failure = await default().encode_failure(ApplicationError("no", 1))
    assert (await default().decode_failure(failure)).details == (1,)


def test_a_converter_can_be_put_together_anew():
    class Mine(CompositePayloadConverter):
        def __init__(self):
            super().__init__(JSONPlainPayloadConverter(encoding="json/mine"))

    converter = DataConverter(payload_converter_class=Mine)
    assert converter.to_payload(None) == Payload({"encoding": b"json/mine"}, b"null")


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        pytest.param(Order, "Order", id="class"),
        pytest.param(list[Order], "list[Order]", id="generic"),
        pytest.param(Order | None, "Order | None", id="union"),
        pytest.param(tuple[int, ...], "tuple[int, ...]", id="ellipsis"),
        pytest.param(None, "any value", id="none"),
    ],
)
def test_types_are_named_as_people_write_them(hint, name):
    assert type_name(hint) == name
