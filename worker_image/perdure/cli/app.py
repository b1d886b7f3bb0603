"""The program's verbs, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from perdure.cli.access import with_access
from perdure.cli.errors import EXIT_CODES
from perdure.cli.verbs import (
    cancel,
    dev,
    history_export,
    history_import,
    list_,
    logs,
    query,
    result,
    resume,
    retry,
    run,
    show,
    signal_,
    start,
    suspend,
    terminate,
    worker,
)

_PANELS: dict[str, tuple[tuple[str, Callable[..., Any], str], ...]] = {
    "Without a cluster": (
        ("run", run.run, run.EXAMPLE),
        ("dev", dev.dev, dev.EXAMPLE),
        ("worker", worker.worker, worker.EXAMPLE),
    ),
    "Runs": (
        ("start", start.start, start.EXAMPLE),
        ("list", list_.list_runs, list_.EXAMPLE),
        ("show", show.show, show.EXAMPLE),
        ("logs", logs.logs, logs.EXAMPLE),
        ("result", result.result, result.EXAMPLE),
        ("signal", signal_.signal, signal_.EXAMPLE),
        ("query", query.query, query.EXAMPLE),
        ("suspend", suspend.suspend, suspend.EXAMPLE),
        ("resume", resume.resume, resume.EXAMPLE),
        ("retry", retry.retry, retry.EXAMPLE),
        ("cancel", cancel.cancel, cancel.EXAMPLE),
        ("terminate", terminate.terminate, terminate.EXAMPLE),
    ),
}

_GROUPS: dict[str, tuple[str, tuple[tuple[str, Callable[..., Any], str], ...]]] = {
    "history": (
        "Histories as files: export, import.",
        (
            ("export", history_export.export, history_export.EXAMPLE),
            ("import", history_import.import_, history_import.EXAMPLE),
        ),
    ),
}
"""Verbs of two words, by the first; with what that is about."""


def build_app() -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        name="perdure",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=EXIT_CODES)(_root)
    for panel, verbs in _PANELS.items():
        for name, function, example in verbs:
            command = app.command(name, rich_help_panel=panel, epilog=f"Example: {example}")
            command(with_access(function))
    for group, (about, verbs) in _GROUPS.items():
        inner = typer.Typer(no_args_is_help=True, help=about)
        for name, function, example in verbs:
            inner.command(name, epilog=f"Example: {example}")(with_access(function))
        app.add_typer(inner, name=group, rich_help_panel="Runs")
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"perdure {version('perdure')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run durable workflows, and see and steer them."""
