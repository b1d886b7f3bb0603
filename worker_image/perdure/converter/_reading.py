"""Reading JSON as the type that was asked for.

One decoder a type, built when first needed: msgspec where it can, pydantic for its own models
and (when it is installed) for what msgspec has no decoder for, such as a union of two
dataclasses. Fields that a dataclass does not know are ignored, so that a newer sender can
talk to an older reader; everything else must fit exactly.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar, get_args

import msgspec

from perdure.converter._errors import from_msgspec, from_pydantic
from perdure.converter._json import is_pydantic
from perdure.exceptions import ConversionError, UnsupportedTypeError

_Decode = Callable[[bytes], Any]
_ANYTHING = (None, Any, object)
_MAX_DECODERS = 4096


class JSONTypeConverter(ABC):
    """Reads types that nobody else knows."""

    Unhandled: ClassVar[object] = object()
    """Returned for a type that is somebody else's."""

    @abstractmethod
    def to_typed_value(self, hint: Any, value: Any) -> Any:
        """Return plain JSON ``value`` as a ``hint``, or :attr:`Unhandled`."""


class JSONReader:
    """Reads JSON by type hints; ``converters`` are asked before anybody else."""

    def __init__(self, converters: Sequence[JSONTypeConverter] = ()) -> None:
        self._converters = converters
        self._decoders: dict[Any, _Decode] = {}
        self._parts: dict[Any, _Decode] = {}

    def read(self, data: bytes, hint: Any = None) -> Any:
        """Return ``data`` as a ``hint``, or as plain JSON values without one.

        Raises:
            UnsupportedTypeError: nothing can read such a type.
            ConversionError: the data is not of that type.
        """
        try:
            return self._decoder(hint)(data)
        except ConversionError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise from_msgspec(error, type_name(hint)) from error
        except RecursionError as error:
            raise ConversionError("it is nested too deeply to be read") from error

    def _decoder(self, hint: Any) -> _Decode:
        try:
            known = self._decoders.get(hint)
        except TypeError:  # a hint that has no hash, e.g. Annotated with a list
            return self._build(hint)
        if known is None:
            # Types made at run time must not fill the memory for ever.
            if len(self._decoders) >= _MAX_DECODERS:
                self._decoders.clear()
                self._parts.clear()
            known = self._decoders[hint] = self._build(hint)
        return known

    def _build(self, hint: Any) -> _Decode:
        if hint in _ANYTHING or isinstance(hint, TypeVar):
            return msgspec.json.decode
        decode = self._build_typed(hint)
        if not self._converters:
            return decode

        def decode_own_first(data: bytes) -> Any:
            found = self._ask_converters(hint, msgspec.json.decode(data))
            return decode(data) if found is JSONTypeConverter.Unhandled else found

        return decode_own_first

    def _build_typed(self, hint: Any) -> _Decode:
        if _mentions_pydantic(hint):
            return _pydantic_decoder(hint, strict=None, reason="it is a pydantic type")
        try:
            return msgspec.json.Decoder(hint, dec_hook=self._read_unknown).decode
        except TypeError as error:
            return _pydantic_decoder(hint, strict=True, reason=str(error))
        except NameError as error:
            raise UnsupportedTypeError(
                f"cannot read JSON as {type_name(hint)}: its annotations do not resolve ({error}):"
                " import the name where the class is defined, outside `if TYPE_CHECKING`",
                expected=type_name(hint),
            ) from error

    def _read_unknown(self, hint: Any, value: Any) -> Any:
        found = self._ask_converters(hint, value)
        if found is not JSONTypeConverter.Unhandled:
            return found
        if isinstance(hint, type) and not get_args(hint):
            if isinstance(value, hint):
                return value
            if issubclass(hint, PurePath) or hint.__module__ == "ipaddress":
                return hint(value)
        # Within a type that msgspec reads: this part alone goes through pydantic.
        strict = None if _mentions_pydantic(hint) else True
        decode = self._parts.get(hint)
        if decode is None:
            reason = "it is no dataclass and no other type that can be read from JSON"
            decode = self._parts[hint] = _pydantic_decoder(hint, strict=strict, reason=reason)
        return decode(msgspec.json.encode(value))

    def _ask_converters(self, hint: Any, value: Any) -> Any:
        for converter in self._converters:
            found = converter.to_typed_value(hint, value)
            if found is not JSONTypeConverter.Unhandled:
                return found
        return JSONTypeConverter.Unhandled


def type_name(hint: Any) -> str:
    """Return a type hint as people write it, without module names."""
    if hint in _ANYTHING:
        return "any value"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return re.sub(r"(?:[\w<>]+\.)+(?=\w)", "", str(hint))


def _mentions_pydantic(hint: Any) -> bool:
    return is_pydantic(hint) or any(_mentions_pydantic(part) for part in get_args(hint))


def _pydantic_decoder(hint: Any, *, strict: bool | None, reason: str) -> _Decode:
    name = type_name(hint)
    unsupported = UnsupportedTypeError(
        f"cannot read JSON as {name}: {reason}: use a dataclass or a pydantic model "
        "(with perdure[pydantic] installed), or give the client and the workers a DataConverter "
        "that knows it",
        expected=name,
    )
    try:
        from pydantic import PydanticUserError, TypeAdapter, ValidationError
    except ImportError as error:
        raise unsupported from error
    try:
        validate = TypeAdapter(hint).validate_json
    except PydanticUserError as error:
        raise unsupported from error

    def decode(data: bytes) -> Any:
        try:
            return validate(data, strict=strict)
        except ValidationError as error:
            raise from_pydantic(error.errors(include_url=False), name) from error

    return decode
