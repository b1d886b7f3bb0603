"""Writing values as JSON.

What msgspec knows is written by msgspec (dataclasses, enums, dates, UUIDs, decimals as strings,
time deltas as ISO 8601 durations such as ``PT1H30M``, bytes in base64, sets as arrays); the hook
here adds pydantic models, paths, addresses and any other mapping, sequence or set.

NaN and infinities are refused: JSON has no such numbers, and the ``null`` that encoders write
instead would come back as something else than was sent.
"""

from __future__ import annotations

import inspect
import ipaddress
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import msgspec

from perdure.exceptions import ConversionError, UnsupportedTypeError

_AS_STRING = (
    PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_REMEDY = (
    "make it a dataclass or a pydantic model, or give the client and the workers a "
    "DataConverter that knows it"
)


class JSONWriter:
    """Writes values as JSON; types that it does not know go to ``unknown``."""

    def __init__(self, unknown: Callable[[Any], Any] | None = None) -> None:
        self._unknown = unknown
        self._encode = msgspec.json.Encoder(enc_hook=self._simpler).encode

    def write(self, value: Any) -> bytes:
        """Return ``value`` as JSON.

        Raises:
            UnsupportedTypeError: a type in it cannot be written.
            ConversionError: a value in it cannot be written, e.g. NaN.
        """
        try:
            data = self._encode(value)
        except ConversionError:
            raise
        except TypeError as error:
            raise UnsupportedTypeError(f"cannot write it as JSON: {error}: {_REMEDY}") from error
        except RecursionError as error:
            raise ConversionError("cannot write it as JSON: it contains itself") from error
        except ValueError as error:
            raise ConversionError(f"cannot write it as JSON: {error}") from error
        # Non-finite numbers are written as null, so only then is a closer look needed.
        if b"null" in data:
            self._refuse_non_finite(value)
        return data

    def _simpler(self, value: Any) -> Any:
        if is_pydantic(type(value)) and hasattr(value, "model_dump_json"):
            return msgspec.Raw(value.model_dump_json(by_alias=True, round_trip=True).encode())
        return self._simplest(value)

    def _simplest(self, value: Any) -> Any:
        if self._unknown is not None:
            return self._unknown(value)
        return simplify(value)

    def _as_python(self, value: Any) -> Any:
        if is_pydantic(type(value)) and hasattr(value, "model_dump"):
            return value.model_dump(by_alias=True, round_trip=True)
        return self._simplest(value)

    def _refuse_non_finite(self, value: Any) -> None:
        plain = msgspec.to_builtins(value, enc_hook=self._as_python)
        for path, number in _non_finite(plain, "$"):
            raise ConversionError(
                f"JSON has no {number}: send None, or a Decimal or a string, instead",
                path=path,
                expected="a finite number",
                found=str(number),
            )


class AdvancedJSONEncoder(json.JSONEncoder):
    """What users extend to write further types: ``default`` gets what nobody else knows."""

    def default(self, o: Any) -> Any:
        """Return a simpler form of ``o``."""
        return simplify(o)


def simplify(value: Any) -> Any:
    """Return ``value`` as something that msgspec can write.

    Raises:
        UnsupportedTypeError: there is no such form.
    """
    if isinstance(value, (tuple, list, dict)):
        # Written without asking here, except where JSON has only text.
        raise UnsupportedTypeError(
            f"cannot write a {type(value).__name__} as a key of a JSON object: use text, a number "
            "or a UUID as the key, or a list of pairs instead of the dict"
        )
    if isinstance(value, _AS_STRING):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, Set)):
        return list(value)
    if inspect.isawaitable(value):
        name = getattr(value, "__qualname__", "") or type(value).__name__
        raise UnsupportedTypeError(f"cannot write {name} as JSON: it has not been awaited")
    kind = type(value)
    raise UnsupportedTypeError(
        f"cannot write {kind.__module__}.{kind.__qualname__} as JSON: {_REMEDY}",
        found=kind.__qualname__,
    )


def is_pydantic(kind: Any) -> bool:
    """Return whether a type is a pydantic model or dataclass, without importing pydantic."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def _non_finite(plain: Any, path: str) -> Iterator[tuple[str, float]]:
    match plain:
        case float() if not math.isfinite(plain):
            yield path, plain
        case dict():
            for key, value in plain.items():
                yield from _non_finite(value, f"{path}.{key}")
        case list() | tuple() | set() | frozenset():
            for index, value in enumerate(plain):
                yield from _non_finite(value, f"{path}[{index}]")
        case _:
            pass
