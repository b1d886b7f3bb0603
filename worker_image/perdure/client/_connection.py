"""Where the server is and how to speak to it: the address, TLS, the token, the patience."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from perdure.client._tokens import TokenFile
from perdure.exceptions import UsageError

DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_PORT = 7233


@dataclass(frozen=True)
class TLSConfig:
    """How to encrypt; PEM everywhere."""

    server_root_ca_cert: bytes | None = None
    """Whom to believe that the server is the server; the system's roots by default."""
    domain: str | None = None
    """The name in the server's certificate, when it is not the one in the address."""
    client_cert: bytes | None = None
    """For a server that wants to see one, together with ``client_private_key``."""
    client_private_key: bytes | None = None

    def context(self) -> ssl.SSLContext:
        """Return what the ssl module needs.

        Raises:
            UsageError: half of the client's pair is missing, or what is given is no PEM.
        """
        if (self.client_cert is None) != (self.client_private_key is None):
            raise UsageError("give client_cert and client_private_key together, or neither")
        try:
            authorities = self.server_root_ca_cert
            context = ssl.create_default_context(cadata=authorities and authorities.decode())
            if self.client_cert is not None and self.client_private_key is not None:
                _load_pair(context, self.client_cert, self.client_private_key)
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise UsageError(f"the TLS certificates are not usable: {error}") from error
        return context


@dataclass
class RetryConfig:
    """How long a call that may be repeated is repeated while the server cannot be reached."""

    initial_interval_millis: int = 100
    randomization_factor: float = 0.2
    multiplier: float = 1.5
    max_interval_millis: int = 5000
    max_elapsed_time_millis: int | None = 10_000
    """The time for all attempts and the waits between them; None means no limit."""
    max_retries: int = 10


@dataclass(frozen=True)
class Connection:
    """Everything that is needed to reach the server, by HTTP or by the worker stream."""

    base_url: str
    """Without a slash at its end."""
    fixed_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request; a token that does not change is among them."""
    token_file: TokenFile | None = None
    """Where the token is, when it changes."""
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    """Checked against the server's certificate instead of the name in the address."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What to send with a request that is made now; the token is among it.

        Raises:
            UsageError: the token's file cannot be read.
        """
        if self.token_file is None:
            return self.fixed_headers
        return {**self.fixed_headers, **_bearer(self.token_file.read())}

    @property
    def address(self) -> str:
        """The address, for people."""
        return self.base_url.partition("://")[2]

    @classmethod
    def to(
        cls,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | TokenFile | None = None,
        tls: bool | TLSConfig | ssl.SSLContext = False,
        headers: Mapping[str, str] | None = None,
    ) -> Connection:
        """Describe how to reach ``address``: ``host``, ``host:port``, or a URL.

        Raises:
            UsageError: the address or the TLS configuration cannot be understood.
        """
        parts = urlsplit(address if "://" in address else f"//{address}")
        try:
            port = parts.port or (DEFAULT_PORT if not parts.scheme else None)
        except ValueError:
            port = 0
        host = parts.hostname
        if not host or port == 0 or parts.scheme not in ("", "http", "https"):
            raise UsageError(
                f"{address!r} is no address of a server: write host:port, e.g. {DEFAULT_ADDRESS}"
            )

        secure = tls is not False or parts.scheme == "https"
        place = f"[{host}]" if ":" in host else host
        if port:
            place = f"{place}:{port}"
        domain = tls.domain if isinstance(tls, TLSConfig) else None
        token = _bearer(api_key) if isinstance(api_key, str) and api_key else {}
        return cls(
            base_url=f"{'https' if secure else 'http'}://{place}{parts.path.rstrip('/')}",
            fixed_headers={**(headers or {}), **token},
            token_file=api_key if isinstance(api_key, TokenFile) else None,
            ssl_context=_ssl_context(tls) if secure else None,
            server_hostname=domain,
        )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _ssl_context(tls: bool | TLSConfig | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(tls, ssl.SSLContext):
        return tls
    return (tls if isinstance(tls, TLSConfig) else TLSConfig()).context()


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module reads a key from a file only; the directory is the user's alone.
    with tempfile.TemporaryDirectory(prefix="perdure-tls-") as directory:
        files = Path(directory, "cert.pem"), Path(directory, "key.pem")
        files[0].write_bytes(certificate)
        files[1].write_bytes(key)
        context.load_cert_chain(*files)
