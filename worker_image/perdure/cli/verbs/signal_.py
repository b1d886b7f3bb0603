"""``perdure signal``: tell a run something."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from perdure.cli import options as opt

EXAMPLE = "perdure signal order-42 warehouse_answered -i true"


def signal(
    workflow_id: opt.WorkflowId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    inputs: opt.Inputs = None,
    signal_id: Annotated[
        str, typer.Option("--signal-id", help="Sent twice with one id, it is told once.")
    ] = "",
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Send a signal to a running workflow; it is on disk when this returns."""
    from perdure.cli.asking import ask
    from perdure.cli.inputs import read_inputs
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import SignalRequest

    ask(
        address,
        SignalRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            name=name,
            input=read_inputs(inputs),
            signal_id=signal_id or str(uuid.uuid4()),
            identity="perdure signal",
        ),
    )
    print_line(f"signalled {workflow_id}: {name}")
