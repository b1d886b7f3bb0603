"""``perdure dev``: a server without a cluster."""

from __future__ import annotations

import signal
import subprocess
from types import FrameType
from typing import Annotated

import typer

from perdure.cli import options as opt
from perdure.cli.errors import EXIT_UNREACHABLE, CommandError

EXAMPLE = "perdure dev --port 7233 --db .perdure/perdure.db"


def dev(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7233,
    db: opt.Database = opt.DEFAULT_DATABASE,
    lease: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds of silence after which a worker has lost its work.",
            show_default="the server's",
        ),
    ] = None,
) -> None:
    """Run a server on this machine, without a cluster, until Ctrl-C.

    Meant for development: whoever can reach the port can do everything.
    """
    from perdure.cli.servers import ServerOptions, running_server

    signal.signal(signal.SIGTERM, _interrupt)
    options = ServerOptions(db=db, host=host, port=port, lease=lease)
    try:
        with running_server(options) as server:
            typer.echo(f"Perdure is ready at {server.address}, its data in {db}. Ctrl-C stops it.")
            _say_how_to_go_on(server.address)
            _wait(server.process)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def _say_how_to_go_on(address: str) -> None:
    given = "" if address == opt.DEFAULT_ADDRESS else f" --address {address}"
    typer.echo(f"  perdure worker FILE.py{given}")
    typer.echo(f"  perdure list{given}")


def _wait(process: subprocess.Popen[str]) -> None:
    code = process.wait()
    raise CommandError(f"the server ended by itself with exit code {code}", EXIT_UNREACHABLE)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
