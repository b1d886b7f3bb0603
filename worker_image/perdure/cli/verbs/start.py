"""``perdure start``: begin a run and return at once."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from perdure.cli import options as opt

EXAMPLE = """perdure start OrderWorkflow -q orders --id order-42 -i '{"order_id": "42"}'"""


def start(
    workflow_type: Annotated[str, typer.Argument(metavar="TYPE", help="The workflow's type.")],
    task_queue: Annotated[
        str, typer.Option("--task-queue", "-q", help="Where its workers listen.")
    ] = "default",
    workflow_id: Annotated[
        str, typer.Option("--id", help="The run's id.", show_default="TYPE and a random part")
    ] = "",
    inputs: opt.Inputs = None,
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.OutputAs = opt.Output.TABLE,
) -> None:
    """Start a workflow; a run that starts is on disk when this returns."""
    from perdure.cli.asking import ask
    from perdure.cli.inputs import read_inputs
    from perdure.cli.outputs import print_data, print_line
    from perdure.protocol.verbs import StartRequest

    request = StartRequest(
        namespace=namespace,
        workflow_id=workflow_id or f"{workflow_type}-{uuid.uuid4().hex[:8]}",
        workflow_type=workflow_type,
        task_queue=task_queue,
        input=read_inputs(inputs),
        request_id=str(uuid.uuid4()),
        identity="perdure start",
    )
    answer = ask(address, request)
    match output:
        case opt.Output.NAME:
            print_line(request.workflow_id)
        case opt.Output.TABLE:
            print_line(f"started {request.workflow_id} (run {answer.run_id})")
        case _:
            print_data({"workflowId": request.workflow_id, "runId": answer.run_id}, output)
