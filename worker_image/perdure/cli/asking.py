"""One question to the server: the verb's request, its answer, or a message for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.cli.access import current_access
from perdure.cli.errors import EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, CommandError
from perdure.cli.near_misses import with_near_misses

if TYPE_CHECKING:
    from perdure.client import RPCError, Service

T = TypeVar("T")

_PATIENCE_MILLIS = 2000
"""How long a command tries to reach a server that does not answer."""

_PATIENCE_WITH_CLUSTER_MILLIS = 30_000
"""The same, where the server may be moving to another pod."""


def open_service(address: str) -> Service:
    """Return what calls the verbs of the server at ``address``.

    Raises:
        CommandError: that is no address.
    """
    from perdure.client import RetryConfig, Service
    from perdure.exceptions import UsageError

    access = current_access()
    patience = _PATIENCE_WITH_CLUSTER_MILLIS if access.kubectl else _PATIENCE_MILLIS
    try:
        return Service(
            address,
            api_key=access.token(),
            tls=access.tls(),
            retry_config=RetryConfig(max_elapsed_time_millis=patience),
        )
    except UsageError as error:
        raise CommandError(str(error), EXIT_USAGE) from None


def with_service(address: str, work: Callable[[Service], Awaitable[T]]) -> T:
    """Run ``work`` with a connection to the server and return its result.

    Raises:
        CommandError: the server refused something, or could not be reached.
    """
    from perdure.client import RPCError

    async def run() -> T:
        async with open_service(address) as service:
            try:
                return await work(service)
            except RPCError as error:
                if error.code != "NotFound":
                    raise
                raise CommandError(
                    await with_near_misses(service, error.message), EXIT_REFUSED
                ) from None

    try:
        return asyncio.run(run())
    except RPCError as error:
        raise explain(error) from None


def ask(address: str, request: Any) -> Any:
    """Ask one thing and return the answer.

    Raises:
        CommandError: the server refused, or could not be reached.
    """
    return with_service(address, lambda service: service.call(request))


def explain(error: RPCError) -> CommandError:
    """Return the error that tells a person what the server said."""
    if error.http_status is None and not error.code:
        return CommandError(error.message, EXIT_UNREACHABLE)
    if error.code == "Unauthorized" and current_access().ticket:
        from perdure.cli.cluster import forget_tickets

        forget_tickets()
    return CommandError(error.message, EXIT_REFUSED)
