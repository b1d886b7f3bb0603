"""The server as a program: ``perdure-server``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from perdure_operator.server.app import build_app
from perdure_operator.server.certificates import CertificateError, Certificates
from perdure_operator.server.gates import Gate
from perdure_operator.server.guarding import add_options, find_fault, open_certificates, open_gate
from perdure_operator.server.host import GRACE, LEASE, Host, HostSettings
from perdure_operator.store.port import StoreCorruptError, StoreError
from perdure_operator.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

EXIT_USAGE = 2
EXIT_STORE = 3
EXIT_CORRUPT = 4
EXIT_PORT = 5
EXIT_CERTIFICATE = 6
SHUTDOWN_TIMEOUT = 5.0


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop; exits with 0, or 2 to 6 with a message on standard error."""
    options = _parse(argv)
    fault = find_fault(options)
    if fault:
        sys.exit(_complain(fault, EXIT_USAGE))
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    sys.exit(asyncio.run(_serve(options)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perdure-server",
        description="Run durable workflows: keeps their histories, hands work to workers.",
        epilog="Example: perdure-server --host 127.0.0.1 --port 7233 --db .perdure/perdure.db",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=7233, help="port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--db", type=Path, default=Path(".perdure/perdure.db"), help="SQLite file (%(default)s)"
    )
    parser.add_argument(
        "--lease",
        type=float,
        default=LEASE / 1000,
        help="seconds of silence after which a worker has lost its work (%(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=GRACE / 1000,
        help="seconds that a worker has to come back after a broken connection (%(default)s)",
    )
    parser.add_argument(
        "--release-leases",
        action="store_true",
        help="at the start, take it that no worker of before is alive",
    )
    parser.add_argument(
        "--without-operator",
        action="store_true",
        help="nobody makes pods here: an activity that is to have its own is run by the workers "
        "of its task queue",
    )
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="stop when standard input is closed: when the parent process is gone",
    )
    parser.add_argument("--log-level", default="info", help="debug, info, warning (%(default)s)")
    add_options(parser)
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.exit_with_stdin:
        _watch_stdin(loop, stop)
    try:
        async with open_certificates(options, stop) as certificates:
            return await _open(options, certificates, stop)
    except CertificateError as error:
        return _complain(str(error), EXIT_CERTIFICATE)


async def _open(
    options: argparse.Namespace, certificates: Certificates | None, stop: asyncio.Event
) -> int:
    """Start a host on its store, and serve it."""
    host = Host(
        SqliteStore(options.db),
        now=lambda: time.time_ns() // 1_000_000,
        new_id=lambda: str(uuid.uuid4()),
        settings=HostSettings(
            lease=round(options.lease * 1000),
            grace=round(options.grace * 1000),
            release_leases=options.release_leases,
            has_operator=not options.without_operator,
            data_folder=Path(options.db).parent,
        ),
    )
    async with open_gate(options) as gate:
        try:
            await host.start()
        except StoreError as error:
            corrupt = isinstance(error, StoreCorruptError)
            return _complain(str(error), EXIT_CORRUPT if corrupt else EXIT_STORE)
        return await _listen(options, host, gate, certificates, stop)


async def _listen(
    options: argparse.Namespace,
    host: Host,
    gate: Gate,
    certificates: Certificates | None,
    stop: asyncio.Event,
) -> int:
    """Serve a host that has started, until ``stop``; it is stopped then."""
    app = build_app(host, gate)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    context = certificates.context if certificates else None
    try:
        site = web.TCPSite(runner, options.host, options.port, ssl_context=context)
        await site.start()
    except OSError as error:
        await host.stop()
        return _complain(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}; give another "
            "--port",
            EXIT_PORT,
        )
    port = runner.addresses[0][1]
    _tell_parent(f"listening on {options.host}:{port}")
    # What is there now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    await stop.wait()
    log.info("stopping")
    await runner.cleanup()
    await host.stop()
    return 0


def _complain(message: str, code: int) -> int:
    print(f"perdure-server: {message}", file=sys.stderr)  # noqa: T201  a program's own words
    return code


def _tell_parent(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201  read by the parent
    except BrokenPipeError:
        # It is gone. Whether that ends us is for standard input to say; what is still to be
        # flushed goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def wait() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


if __name__ == "__main__":
    main()
