"""Options that decide who reaches the server: TLS, authentication, and what is refused as unsafe.

On loopback nothing is needed. Anywhere else both TLS and authentication are, unless
``--insecure`` says that something else guards the port, such as a NetworkPolicy.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from perdure_operator.server.certificates import Certificates
from perdure_operator.server.gates import AUDIENCE, Gate, KubernetesGate, OpenGate

REVIEWS_PER_SECOND = 100.0
"""Towards the API server; beyond it callers wait for their turn."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command line."""
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--auth",
        choices=["none", "kubernetes"],
        default="none",
        help="kubernetes: bearer tokens are checked by TokenReview, rights by SubjectAccessReview "
        "(%(default)s)",
    )
    parser.add_argument(
        "--auth-audience",
        default=AUDIENCE,
        metavar="NAME",
        help="whom tokens must be made for (%(default)s)",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="serve beyond loopback without TLS or without authentication",
    )


def find_fault(options: argparse.Namespace) -> str:
    """Return what is wrong with the options taken together, or nothing."""
    if (options.tls_cert is None) != (options.tls_key is None):
        return "give --tls-cert and --tls-key together, or neither"
    if options.insecure or is_loopback(options.host):
        return ""
    missing = [] if options.tls_cert else ["--tls-cert and --tls-key"]
    missing += [] if options.auth != "none" else ["--auth kubernetes"]
    if missing:
        return (
            f"whoever reaches {options.host} could do everything: give {' and '.join(missing)}, "
            "listen on 127.0.0.1, or say --insecure if something else guards the port"
        )
    return ""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_certificates(options: argparse.Namespace) -> Certificates | None:
    """Return the certificate to serve with, if there is one.

    Raises:
        CertificateError: it cannot be used.
    """
    if options.tls_cert is None:
        return None
    return Certificates(options.tls_cert, options.tls_key)


@asynccontextmanager
async def open_gate(options: argparse.Namespace) -> AsyncIterator[Gate]:
    """Give the gate that the options name."""
    if options.auth == "none":
        yield OpenGate()
        return
    # Here, since it takes a second to import and a server on loopback has no use for it.
    from perdure_operator.cluster.api import KubernetesCluster, load_configuration
    from perdure_operator.cluster.limiter import RateLimiter

    # At its debug level the client's libraries print what is sent, and tokens are among that.
    for library in ("kubernetes", "kubernetes.aio", "aiohttp"):
        logging.getLogger(library).setLevel(logging.INFO)
    limiter = RateLimiter(rate=REVIEWS_PER_SECOND, burst=int(2 * REVIEWS_PER_SECOND))
    async with KubernetesCluster(await load_configuration(), limiter=limiter) as cluster:
        yield KubernetesGate(cluster, audience=options.auth_audience)
