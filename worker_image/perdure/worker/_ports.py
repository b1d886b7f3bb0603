"""What the stream needs to know, and whom it serves."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Protocol

from perdure.protocol.messages import FromServer, FromWorker, Hello, Welcome


class Address(Protocol):
    """Where the server is and how to reach it, as a client's connection says it."""

    @property
    def base_url(self) -> str:
        """``http://`` or ``https://``, without a slash at its end."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with each connection; the token is among them."""

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """How to encrypt."""

    @property
    def server_hostname(self) -> str | None:
        """The name in the server's certificate, when it is not the one in the address."""


class Handler(Protocol):
    """What a stream does its work for. Called on the loop, never from two places at once."""

    def hello(self) -> Hello:
        """Return the first message of a new connection."""

    def connected(self, welcome: Welcome) -> None:
        """Go on: the server knows this worker."""

    def disconnected(self) -> None:
        """Nothing arrives any more, and what was sent last may not have arrived."""

    def receive(self, message: FromServer) -> None:
        """Handle a message."""

    def ping(self) -> None:
        """Give a sign of life."""

    def collect(self) -> None:
        """Put into the outbox what waited for the end of the round: a frame leaves now."""

    def unreadable(self, message: FromServer, error: Exception) -> None:
        """A message came that the codec cannot decode."""

    def unsendable(self, message: FromWorker, error: Exception) -> None:
        """A message was not sent: the codec cannot encode it, or no frame holds it."""
