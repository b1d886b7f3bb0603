"""``perdure run``: server, worker and one run to its end, in one command."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli import options as opt
from perdure.cli.errors import EXIT_INTERRUPTED

EXAMPLE = """perdure run order.py:OrderWorkflow --id order-42 -i '{"order_id": "42"}'"""


def run(  # noqa: PLR0913, PLR0917 - one parameter an option
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py[:TYPE]", help="The file, and which of its workflows to run."
        ),
    ],
    inputs: opt.Inputs = None,
    workflow_id: Annotated[
        str, typer.Option("--id", help="The run's id.", show_default="TYPE and a random part")
    ] = "",
    db: opt.Database = opt.DEFAULT_DATABASE,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Where other commands reach the run; 0 takes a free port."
        ),
    ] = 0,
    task_queue: Annotated[
        str, typer.Option("--task-queue", "-q", help="Recorded with a new run.")
    ] = "default",
    namespace: opt.Namespace = "default",
    log_level: Annotated[
        str, typer.Option(help="What else to say on standard error: info, warning or error.")
    ] = "warning",
) -> None:
    """Run a workflow to its end on this machine, with everything that it needs.

    What happens is printed on standard error, the result as JSON on the last line of standard
    output. After a crash, the same --id and --db go on where it stopped.
    """
    from perdure.cli.inputs import read_inputs
    from perdure.cli.loading import choose_workflow, load_definitions
    from perdure.cli.logs import set_up_logging
    from perdure.cli.running import Job, run_to_end

    set_up_logging(log_level)
    source, wanted = split_type(file)
    payloads = read_inputs(inputs)
    definitions = load_definitions([source])
    workflow_type = choose_workflow(definitions, wanted, source)
    job = Job(
        definitions=definitions,
        workflow_type=workflow_type,
        workflow_id=workflow_id or f"{workflow_type}-{uuid.uuid4().hex[:8]}",
        namespace=namespace,
        task_queue=task_queue,
        input=payloads,
        db=db,
        port=port,
        again=_again(file, db),
    )
    try:
        code = run_to_end(job)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; nothing is lost, go on with: {job.how_to_go_on}", err=True)
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def split_type(given: str) -> tuple[str, str]:
    """Return the file and the type of ``FILE.py:TYPE``; an empty type when none is given."""
    source, colon, wanted = given.rpartition(":")
    if not colon or not (source.endswith(".py") or "/" not in wanted):
        return given, ""
    return source, wanted


def _again(file: str, db: Path) -> str:
    given = "" if db == opt.DEFAULT_DATABASE else f" --db {db}"
    return f"perdure run {file}{given}"
