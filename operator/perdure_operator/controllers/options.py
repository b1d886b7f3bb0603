"""The operator's command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from perdure_operator.cluster import ObjectRef

MIN_LEASE = 3
"""Seconds; with less, a busy machine would lose the lead for nothing."""

MAX_SHOW_AFTER = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator is told at its start."""

    server: str
    """The address of the Perdure server."""
    worker_server: str
    """The address at which workers, in their pods, reach it."""
    namespaces: tuple[str, ...]
    """The namespaces to watch; empty means all."""
    default_image: str
    """For workers whose pool names code but no image."""
    liveness_port: int
    workers: int
    """Runs that are looked at at once."""
    qps: float
    """Calls to the Kubernetes API a second."""
    log_level: str
    token_file: Path | None = None
    """Where the operator's own token for the server is."""
    tls_ca: Path | None = None
    """The authority that signed the server's certificate; workers are given it, too."""
    tls_server_name: str | None = None
    """The name in the certificate, when it is not the one in ``server``."""
    show_after: timedelta = timedelta(seconds=2)
    """An activity that is open for longer gets an Activity that shows it."""
    worker_audience: str = ""
    """Workers get a token that is made for it; empty: none."""
    lease: ObjectRef | None = None
    """The Lease that the leading operator holds; None: there is no other operator."""
    lease_seconds: int = 10
    """For how long an operator that is not heard of still leads."""
    events: bool = True
    """Whether what happens is told as Kubernetes Events, too."""
    identity: str = ""
    """The name under which it holds the Lease; empty: the host's name and a number at random."""


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Return the options, or end the process with what is wrong with them."""
    parsed = _build_parser().parse_args(arguments)
    if parsed.workers < 1 or parsed.qps <= 0:
        _build_parser().error("--workers and --qps must be above zero")
    if not 0 <= parsed.show_after <= MAX_SHOW_AFTER:
        _build_parser().error(f"--show-after must be between 0 and {MAX_SHOW_AFTER} seconds")
    if parsed.lease_duration < MIN_LEASE:
        _build_parser().error(f"--lease-duration must be at least {MIN_LEASE} s")
    return Options(
        server=parsed.server,
        worker_server=parsed.worker_server or parsed.server,
        namespaces=tuple(parsed.namespace),
        default_image=parsed.default_image,
        liveness_port=parsed.liveness_port,
        workers=parsed.workers,
        qps=parsed.qps,
        log_level=parsed.log_level,
        show_after=timedelta(seconds=parsed.show_after),
        token_file=parsed.token_file,
        tls_ca=parsed.tls_ca,
        tls_server_name=parsed.tls_server_name,
        worker_audience=parsed.worker_audience,
        lease=parsed.lease,
        lease_seconds=parsed.lease_duration,
        identity=parsed.identity,
        events=parsed.events,
    )


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perdure-operator",
        description="Runs what Workflow, Activity and WorkerPool resources want.",
    )
    parser.add_argument(
        "--server", required=True, metavar="URL", help="the Perdure server, http://host:port"
    )
    parser.add_argument(
        "--worker-server",
        metavar="URL",
        help="the same, as workers in their pods reach it (default: --server)",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="a namespace to watch; may be given more than once (default: all)",
    )
    parser.add_argument(
        "--default-image",
        required=True,
        metavar="IMAGE",
        help="the workers' image for code from a ConfigMap",
    )
    parser.add_argument(
        "--liveness-port", type=int, default=8081, metavar="PORT", help="for /healthz and /metrics"
    )
    parser.add_argument(
        "--workers", type=int, default=8, metavar="N", help="runs looked at at once"
    )
    parser.add_argument(
        "--qps",
        type=float,
        # Of three writes for each short run: 100 runs a second, more than one API server does.
        default=300.0,
        metavar="N",
        help="calls to the Kubernetes API a second; twice as many at once after a pause",
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument(
        "--show-after",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="show an activity of a run as an Activity once it is open for longer",
    )
    _add_access(parser)
    _add_leading(parser)
    return parser


def _add_leading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lease",
        type=_object_ref,
        metavar="NAMESPACE/NAME",
        help="the Lease by which one of several operators leads (default: this one is alone)",
    )
    parser.add_argument(
        "--lease-duration",
        type=int,
        default=10,
        metavar="SECONDS",
        help="how long a leader that is not heard of still leads (%(default)s)",
    )
    parser.add_argument(
        "--identity",
        default="",
        metavar="NAME",
        help="who holds the Lease, such as the pod's name; no two operators may share one "
        "(default: the host's name and something at random)",
    )

    parser.add_argument(
        "--events",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tell what happens as Kubernetes Events, too",
    )


def _object_ref(text: str) -> ObjectRef:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME")
    return ObjectRef(namespace=namespace, name=name)


def _add_access(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the operator's token for the server"
    )
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="the authority of the server's certificate, PEM; workers are given it, too",
    )
    parser.add_argument(
        "--tls-server-name",
        metavar="NAME",
        help="the name in the server's certificate, when it is not the one in --server",
    )
    parser.add_argument(
        "--worker-audience",
        default="",
        metavar="NAME",
        help="give workers a token that is made for this audience (default: no token)",
    )
