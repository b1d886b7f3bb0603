"""Values to payloads and back: one converter an encoding, and a composite that picks."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perdure.common import RawValue
from perdure.converter._errors import from_msgspec
from perdure.converter._json import JSONWriter
from perdure.converter._reading import JSONReader, JSONTypeConverter, type_name
from perdure.exceptions import ConversionError, UnsupportedTypeError
from perdure.protocol.payloads import Payload


class PayloadConverter(ABC):
    """Turns values into payloads and payloads into values."""

    @abstractmethod
    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Encode values, one payload each."""

    @abstractmethod
    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: Sequence[Any] | None = None
    ) -> list[Any]:
        """Decode payloads; where ``type_hints`` ends or is None, by what the payload says."""

    def to_payload(self, value: Any) -> Payload:
        """Encode one value."""
        return self.to_payloads([value])[0]

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Decode one payload."""
        return self.from_payloads([payload], [type_hint])[0]


class EncodingPayloadConverter(ABC):
    """Knows one encoding."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """Its name, as it stands in a payload's metadata."""

    @abstractmethod
    def to_payload(self, value: Any) -> Payload | None:
        """Encode a value, or return None to leave it to the next converter."""

    @abstractmethod
    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Decode a payload of this encoding."""


class CompositePayloadConverter(PayloadConverter):
    """Encodes with the first converter that takes the value; decodes by the encoding's name."""

    def __init__(self, *converters: EncodingPayloadConverter) -> None:
        self.converters: Mapping[bytes, EncodingPayloadConverter] = {
            converter.encoding.encode(): converter for converter in converters
        }
        """By encoding, in order of preference."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Encode values; an error says which of several it is about."""
        return [
            self._numbered(index, len(values), self.to_payload, value)
            for index, value in enumerate(values, start=1)
        ]

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: Sequence[Any] | None = None
    ) -> list[Any]:
        """Decode payloads; an error says which of several it is about."""
        hints = list(type_hints or ())
        hints += [None] * (len(payloads) - len(hints))
        return [
            self._numbered(index, len(payloads), self.from_payload, payload, hint)
            for index, (payload, hint) in enumerate(zip(payloads, hints, strict=False), start=1)
        ]

    def to_payload(self, value: Any) -> Payload:
        """Encode one value."""
        if isinstance(value, RawValue):
            return value.payload
        for converter in self.converters.values():
            payload = converter.to_payload(value)
            if payload is not None:
                return payload
        raise UnsupportedTypeError(
            f"none of the encodings {self._known} takes a {type_name(type(value))}"
        )

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Decode one payload."""
        if type_hint is RawValue:
            return RawValue(payload)
        encoding = payload.metadata.get("encoding", b"")
        converter = self.converters.get(encoding)
        if converter is None:
            raise ConversionError(
                f"nothing here knows the encoding {encoding.decode(errors='replace')!r} (known: "
                f"{self._known}): use the data converter and codec that it was written with"
            )
        return converter.from_payload(payload, type_hint)

    @property
    def _known(self) -> str:
        return ", ".join(encoding.decode() for encoding in self.converters)

    @staticmethod
    def _numbered(index: int, count: int, convert: Any, *args: Any) -> Any:
        try:
            return convert(*args)
        except ConversionError as error:
            if count == 1:
                raise
            raise error.at(f"value {index} of {count}") from error.__cause__


class BinaryNullPayloadConverter(EncodingPayloadConverter):
    """None, as ``binary/null``."""

    def __init__(self) -> None:
        self._reader = JSONReader()

    @property
    def encoding(self) -> str:
        """``binary/null``."""
        return "binary/null"

    def to_payload(self, value: Any) -> Payload | None:
        """Take None."""
        return Payload({"encoding": b"binary/null"}) if value is None else None

    def from_payload(self, payload: Payload, type_hint: Any = None) -> None:
        """Return None if the type allows it."""
        if type_hint is None:
            return
        try:
            self._reader.read(b"null", type_hint)
        except UnsupportedTypeError:
            return  # a type of somebody else's: nobody here can say that it has no None


class BinaryPlainPayloadConverter(EncodingPayloadConverter):
    """Bytes as they are, as ``binary/plain``."""

    @property
    def encoding(self) -> str:
        """``binary/plain``."""
        return "binary/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """Take bytes, bytearrays and memory views."""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            return None
        return Payload({"encoding": b"binary/plain"}, bytes(value))

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Return the bytes if the type allows them."""
        if type_hint in (None, Any, object, bytes):
            return payload.data
        try:
            return msgspec.convert(payload.data, type_hint)
        except msgspec.ValidationError as error:
            raise from_msgspec(error, type_name(type_hint)) from error
        except TypeError:
            return payload.data


class JSONPlainPayloadConverter(EncodingPayloadConverter):
    """Everything else, as JSON."""

    def __init__(
        self,
        *,
        encoder: type[json.JSONEncoder] | None = None,
        encoding: str = "json/plain",
        custom_type_converters: Sequence[JSONTypeConverter] = (),
    ) -> None:
        """Create it.

        Args:
            encoder: its ``default`` is asked for types that nobody else knows.
            encoding: what the payload says it is.
            custom_type_converters: asked first when reading.
        """
        self._encoding = encoding
        self._encoding_bytes = encoding.encode()
        self._writer = JSONWriter(encoder().default if encoder else None)
        self._reader = JSONReader(custom_type_converters)

    @property
    def encoding(self) -> str:
        """``json/plain``, unless it was given another name."""
        return self._encoding

    def to_payload(self, value: Any) -> Payload | None:
        """Take any value that can be written."""
        return Payload({"encoding": self._encoding_bytes}, self._writer.write(value))

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """Read it as the type, or as plain JSON values without one."""
        return self._reader.read(payload.data, type_hint)


class DefaultPayloadConverter(CompositePayloadConverter):
    """``binary/null``, ``binary/plain``, ``json/plain``."""

    def __init__(self) -> None:
        super().__init__(
            BinaryNullPayloadConverter(), BinaryPlainPayloadConverter(), JSONPlainPayloadConverter()
        )
