"""The options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.completing import workflow_ids


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class ValueOutput(StrEnum):
    """How a single value is printed."""

    JSON = "json"
    YAML = "yaml"


DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_DATABASE = Path(".perdure/perdure.db")

Address = Annotated[
    str, typer.Option(envvar="PERDURE_ADDRESS", metavar="HOST:PORT", help="The server.")
]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", envvar="PERDURE_NAMESPACE", help="The namespace.")
]
OutputAs = Annotated[Output, typer.Option("--output", "-o", help="How to print it.")]
ValueAs = Annotated[ValueOutput, typer.Option("--output", "-o", help="How to print the value.")]
WorkflowId = Annotated[
    str, typer.Argument(metavar="ID", help="The workflow id.", autocompletion=workflow_ids)
]
RunId = Annotated[
    str, typer.Option(help="Which run of the id.", show_default="the newest", metavar="RUN-ID")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="JSON",
        help="One argument, as JSON or @FILE; once for each argument.",
        show_default=False,
    ),
]
Database = Annotated[
    Path, typer.Option("--db", metavar="PATH", help="The database file; made if it is not there.")
]
