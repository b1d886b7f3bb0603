"""``perdure query``: ask a run's code something."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli import options as opt
from perdure.cli.errors import EXIT_RUN_FAILED, CommandError

EXAMPLE = "perdure query order-42 state"


def query(  # noqa: PLR0913, PLR0917 - one parameter an option
    workflow_id: opt.WorkflowId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The query's name.")],
    inputs: opt.Inputs = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds to wait for a worker's answer.")
    ] = 30,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.ValueAs = opt.ValueOutput.JSON,
) -> None:
    """Query a workflow and print the answer as JSON."""
    from perdure.cli.asking import ask
    from perdure.cli.failures import failure_lines
    from perdure.cli.inputs import read_inputs
    from perdure.cli.outputs import json_text, print_line, to_yaml
    from perdure.protocol.lines import payload_value
    from perdure.protocol.verbs import QueryRequest

    answer = ask(
        address,
        QueryRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            name=name,
            input=read_inputs(inputs),
            timeout=round(timeout * 1000),
        ),
    )
    if answer.failure is not None:
        lines = "\n  ".join(failure_lines(answer.failure))
        raise CommandError(f"query {name} of {workflow_id} failed\n  {lines}", EXIT_RUN_FAILED)
    value = payload_value(answer.result)
    print_line(to_yaml(value) if output is opt.ValueOutput.YAML else json_text(value))
