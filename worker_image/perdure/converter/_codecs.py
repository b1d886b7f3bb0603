"""Codecs: bytes to bytes, after conversion on the way out and before it on the way in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from perdure.protocol.failures import ApplicationInfo, CanceledInfo, Failure, TimeoutInfo
from perdure.protocol.payloads import Payload, Payloads


class PayloadCodec(ABC):
    """Encrypts or compresses payloads. Runs outside workflow code, so it may wait."""

    @abstractmethod
    async def encode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return what is sent and stored instead of ``payloads``, as many."""

    @abstractmethod
    async def decode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Reverse :meth:`encode`; leave what it did not make as it is."""


async def recode_failure(
    failure: Failure, recode: Callable[[Sequence[Payload]], Awaitable[Sequence[Payload]]]
) -> Failure:
    """Return a failure with the payloads in it, and in its causes, put through a codec."""

    async def through(payloads: Payloads) -> Payloads:
        return tuple(await recode(payloads)) if payloads else payloads

    info = failure.info
    match info:
        case ApplicationInfo(details=details) | CanceledInfo(details=details):
            info = msgspec.structs.replace(info, details=await through(details))
        case TimeoutInfo(last_heartbeat_details=details):
            info = msgspec.structs.replace(info, last_heartbeat_details=await through(details))
        case _:
            pass
    cause = failure.cause and await recode_failure(failure.cause, recode)
    return msgspec.structs.replace(failure, info=info, cause=cause)
