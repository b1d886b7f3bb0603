"""The data converter: what clients, workers and replay are given to convert with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from perdure.converter._codecs import PayloadCodec, recode_failure
from perdure.converter._failures import DefaultFailureConverter, FailureConverter
from perdure.converter._payloads import DefaultPayloadConverter, PayloadConverter
from perdure.converter._reading import type_name
from perdure.exceptions import ConversionError, FailureError, PayloadTooLargeError
from perdure.protocol.failures import Failure
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, Payloads


def check_payload_size(payload: Payload, what: str = "a value") -> Payload:
    """Return a payload that is not too large.

    Raises:
        PayloadTooLargeError: it is; ``what`` names it.
    """
    if len(payload.data) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(len(payload.data), MAX_PAYLOAD_BYTES, what)
    return payload


@dataclass(frozen=True)
class DataConverter:
    """Converts values and errors, and puts them through the codec if there is one.

    The methods named ``to_`` and ``from_`` convert only, at once; ``encode`` and ``decode``
    convert and apply the codec, and so must be awaited.
    """

    payload_converter_class: type[PayloadConverter] = DefaultPayloadConverter
    payload_codec: PayloadCodec | None = None
    failure_converter_class: type[FailureConverter] = DefaultFailureConverter
    payload_converter: PayloadConverter = field(init=False)
    failure_converter: FailureConverter = field(init=False)

    default: ClassVar[DataConverter]
    """The one that is used when none is given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload_converter", self.payload_converter_class())
        object.__setattr__(self, "failure_converter", self.failure_converter_class())

    def to_payload(self, value: Any, what: str = "the value") -> Payload:
        """Encode one value; ``what`` names it in errors.

        Raises:
            ConversionError: it cannot be written.
            PayloadTooLargeError: it is over the limit (a codec may yet make it smaller, so
                with one this is not said here but when it has run).
        """
        try:
            payload = self.payload_converter.to_payload(value)
        except ConversionError as error:
            raise error.at(what) from error.__cause__
        return payload if self.payload_codec else check_payload_size(payload, what)

    def to_payloads(self, values: Sequence[Any], of: str = "") -> Payloads:
        """Encode arguments; ``of`` names in errors what they are the arguments of."""
        suffix = f" of {of}" if of else ""
        return tuple(
            self.to_payload(value, f"argument {index}{suffix}")
            for index, value in enumerate(values, start=1)
        )

    def from_payload(
        self, payload: Payload | None, type_hint: Any = None, what: str = "the value"
    ) -> Any:
        """Decode one value; no payload is None.

        Raises:
            ConversionError: it is not of that type; ``what`` names it.
        """
        if payload is None:
            return None
        try:
            return self.payload_converter.from_payload(payload, type_hint)
        except ConversionError as error:
            raise error.at(what) from error.__cause__

    def from_payloads(
        self,
        payloads: Sequence[Payload],
        type_hints: Sequence[Any] | None = None,
        *,
        of: str = "",
        names: Sequence[str] = (),
    ) -> list[Any]:
        """Decode arguments, by ``type_hints`` as far as there are any.

        Args:
            payloads: one each.
            type_hints: may be shorter; None among them means plain values.
            of: what they are the arguments of, for errors.
            names: the parameters' names, for errors.

        Raises:
            ConversionError: one is not of its type, e.g. ``argument 1 (order: Order) of
                OrderWorkflow.run: $.qty: expected int, got str``.
        """
        hints = list(type_hints or ())
        values = []
        for index, payload in enumerate(payloads):
            hint = hints[index] if index < len(hints) else None
            try:
                values.append(self.payload_converter.from_payload(payload, hint))
            except ConversionError as error:
                name = names[index] if index < len(names) else ""
                raise error.at(_argument(index, name, hint, of)) from error.__cause__
        return values

    def to_failure(self, exception: BaseException) -> Failure:
        """Return the recorded form of an exception. Never raises for what is in it."""
        return self.failure_converter.to_failure(exception, self.payload_converter)

    def from_failure(self, failure: Failure) -> FailureError:
        """Return the exception that a failure is the recorded form of."""
        return self.failure_converter.from_failure(failure, self.payload_converter)

    async def encode(self, values: Sequence[Any], of: str = "") -> Payloads:
        """Encode arguments, through the codec."""
        return await self.encode_payloads(self.to_payloads(values, of))

    async def decode(
        self, payloads: Sequence[Payload], type_hints: Sequence[Any] | None = None
    ) -> list[Any]:
        """Decode values, through the codec."""
        return self.from_payloads(await self.decode_payloads(payloads), type_hints)

    async def encode_payloads(self, payloads: Sequence[Payload]) -> Payloads:
        """Put converted payloads through the codec.

        Raises:
            PayloadTooLargeError: one is over the limit afterwards.
        """
        if self.payload_codec is None or not payloads:
            return tuple(payloads)
        return tuple(check_payload_size(p) for p in await self.payload_codec.encode(payloads))

    async def decode_payloads(self, payloads: Sequence[Payload]) -> Payloads:
        """Reverse :meth:`encode_payloads`."""
        if self.payload_codec is None or not payloads:
            return tuple(payloads)
        return tuple(await self.payload_codec.decode(payloads))

    async def encode_failure(self, exception: BaseException) -> Failure:
        """Return the recorded form of an exception, its details through the codec."""
        failure = self.to_failure(exception)
        if self.payload_codec is None:
            return failure
        return await recode_failure(failure, self.encode_payloads)

    async def decode_failure(self, failure: Failure) -> FailureError:
        """Return the exception that a failure is the recorded form of, through the codec."""
        if self.payload_codec is not None:
            failure = await recode_failure(failure, self.decode_payloads)
        return self.from_failure(failure)


DataConverter.default = DataConverter()


def default() -> DataConverter:
    """Return the default data converter."""
    return DataConverter.default


def _argument(index: int, name: str, hint: Any, of: str) -> str:
    parts = f" ({name}: {type_name(hint)})" if name else ""
    return f"argument {index + 1}{parts}" + (f" of {of}" if of else "")
