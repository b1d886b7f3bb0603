"""``perdure suspend``: hold a run where it is."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli import options as opt

EXAMPLE = "perdure suspend order-42 --reason 'the bank is closed'"


def suspend(
    workflow_id: opt.WorkflowId,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Hold a workflow where it is; what runs is finished, nothing new begins."""
    from perdure.cli.asking import ask
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import SuspendRequest

    ask(
        address,
        SuspendRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            reason=reason,
            identity="perdure suspend",
        ),
    )
    print_line(f"suspended {workflow_id}")
