"""Options that decide who reaches the server: TLS, authentication, and what is refused as unsafe.

On loopback nothing is needed. Anywhere else both TLS and authentication are, unless
``--insecure`` says that something else guards the port, such as a NetworkPolicy.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from perdure_operator.cluster import ObjectRef, Reviewer
from perdure_operator.server.certificates import Certificates
from perdure_operator.server.gates import AUDIENCE, Gate, KubernetesGate, OpenGate

if TYPE_CHECKING:
    from perdure_operator.cluster.api import KubernetesCluster

REVIEWS_PER_SECOND = 100.0
"""Towards the API server; beyond it callers wait for their turn."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command line."""
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="where to lay down whom to trust, with --tls-secret",
    )
    parser.add_argument(
        "--tls-secret",
        type=_object_ref,
        metavar="NAMESPACE/NAME",
        help="make a certificate, renew it in time, and keep it in this Secret: the files of "
        "--tls-cert, --tls-key and --tls-ca are written",
    )
    parser.add_argument(
        "--tls-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a DNS name or IP address that it is for; may be given more than once",
    )
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
        "--auth-workers",
        choices=["own-namespace", "granted"],
        default="granted",
        help="own-namespace: every ServiceAccount may run workers in its own namespace; granted: "
        "only who has the right to, by RBAC (%(default)s)",
    )
    parser.add_argument(
        "--auth-namespace",
        default="",
        metavar="NAME",
        help="serve this namespace alone, without a cluster role: tokens are checked by the "
        "cluster's public keys, rights by LocalSubjectAccessReview (default: all namespaces)",
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
    if options.tls_secret and not (options.tls_cert and options.tls_ca and options.tls_name):
        return "--tls-secret needs --tls-cert, --tls-key, --tls-ca and --tls-name"
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


@asynccontextmanager
async def open_certificates(
    options: argparse.Namespace, stop: asyncio.Event
) -> AsyncIterator[Certificates | None]:
    """Give the certificate to serve with, if there is one; it is kept fresh meanwhile.

    Where it has to be made first, that is waited for until ``stop``.

    Raises:
        CertificateError: it cannot be used.
    """
    if options.tls_cert is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        watches = []
        if options.tls_secret is not None:
            # Here, since a server on loopback has no use for it.
            from perdure_operator.server.self_made import Files, SelfMade

            self_made = SelfMade(
                await stack.enter_async_context(_open_cluster()),
                options.tls_secret,
                names=options.tls_name,
                files=Files(
                    certificate=options.tls_cert, key=options.tls_key, authority=options.tls_ca
                ),
                now=lambda: datetime.now(UTC),
            )
            await self_made.prepare(stop)
            watches.append(self_made.watch())
        certificates = Certificates(options.tls_cert, options.tls_key)
        watches.append(certificates.watch())
        tasks = [asyncio.create_task(each) for each in watches]
        try:
            yield certificates
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_gate(options: argparse.Namespace) -> AsyncIterator[Gate]:
    """Give the gate that the options name."""
    if options.auth == "none":
        yield OpenGate()
        return
    # At its debug level the client's libraries print what is sent, and tokens are among that.
    for library in ("kubernetes", "kubernetes.aio", "aiohttp"):
        logging.getLogger(library).setLevel(logging.INFO)
    async with _open_cluster() as cluster:
        yield KubernetesGate(
            _reviewer(cluster, options.auth_namespace),
            audience=options.auth_audience,
            workers_at_home=options.auth_workers == "own-namespace",
        )


def _reviewer(cluster: KubernetesCluster, namespace: str) -> Reviewer:
    """Return who reviews: with a namespace what needs no cluster role."""
    if not namespace:
        return cluster
    from perdure_operator.cluster.local_reviews import LocalReviewer

    return LocalReviewer(cluster, namespace)


@asynccontextmanager
async def _open_cluster() -> AsyncIterator[KubernetesCluster]:
    # Here, since it takes a second to import and a server on loopback has no use for it.
    from perdure_operator.cluster.api import KubernetesCluster, load_configuration
    from perdure_operator.cluster.limiter import RateLimiter

    limiter = RateLimiter(rate=REVIEWS_PER_SECOND, burst=int(2 * REVIEWS_PER_SECOND))
    async with KubernetesCluster(await load_configuration(), limiter=limiter) as cluster:
        yield cluster


def _object_ref(text: str) -> ObjectRef:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME")
    return ObjectRef(namespace=namespace, name=name)
