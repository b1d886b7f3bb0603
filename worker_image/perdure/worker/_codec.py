"""The codec's place: between the stream and everything else of the worker.

Messages are decoded before anybody looks at them and encoded right before they leave, so that
workflow code, which cannot wait, never meets a codec. Without a codec nothing of this runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from perdure.converter import DataConverter
from perdure.protocol.messages import FromServer, FromWorker
from perdure.protocol.payloads import Payload

M = TypeVar("M", bound=FromServer | FromWorker)


class CodecBorder:
    """Puts the payloads of messages through a converter's codec, one call a message."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter

    async def decode(self, message: M) -> M:
        """Return a message from the server as the worker can read it."""
        found = _payloads(message)
        if not found:
            return message
        return _replaced(message, await self._converter.decode_payloads(found))

    async def encode(self, message: M) -> M:
        """Return a message of the worker as it travels.

        Raises:
            PayloadTooLargeError: a payload is over the limit when encoded.
        """
        found = _payloads(message)
        if not found:
            return message
        return _replaced(message, await self._converter.encode_payloads(found))


def _payloads(message: Any) -> list[Payload]:
    found: list[Payload] = []

    def note(payload: Payload) -> Payload:
        found.append(payload)
        return payload

    _rebuild(message, note)
    return found


def _replaced(message: M, payloads: tuple[Payload, ...]) -> M:
    rest = iter(payloads)
    rebuilt: M = _rebuild(message, lambda _payload: next(rest))
    return rebuilt


def _rebuild(value: Any, change: Callable[[Payload], Payload]) -> Any:
    """Return a value with its payloads changed, in the same order each time."""
    match value:
        case Payload():
            return change(value)
        case msgspec.Struct():
            names = value.__struct_fields__
            return type(value)(**{name: _rebuild(getattr(value, name), change) for name in names})
        case tuple():
            return tuple(_rebuild(each, change) for each in value)
        case dict():
            return {key: _rebuild(each, change) for key, each in value.items()}
        case _:
            return value
